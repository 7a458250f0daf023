"""Giving a signed database to stock Trivy, which must find its sentinels."""

from __future__ import annotations

from pathlib import Path

from stellaops.bundles import layout
from stellaops.bundles.trivy import inspect, java_db
from stellaops.exports.errors import VerifyFailed
from stellaops.exports.ports import Scanner


def smoke(root: Path, scanner: Scanner, scratch: Path) -> int:
    """Scan for the sentinels of every database of a verified bundle root; how many were found.

    Raises:
        VerifyFailed: with the sentinels that a scan does not find.
    """
    missing: list[str] = []
    found = 0
    if (root / layout.TRIVY_DB).exists():
        sentinels = inspect.read_sentinels((root / layout.TRIVY_SENTINELS).read_bytes())
        missing += scanner.missing(root / layout.TRIVY_DB, sentinels, scratch)
        found += len(sentinels)
    if (root / layout.TRIVY_JAVA_DB).exists():
        jars = java_db.read_sentinels((root / layout.TRIVY_JAVA_SENTINELS).read_bytes())
        missing += scanner.unrecognised(root / layout.TRIVY_JAVA_DB, jars, scratch)
        found += len(jars)
    if missing:
        raise VerifyFailed(f"the smoke scan failed: {'; '.join(missing[:5])}", details=missing)
    return found
