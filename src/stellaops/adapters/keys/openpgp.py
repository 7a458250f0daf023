"""OpenPGP signatures, checked by Sequoia (the library behind `sq` and `sqv`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stellaops.core.errors import InvalidInput, MissingPrerequisite
from stellaops.ingest.ports import Keyring

if TYPE_CHECKING:
    from pysequoia import Cert


class BadOpenPgpKey(InvalidInput):
    """A file given as an OpenPGP public key holds none."""

    code = "ERR_OPENPGP_KEY"
    hint = (
        "Give the publisher's public key, armoured or binary: `gpg --export --armor FINGERPRINT` writes one."
    )


class OpenPgpKeyMissing(MissingPrerequisite):
    """A file with a publisher's OpenPGP key cannot be read."""

    code = "ERR_OPENPGP_KEY_MISSING"
    hint = "Provide the file that the source's definition names, readable for the user that runs stella."


class OpenPgpMissing(MissingPrerequisite):
    """The library that checks OpenPGP signatures is not installed."""

    code = "ERR_OPENPGP_MISSING"
    hint = "Install it: `pip install stellaops[openpgp]`."


def read_keys(files: Iterable[str]) -> tuple[bytes, ...]:
    """The contents of files with keys.

    Raises:
        OpenPgpKeyMissing: see there.
    """
    found = []
    for file in files:
        try:
            found.append(Path(file).read_bytes())
        except OSError as error:
            raise OpenPgpKeyMissing(f"the OpenPGP key {file} cannot be read: {error.strerror}") from error
    return tuple(found)


class SequoiaOpenPgp:
    """`ingest.ports.OpenPgp` by Sequoia."""

    def keyring(self, keys: Sequence[bytes], only: frozenset[str] | None = None) -> Keyring | None:
        """See the port.

        Raises:
            BadOpenPgpKey: see there.
            OpenPgpMissing: see there; with `only`, nothing is left instead.
        """
        try:
            import pysequoia  # noqa: F401, PLC0415 - a large library that few imports need
        except ImportError as error:
            if only is not None:
                return None
            raise OpenPgpMissing("no OpenPGP signature can be checked without pysequoia") from error
        certificates = [
            certificate for key in keys for certificate in _certificates(key, strict=only is None)
        ]
        if only is not None:
            certificates = [found for found in certificates if found.fingerprint.upper() in only]
        return SequoiaKeyring(certificates) if certificates else None


class SequoiaKeyring:
    """`ingest.ports.Keyring` by Sequoia, with its standard policy: no broken hashes, no key that had expired."""

    def __init__(self, certificates: Sequence[Cert]) -> None:
        self._certificates = list(certificates)

    def trouble(self, content: bytes, signature: bytes) -> str:
        """See the port."""
        from pysequoia import Sig, verify  # noqa: PLC0415 - see `SequoiaOpenPgp.keyring`

        try:
            parsed = Sig.from_bytes(signature)
        except (RuntimeError, ValueError) as error:
            return f"no OpenPGP signature: {_first_line(error)}"
        try:
            verify(bytes=content, store=lambda _: self._certificates, signature=parsed)
        except (RuntimeError, ValueError) as error:
            issuer = (parsed.issuer_fingerprint or parsed.issuer_key_id or "an unnamed key").upper()
            return f"{_first_line(error)} (made by {issuer})"
        return ""


def _certificates(key: bytes, *, strict: bool) -> list[Cert]:
    from pysequoia import Cert  # noqa: PLC0415 - see `SequoiaOpenPgp.keyring`

    try:
        found = Cert.split_bytes(key)
    except (RuntimeError, ValueError) as error:
        if strict:
            raise BadOpenPgpKey(f"no OpenPGP public key: {_first_line(error)}") from error
        return []
    if not found and strict:
        raise BadOpenPgpKey("no OpenPGP public key is in it")
    return found


def _first_line(error: Exception) -> str:
    """The message; Sequoia appends its stack to it."""
    return str(error).partition("\n")[0].strip()[:300]
