"""One new file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from stellaops.adapters.files.workspace import TargetExists
from stellaops.kit.disk import disk_errors, made, sync


def write_file(
    target: Path, pieces: Iterable[bytes], told: Callable[[int], None], check: Callable[[Path], None] | None = None
) -> None:  # fmt: skip
    """Write a file that does not exist yet.

    Args:
        told: is told now and then how many bytes there are.
        check: looks at the file before it takes its name, and refuses it by an error of its own.

    Raises:
        TargetExists: there is something already.
        NoRoom: see there.
    """
    if os.path.lexists(target):
        raise TargetExists(f"{target} exists")
    with disk_errors(target), made(target.parent):
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as out:
                done = 0
                for piece in pieces:
                    out.write(piece)
                    done += len(piece)
                    told(done)
            if check is not None:
                check(part)
            sync(part)
            part.rename(target)
            sync(target.parent)
        finally:
            part.unlink(missing_ok=True)
