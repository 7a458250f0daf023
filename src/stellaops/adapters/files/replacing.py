"""Single files, written beside their target and renamed over it when they are whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stellaops.kit.disk import disk_errors


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that becomes `target` in one step when the block ends well; else nothing of it is left.

    Raises:
        NoRoom: the disk is full or cannot be written.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        growing = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            growing.replace(target)
        finally:
            with suppress(FileNotFoundError):
                growing.unlink()


@contextmanager
def scratch_beside(target: Path) -> Iterator[BinaryIO]:
    """A nameless file on the disk of `target`, for what does not fit into memory."""
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent) as file:
            yield file
