"""Keys of download links, in files of the data directory that all processes of an installation share.

    authority/links/<created, seconds>-<8 hex digits>.key      mode 0600: 64 hex digits

A key signs for 30 days; it verifies for as long as a link of its last day lives, then its file goes. Whoever removes
the files ends every link at once.
"""

from __future__ import annotations

import re
import secrets
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stellaops.adapters.keys import disk
from stellaops.authority.keys import KeyUnavailable
from stellaops.exports.distribution.links import LONGEST, LinkKey

_SIGNS = timedelta(days=30)
_FILE = re.compile(r"([0-9]{10,11})-[0-9a-f]{8}\.key")
_SECRET = re.compile(rb"[0-9a-f]{64}\n?")


class FileLinkKeys:
    """`exports.distribution.links.LinkKeys` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def signing(self, now: datetime) -> LinkKey:
        """See the port.

        Raises:
            KeyUnavailable, KeyFileNotWritten: see there.
        """
        with self._lock, disk.locked(self._directory):
            files = sorted(path for path in self._directory.iterdir() if _FILE.fullmatch(path.name))
            for path in [each for each in files if _created(each) + _SIGNS + LONGEST < now]:
                disk.remove(path)
                files.remove(path)
            if files and _created(files[-1]) + _SIGNS > now:
                return _read(files[-1])
            path = self._directory / f"{int(now.timestamp()):010d}-{secrets.token_hex(4)}.key"
            disk.write(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
            return _read(path)

    def get(self, key_id: str) -> LinkKey | None:
        """See the port."""
        path = self._directory / f"{key_id}.key"
        if not _FILE.fullmatch(path.name) or path.parent != self._directory or not path.is_file():
            return None
        return _read(path)


def _created(path: Path) -> datetime:
    return datetime.fromtimestamp(int(path.name.partition("-")[0]), UTC)


def _read(path: Path) -> LinkKey:
    data = disk.read(path, private=True)
    if not _SECRET.fullmatch(data):
        raise KeyUnavailable(
            f"{path} is no key of links", hint="Remove the file; links that it signed end with it."
        )
    return LinkKey(path.stem, bytes.fromhex(data.decode().strip()))
