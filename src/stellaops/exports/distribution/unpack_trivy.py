"""Databases for Trivy, wherever they lie in a verified bundle: as they are, or out of a mirror archive."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from backports import zstd

from stellaops.bundles import layout, tar_zst

_FILES = (layout.TRIVY_DB, layout.TRIVY_SENTINELS, layout.TRIVY_JAVA_DB, layout.TRIVY_JAVA_SENTINELS)


def unpack_trivy(root: Path, into: Path) -> Path | None:
    """A directory that has the databases as a bundle root has them; None where there are none.

    Args:
        root: of a bundle that was verified; an archive in it is believed.
        into: where those of an archive are put.
    """
    if any((root / path).exists() for path in (layout.TRIVY_DB, layout.TRIVY_JAVA_DB)):
        return root
    archive = layout.archive_beside({path.name for path in root.iterdir()})
    if archive is None:
        return None
    wanted = {f"{tar_zst.FOLDER}{path}": path for path in _FILES}
    found = False
    with zstd.open(root / archive, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as members:
        for member in members:
            content = members.extractfile(member) if member.name in wanted else None
            if content is None:
                continue
            target = into / wanted[member.name]
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            found = True
    return into if found else None
