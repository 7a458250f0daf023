"""Giving a signed database to stock Trivy: verify first, then load, or scan for the sentinels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stellaops.bundles import layout
from stellaops.bundles.trivy import inspect, java_db
from stellaops.core import digests
from stellaops.core.errors import NotFound, NotTrusted
from stellaops.exports.errors import VerifyFailed
from stellaops.exports.ports import Scanner
from stellaops.kit.verify import verify_bundle
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature


class DatabaseMissing(NotFound):
    """The file to import does not exist, or its export does not stand around it."""

    code = "ERR_TRIVY_BUNDLE_MISSING"
    hint = "Give the path of trivy/db.bundle or trivy/java-db.bundle in its bundle root, or give --key and --signature."


class DatabaseNotSigned(NotTrusted):
    """The signature over the database does not hold for any trusted key."""

    code = "ERR_TRIVY_BUNDLE_NOT_TRUSTED"
    hint = "Do not use this database; fetch it again, and check that the key is the sender's."


class Loader(Protocol):
    """What puts a database into a Trivy cache."""

    def load(self, archive: Path, cache: Path, *, downloaded_at: datetime | None = None) -> Path:
        """Replace the cache's database of the archive's kind in one step; where it lies."""
        ...


def demand_trusted(
    archive: Path, trusted: Sequence[bytes], revoked: Collection[str], signature: Path | None = None
) -> Path | None:
    """Verify a `db.bundle` or `java-db.bundle`: by one signature file, or with the whole export around it.

    Returns:
        The bundle root, or None where only a signature was given.

    Raises:
        DatabaseMissing, DatabaseNotSigned, BundleRefused: see there.
    """
    if not archive.is_file():
        raise DatabaseMissing(f"{archive} does not exist")
    if signature is not None:
        _demand_signature(archive, trusted, revoked, signature)
        return None
    root = archive.absolute().parent.parent
    places = (layout.TRIVY_DB, layout.TRIVY_JAVA_DB)
    if not (root / layout.MANIFEST).is_file() or archive.absolute() not in {root / place for place in places}:
        raise DatabaseMissing(f"{archive} does not stand in its bundle root at {' or '.join(places)}")
    verify_bundle(root, trusted, revoked=revoked).require()
    return root


def import_database(archive: Path, cache: Path, loader: Loader, *, now: datetime) -> Path:
    """Load a verified database into a Trivy cache, marked as downloaded now, so that Trivy takes it as fresh.

    Returns:
        Where the database lies.
    """
    return loader.load(archive, cache, downloaded_at=now)


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


def _demand_signature(
    archive: Path, trusted: Sequence[bytes], revoked: Collection[str], signature: Path
) -> None:
    with archive.open("rb") as file:
        digest = bytes.fromhex(digests.of_file(file).removeprefix(digests.PREFIX))
    text = signature.read_bytes()[:4096]
    for pem in trusted:
        key = ecdsa_p256.load_public_key(pem)
        if key.key_id in revoked:
            continue
        try:
            cosign_blob.verify(text, digest, key)
        except BadSignature:
            continue
        return
    raise DatabaseNotSigned(f"{signature} is no signature over {archive} by a trusted key")
