"""Which public keys a verification trusts: those given, else those of the data directory; never the bundle's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stellaops.authority import manage_keys
from stellaops.cli.frame import App
from stellaops.kit.key_files import NothingTrusted, public_keys


def trusted_keys(app: App, keys: Sequence[Path]) -> tuple[tuple[bytes, ...], frozenset[str]]:
    """Public keys in PEM, and ids of keys that verify nothing.

    Args:
        app: the command's frame.
        keys: files of one public key, or of several one after the other; the data directory's where empty.

    Raises:
        KeyFileMissing, NothingTrusted: see there.
        UnusableKey: a file without public keys.
    """
    own = manage_keys.trusted_keys(app.home.keys, app.tenant)
    if keys:
        # What this data directory knows as revoked verifies nothing, however it is named.
        return tuple(pem for key in keys for pem in public_keys(key)), own.revoked
    if not own.pems:
        raise NothingTrusted(
            f"tenant {app.tenant} has no key in {app.settings.data_dir}, and no --key was given"
        )
    return own.pems, own.revoked


def key_remarks(app: App) -> Mapping[str, str]:
    """What this data directory knows of keys beside their ids: since when they are retired or revoked, and why."""
    return manage_keys.trusted_keys(app.home.keys, app.tenant).remarks
