"""Private keys of access tokens, in files of the machine that made them.

    authority/<kid>.pem       mode 0600: under the passphrase of private keys where there is one, else PKCS#8

Each data directory has its own key; its public part stands in the service store, where all processes of the
installation find it. A key that the store does not know, or knows as retired or revoked, makes no token: another one
takes its place at the next token, and its file goes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from stellaops.adapters.keys import disk
from stellaops.adapters.tokens import jws
from stellaops.authority.keys import KeyUnavailable
from stellaops.authority.ports import TokenKeys
from stellaops.authority.tokens import TokenKey, TokenSettings
from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import UnusableKey
from stellaops.signing.key_files import KeyForm

_FRESH = 2.0  # seconds for which a key is taken to sign still
_FILE = re.compile(r"[0-9a-f]{64}\.pem")


class FileTokenSigner:
    """`authority.ports.TokenSigner` on a data directory.

    Args:
        directory: where private keys lie; made where it is missing.
        keys: where public keys are made known.
        passphrase: of private keys, None for none; called when one is written or opened.
    """

    def __init__(
        self,
        directory: Path,
        keys: TokenKeys,
        settings: TokenSettings,
        passphrase: Callable[[], bytes | None],
    ) -> None:
        self._directory, self._keys, self._settings = directory, keys, settings
        self._passphrase = passphrase
        self._lock = threading.Lock()
        self._held: tuple[str, ECKey] | None = None
        self._looked_at = 0.0

    def sign(self, claims: Mapping[str, Any], now: datetime) -> str:
        """See the port.

        Raises:
            KeyUnavailable: the private key cannot be opened: mode, passphrase.
            KeyFileNotWritten: no place for a private key.
        """
        with self._lock:
            if self._held is None or time.monotonic() - self._looked_at > _FRESH:
                began = time.monotonic()
                self._held = self._current(now)
                self._looked_at = began
            key_id, key = self._held
        return jws.sign(claims, key_id, key)

    def _current(self, now: datetime) -> tuple[str, ECKey]:
        signing = {key.id: key for key in self._keys.list() if key.signs(now)}
        if self._held is not None and self._held[0] in signing:
            return self._held
        with disk.locked(self._directory):
            # Another process may have made one since.
            signing = {key.id: key for key in self._keys.list() if key.signs(now)}
            found = self._found(signing)
            return self._made(now) if found is None else found

    def _found(self, signing: Mapping[str, TokenKey]) -> tuple[str, ECKey] | None:
        """The newest key here that signs; files of the others go."""
        here = [path for path in self._directory.iterdir() if _FILE.fullmatch(path.name)]
        kept = []
        for path in here:
            if path.stem in signing:
                kept.append(path)
            else:
                disk.remove(path)
        if not kept:
            return None
        newest = max(kept, key=lambda path: (signing[path.stem].created_at, path.stem))
        return self._opened(newest)

    def _opened(self, path: Path) -> tuple[str, ECKey]:
        data = disk.read(path, private=True)
        passphrase = self._passphrase() if key_files.is_encrypted(data) else None
        try:
            key = key_files.read(data, passphrase)
        except UnusableKey as error:
            raise KeyUnavailable(f"{path}: {error.what}", hint=error.advice) from None
        if key.key_id != path.stem:
            raise KeyUnavailable(f"{path} holds another key than its name says", hint="Remove the file.")
        return key.key_id, jws.signing_key(key)

    def _made(self, now: datetime) -> tuple[str, ECKey]:
        key, passphrase = ecdsa_p256.generate(), self._passphrase()
        form = KeyForm.PKCS8 if passphrase is None else KeyForm.COSIGN
        data = key_files.write(key, form, passphrase)
        disk.write(self._directory / f"{key.key_id}.pem", data, mode=0o600)
        # Known before its first token is; a kill before this leaves a file that the next key sweeps away.
        self._keys.add(TokenKey(key.key_id, key.public_key_pem(), now, now + self._settings.key_life))
        return key.key_id, jws.signing_key(key)
