"""Which public keys a verification trusts: those given, else those of the data directory; never the bundle's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stellaops.cli.frame import App
from stellaops.core.errors import NotFound, NotTrusted


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

    Raises:
        KeyFileMissing, NothingTrusted: see there.
    """
    if keys:
        try:
            pems = tuple(key.read_bytes()[:65536] for key in keys)
        except OSError as error:
            raise KeyFileMissing(f"{error.filename}: {error.strerror}") from error
        # What this data directory knows as revoked verifies nothing, however it is named.
        return pems, app.local.tenant_keys.trusted(app.tenant)[1]
    pems, revoked = app.local.tenant_keys.trusted(app.tenant)
    if not pems:
        raise NothingTrusted(
            f"tenant {app.tenant} has no key in {app.settings.data_dir}, and no --key was given"
        )
    return pems, revoked
