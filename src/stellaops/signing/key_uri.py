"""Names of keys in key services, as URIs in the forms that cosign and PKCS#11 tools know.

    hashivault://NAME                     a key of the transit engine of HashiCorp Vault or OpenBao
    awskms:///KEY                         a key of AWS KMS: its id, `alias/NAME`, or either's ARN
    pkcs11:token=TOKEN;object=LABEL       a key in a module (RFC 7512); also `id`, `serial`, `slot-id`
    file:///PATH                          a private key in a file that is not in the data directory

A URI names a key and nothing else. Where a service is, and what opens it, the installation's settings say: so whoever
may name a key sends nobody's credentials to another host, and loads no module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, unquote_to_bytes

from stellaops.core.errors import InvalidInput, NotPermitted

LONGEST = 512
"""Characters of the longest URI."""
WRAPPING = ("awskms", "hashivault", "pkcs11")
"""Schemes whose services can also wrap the content key of an encrypted bundle."""

_PRINTABLE = re.compile(r"[!-~]+")
_VAULT = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)
_AWS = re.compile(
    r"(?:arn:[a-z0-9-]+:kms:[a-z0-9-]+:\d{12}:(?:key|alias)/[A-Za-z0-9/_-]+|alias/[A-Za-z0-9/_-]+|[A-Za-z0-9-]+)"
)
_PKCS11 = ("token", "object", "id", "serial", "slot-id", "manufacturer", "model", "type")
_ELSEWHERE = "pin and module stand in the settings pkcs11.pinFile and pkcs11.module"


class BadKeyUri(InvalidInput):
    """A text that names no key of a key service."""

    code = "ERR_KEY_URI"
    hint = "Write it as hashivault://NAME, awskms:///alias/NAME, pkcs11:token=TOKEN;object=LABEL or file:///PATH."


class KeyUriRefused(NotPermitted):
    """A key of a key service that the tenant may not use."""

    code = "ERR_KEY_URI_REFUSED"
    hint = (
        "Have the operator add a pattern for it to the setting keyServices.allow, as `hashivault://{tenant}`."
    )


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A key of a key service.

    Attributes:
        text: the URI.
        scheme: one of `SCHEMES`.
        name: what stands behind the scheme: the service's name of the key, or a path.
        attributes: of `pkcs11`, in bytes.
    """

    text: str
    scheme: str
    name: str
    attributes: Mapping[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def is_uri(text: str) -> bool:
    """Whether a text is meant as a URI, of whatever scheme; `C:` and file names are not."""
    return re.match(r"[a-z][a-z0-9+.-]+://|pkcs11:|file:", text) is not None


def parse(text: str) -> KeyUri:
    """A URI as what it names.

    Raises:
        BadKeyUri: it names no key; the message tells what is wrong, and never shows a PIN.
    """
    scheme, colon, rest = text.partition(":")
    if scheme not in _READERS or not colon:
        shown = scheme[:40] if colon else text[:40]
        raise BadKeyUri(f"{shown!r} is none of the key services that there are: {', '.join(SCHEMES)}")
    if len(text) > LONGEST or not _PRINTABLE.fullmatch(text):
        raise BadKeyUri(f"a URI of {scheme} has at most {LONGEST} visible characters of ASCII")
    return _READERS[scheme](text, rest)


def demand_allowed(uri: KeyUri, tenant: str, patterns: Iterable[str]) -> None:
    """Refuse a key that none of the patterns names.

    Args:
        patterns: URIs; `{tenant}` stands for the tenant, `*` for any characters but `/`.

    Raises:
        KeyUriRefused: see there.
    """
    for pattern in patterns:
        parts = pattern.replace("{tenant}", tenant).split("*")
        if re.fullmatch("[^/]*".join(map(re.escape, parts)), uri.text):
            return
    raise KeyUriRefused(f"tenant {tenant} may not use the key {uri}")


def _vault(text: str, rest: str) -> KeyUri:
    name = rest.removeprefix("//")
    if not rest.startswith("//") or not _VAULT.fullmatch(name):
        raise BadKeyUri(
            f"{text!r} is no key of a vault: after hashivault:// stands the key's name alone; "
            "the address and the engine's path are the settings hashivault.address and hashivault.mount"
        )
    return KeyUri(text, "hashivault", name)


def _aws(text: str, rest: str) -> KeyUri:
    name = rest.removeprefix("///")
    if not rest.startswith("///") or not _AWS.fullmatch(name):
        raise BadKeyUri(
            f"{text!r} is no key of AWS KMS: after awskms:/// stands a key's id, alias/NAME or an ARN; "
            "the endpoint is the setting awskms.endpoint"
        )
    return KeyUri(text, "awskms", name)


def _file(text: str, rest: str) -> KeyUri:
    path = unquote(rest.removeprefix("//"))
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or "\0" in path or str(pure) != path:
        raise BadKeyUri(f"{text!r} is no file: after file:// stands its whole path, without . and ..")
    return KeyUri(text, "file", path)


def _pkcs11(text: str, rest: str) -> KeyUri:
    path, question, _ = rest.partition("?")
    if question:
        # Not shown: it may hold the PIN.
        raise BadKeyUri(f"the URI pkcs11:{path[:200]} has a query; {_ELSEWHERE}")
    found: dict[str, bytes] = {}
    for part in filter(None, path.split(";")):
        name, _, value = part.partition("=")
        if name not in _PKCS11 or name in found or not value:
            raise BadKeyUri(
                f"{name[:40]!r} is no attribute of a pkcs11 URI here, or stands there twice or empty"
            )
        found[name] = unquote_to_bytes(value)
    if not {"object", "id"} & found.keys() or not {"token", "serial", "slot-id"} & found.keys():
        raise BadKeyUri(f"{text!r} must name a token (or serial, slot-id) and an object (or id)")
    if not found.get("slot-id", b"0").isdigit():
        raise BadKeyUri(f"{text!r}: slot-id is a number")
    return KeyUri(text, "pkcs11", path, found)


_READERS: Mapping[str, Callable[[str, str], KeyUri]] = {
    "awskms": _aws, "file": _file, "hashivault": _vault, "pkcs11": _pkcs11,
}  # fmt: skip
SCHEMES = tuple(_READERS)
"""Schemes of the key services that there are."""
