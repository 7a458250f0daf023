"""What a statement is about: products by package URL, CPE, hash or plain id, in a form that can be compared."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import quote, unquote

from msgspec import Struct

from stellaops.advisories.packages import without_version

LONGEST = 480
"""Characters of a name that databases index; a longer one ends in its digest instead."""

_SAFE = "._~-"
_LOWER_NAMES = frozenset(("pypi", "github", "bitbucket", "deb", "composer"))


class Product(Struct, frozen=True):
    """One product.

    Attributes:
        identity: what it is compared by: its package URL in canonical form, else its CPE, hash or id.
        package: the identity without version, qualifiers and subpath; what it is looked up by.
        others: what else identifies it: package URLs, CPEs, hashes as `sha-256:<hex>`.
    """

    identity: str
    package: str
    others: tuple[str, ...] = ()


@lru_cache(maxsize=100_000)
def product(name: str, others: tuple[str, ...] = ()) -> Product:
    """A product by any identifier."""
    identity = identify(name)
    return Product(
        identity, bounded(package_of(identity)), tuple(each for each in others if each != identity)
    )


def best(
    purls: tuple[str, ...], cpes: tuple[str, ...], hashes: tuple[str, ...], name: str
) -> tuple[Product, ...]:
    """The products that identifiers stand for: one for each package URL, else each CPE, else one by what is left."""
    given = purls or cpes or hashes[:1] or ((name,) if name else ())
    others = tuple(map(identify, (*purls, *cpes, *hashes)))
    return tuple(product(each, others) for each in dict.fromkeys(given))


@lru_cache(maxsize=100_000)
def identify(name: str) -> str:
    """The canonical form of an identifier: package URLs and CPEs that are written in several ways become one."""
    text = name.strip()
    if text[:4].lower() == "pkg:":
        return _purl(text)
    return text.lower() if text[:4].lower() == "cpe:" else text


def package_of(identity: str) -> str:
    """An identity without what tells versions and builds apart."""
    if identity.startswith("pkg:"):
        return without_version(identity)
    if identity.startswith("cpe:2.3:"):
        return ":".join(identity.split(":")[:5])
    return ":".join(identity.split(":")[:4]) if identity.startswith("cpe:/") else identity


def applies(stated: str, asked: str) -> bool:
    """Whether a statement about one product holds for another: what it leaves open holds for all.

    Args:
        stated, asked: identities.
    """
    if stated == asked:
        return True
    if not stated.startswith("pkg:") or package_of(stated) != package_of(asked):
        return False
    version, qualifiers, subpath = _parts(stated)
    asked_version, asked_qualifiers, asked_subpath = _parts(asked)
    return (
        version in ("", asked_version)
        and subpath in ("", asked_subpath)
        and all(asked_qualifiers.get(name) == value for name, value in qualifiers.items())
    )


def bounded(text: str) -> str:
    """A name that every database can index."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 80]}…{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"


def _parts(purl: str) -> tuple[str, dict[str, str], str]:
    rest, _, subpath = purl.partition("#")
    rest, _, qualifiers = rest.partition("?")
    pairs = (pair.partition("=") for pair in qualifiers.split("&") if pair)
    return rest[len(without_version(rest)) + 1 :], {name: value for name, _, value in pairs}, subpath


def _purl(text: str) -> str:
    rest, _, subpath = text[4:].lstrip("/").partition("#")
    rest, _, qualifiers = rest.partition("?")
    bare = without_version(f"pkg:{rest}")[4:]
    version = rest[len(bare) + 1 :]
    kind, _, path = bare.partition("/")
    kind = kind.lower()
    names = [_encoded(part) for part in path.split("/") if part]
    if kind in _LOWER_NAMES:
        names = [part.lower() for part in names]
    if kind == "pypi":
        names = [part.replace("_", "-") for part in names]
    made = "pkg:" + "/".join((kind, *names))
    if version:
        made += "@" + _encoded(version, ":+")
    pairs = sorted(
        (name.lower(), _encoded(value, ":/"))
        for name, _, value in (pair.partition("=") for pair in qualifiers.split("&"))
        if name and value
    )
    if pairs:
        made += "?" + "&".join(f"{name}={value}" for name, value in pairs)
    inside = "/".join(_encoded(part) for part in subpath.split("/") if part not in ("", ".", ".."))
    return f"{made}#{inside}" if inside else made


def _encoded(text: str, also: str = "") -> str:
    return quote(unquote(text), safe=_SAFE + also)
