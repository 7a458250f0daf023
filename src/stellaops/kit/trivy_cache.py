"""A signed database in a cache of stock Trivy: verified first, then put there in one step."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from stellaops.bundles import layout
from stellaops.bundles.trivy import inspect, java_db
from stellaops.core import digests, timestamps
from stellaops.core.errors import NotFound, NotTrusted
from stellaops.kit.disk import disk_errors, made, put_in_place
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


class BadDatabaseArchive(NotTrusted):
    """An archive that does not hold one database with its metadata."""

    code = "ERR_TRIVY_BUNDLE_FORM"
    hint = "Give trivy/db.bundle or trivy/java-db.bundle of a bundle root, as it was exported."


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


def load(archive: Path, cache: Path, *, downloaded_at: datetime | None = None) -> Path:
    """Put a `db.bundle` or `java-db.bundle`, which was verified, into a Trivy cache, in one step.

    Trivy then needs `--skip-db-update` or `--skip-java-db-update`, or takes it as fresh.

    Args:
        downloaded_at: written into `metadata.json`, as Trivy does after a download.

    Returns:
        Where the database lies.

    Raises:
        BadDatabaseArchive, NoRoom: see there.
    """
    with disk_errors(cache), made(cache), tempfile.TemporaryDirectory(dir=cache, prefix=".db-") as scratch:
        fresh = Path(scratch) / "db"
        fresh.mkdir()
        database = _unpack(archive, fresh)
        if downloaded_at is not None:
            _mark(fresh / "metadata.json", downloaded_at)
        place = cache / _PLACES[database]
        put_in_place(fresh, place)
        return place / database


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


_PLACES = {inspect.DATABASE: "db", java_db.DATABASE: "java-db"}
"""Where each database lies in a cache."""


def _unpack(archive: Path, into: Path) -> str:
    """Unpack an archive; answers the name of its database."""
    found = []
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            content = members.extractfile(member)
            if content is None or member.name not in (*_PLACES, inspect.METADATA):
                raise BadDatabaseArchive(f"{archive} must not hold {member.name[:120]!a}")
            found.append(member.name)
            with (into / member.name).open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
    databases = sorted(set(found) - {inspect.METADATA})
    if len(databases) != 1 or len(found) != 2:
        raise BadDatabaseArchive(
            f"{archive} must hold {inspect.METADATA} and one database, and holds {', '.join(found)}"
        )
    return databases[0]


def _mark(file: Path, downloaded_at: datetime) -> None:
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["DownloadedAt"] = timestamps.render(downloaded_at.astimezone(UTC))
    file.write_text(json.dumps(metadata, sort_keys=True, separators=(",", ":")), encoding="utf-8")
