"""Which public keys a verification trusts: those given, else those of the data directory; never the bundle's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stellaops.authority import manage_keys
from stellaops.cli.frame import App
from stellaops.core.errors import NotFound, NotTrusted
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import UnusableKey

_LARGEST = 1024 * 1024
"""Bytes of the largest file of public keys: some 5,000 of them."""


class KeyFileMissing(NotFound):
    """A key file that was named does not exist or cannot be read."""

    code = "ERR_KEY_FILE_MISSING"
    hint = "Give the path of a public key in PEM, such as the sender's export-center.pub."


class NothingTrusted(NotTrusted):
    """There is no key to verify with."""

    code = "ERR_NO_TRUSTED_KEY"
    hint = "Give the sender's public key with --key."


def trusted_keys(app: App, keys: Sequence[Path]) -> tuple[tuple[bytes, ...], frozenset[str]]:
    """Public keys in PEM, and ids of keys that verify nothing.

    Args:
        app: the command's frame.
        keys: files of one public key, or of several one after the other; the data directory's where empty.

    Raises:
        KeyFileMissing, NothingTrusted: see there.
        UnusableKey: a file without public keys.
    """
    own = manage_keys.trusted_keys(app.local.keys, app.tenant)
    if keys:
        # What this data directory knows as revoked verifies nothing, however it is named.
        return tuple(pem for key in keys for pem in _read(key)), own.revoked
    if not own.pems:
        raise NothingTrusted(
            f"tenant {app.tenant} has no key in {app.settings.data_dir}, and no --key was given"
        )
    return own.pems, own.revoked


def key_remarks(app: App) -> Mapping[str, str]:
    """What this data directory knows of keys beside their ids: since when they are retired or revoked, and why."""
    return manage_keys.trusted_keys(app.local.keys, app.tenant).remarks


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise KeyFileMissing(f"{path}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise UnusableKey(f"{path} has more than {_LARGEST} bytes and holds no public keys")
    try:
        return tuple(key.pem() for key in ecdsa_p256.load_public_keys(data))
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error.what}") from error
