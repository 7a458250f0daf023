"""The names in a bundle root: fixed files, which content lies in which files, and what is signed under which name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime

MANIFEST = "export.json"
FILES = "files.json"
MANIFEST_YAML = "manifest.yaml"
README = "README.md"
PROVENANCE = "provenance.json"
SIGNATURES = "signatures/"
PROVENANCE_BUNDLE = "signatures/provenance.sigstore.json"
TRIVY_DB = "trivy/db.bundle"
TRIVY_SENTINELS = "trivy/sentinels.json"
TRIVY_JAVA_DB = "trivy/java-db.bundle"
TRIVY_JAVA_SENTINELS = "trivy/java-sentinels.json"
RAW = "data/raw/"
RAW_SBOMS = f"{RAW}sboms/"
UPSTREAM = "data/upstream/"
NORMALIZED = "data/normalized/"
INDEXES = "indexes/"
RAW_ADVISORIES, RAW_VEX = f"{RAW}advisories", f"{RAW}vex"
ADVISORIES_INDEX, VEX_INDEX = f"{INDEXES}advisories", f"{INDEXES}vex"
SBOM_INDEX, ARTEFACTS_INDEX = f"{INDEXES}sbom", f"{INDEXES}artefacts"
FINDINGS_INDEX = f"{INDEXES}findings"
CONSENSUS = "data/consensus/vex_consensus"
POLICY_SNAPSHOT = "data/policy/snapshot.json"
POLICY_EVALUATIONS = "data/policy/evaluations"
VEX_REPOSITORY = "vex-repository/vex-repository.tar.gz"

RENDERED = (MANIFEST_YAML, README)
"""Files that are a function of `export.json` alone."""
_CLEAR = frozenset((MANIFEST, FILES, PROVENANCE, *RENDERED))

ROW_SET_TYPE = "application/x-ndjson"
JSON_TYPE = "application/json"
GZIP_TAR_TYPE = "application/gzip"
SBOM_TYPES = {"json": JSON_TYPE, "xml": "application/xml", "spdx": "text/spdx"}
"""Media types of bills of materials by the suffix of their files."""
TRIVY_DB_TYPE = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
TRIVY_JAVA_DB_TYPE = "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip"

JWS_PATHS = {MANIFEST: "signatures/export.jws", FILES: "signatures/files.jws"}
"""The detached JWS over each manifest, by signed file: a form on request, so a bundle has all of them or none."""

LARGEST_POLICY = 16 * 1024 * 1024
"""Bytes that a policy snapshot may have."""

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of the longest line that a row set may hold, so that a reader's memory has a bound."""

_STEMS = {
    MANIFEST: "export",
    FILES: "files",
    TRIVY_DB: "trivy-db",
    TRIVY_JAVA_DB: "trivy-java-db",
}
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_CONTENT_ID = re.compile(r"[a-z2-7]{26}")
_CODECS = ((".zst", "zstd"), (".bundle", "gzip"), (".tar.gz", "gzip"))
_SHARDED = re.compile(r"data/(raw|upstream|normalized)/[a-z]+")
_SBOM = re.compile(r"data/raw/sboms/[0-9a-f]{64}/sbom(-[1-9][0-9]{0,2})?\.(json|xml|spdx)")
_INDEX = re.compile(r"indexes/[a-z]+")
_ARCHIVE = re.compile(r"mirror-[0-9]{8}-(full|delta-[1-9][0-9]*)\.tar\.zst")
_TABLE = re.compile(r"data/(consensus|policy)/[a-z_]+")


def is_portable(path: str) -> bool:
    """Whether a path means the same file on every system: relative, plain ASCII segments, no `.` or `..`."""
    return len(path) <= 240 and all(_SEGMENT.fullmatch(part) for part in path.split("/"))


def is_content_id(text: str) -> bool:
    """Whether a text has the form of an export id or archive id (`core.digests.content_id`)."""
    return _CONTENT_ID.fullmatch(text) is not None


def codec(path: str) -> str:
    """How a file is packed, told by its suffix: `zstd`, `gzip` or `none`."""
    return next((name for suffix, name in _CODECS if path.endswith(suffix)), "none")


def is_clear(path: str) -> bool:
    """Whether a file is readable in an encrypted bundle too."""
    return path in _CLEAR or path.startswith(SIGNATURES)


def signed_stem(path: str) -> str | None:
    """Name under `signatures/` of the signatures over a file; None where it has none of its own."""
    return _STEMS.get(path)


def signature_paths(path: str) -> tuple[str, str]:
    """The cosign signature and the Sigstore bundle over a signed file."""
    stem = _STEMS[path]
    return f"{SIGNATURES}{stem}.sig", f"{SIGNATURES}{stem}.sigstore.json"


def expected_signatures(paths: Iterable[str]) -> frozenset[str]:
    """The signature files that a bundle root with these files must have; the provenance's only where it is one."""
    held = set(paths)
    found = {name for path in held if path in _STEMS for name in signature_paths(path)}
    return frozenset(found | {PROVENANCE_BUNDLE} if PROVENANCE in held else found)


def is_sharded(content: str) -> bool:
    """Whether a content is a row set that is cut into shards."""
    return bool(_SHARDED.fullmatch(content))


def is_row_set(content: str) -> bool:
    """Whether a content is a set of rows rather than one file."""
    return is_sharded(content) or bool(_INDEX.fullmatch(content) or _TABLE.fullmatch(content))


def is_sbom(content: str) -> bool:
    """Whether a content is one bill of materials."""
    return _SBOM.fullmatch(content) is not None


def sbom_file(subject_digest: str, number: int, suffix: str) -> str:
    """File of a bill of materials.

    Args:
        subject_digest: SHA-256 of what it is about, 64 hexadecimal digits.
        number: its place among those about the same, in the order of their keys, counted from 1.
        suffix: `json`, `xml` or `spdx`.
    """
    name = "sbom" if number == 1 else f"sbom-{number}"
    return f"{RAW_SBOMS}{subject_digest}/{name}.{suffix}"


def shard(content: str, number: int) -> str:
    """File of a sharded row set's shard, counted from 0."""
    return f"{content}/{number:05d}.jsonl.zst"


def index_file(content: str) -> str:
    """File of an index or of another row set that is not sharded."""
    return f"{content}.jsonl.zst" if _TABLE.fullmatch(content) else f"{content}.index.jsonl.zst"


def files_of(content: str, paths: Collection[str]) -> tuple[str, ...]:
    """Which of some files hold a content, in reading order."""
    if is_sharded(content):
        return tuple(sorted(path for path in paths if path.startswith(f"{content}/")))
    name = index_file(content) if is_row_set(content) else content
    return (name,) if name in paths else ()


ARCHIVE_DIGEST, ARCHIVE_SIGNATURE = ".sha256", ".sha256.sig"
"""What the names of the files beside a mirror archive end in, after its own name."""


def full_archive(generated_at: datetime) -> str:
    """The name of a full mirror archive."""
    return f"mirror-{generated_at:%Y%m%d}-full.tar.zst"


def delta_archive(generated_at: datetime, number: int) -> str:
    """The name of a delta archive: the date is that of the state it leads to, the number its place in the chain."""
    return f"mirror-{generated_at:%Y%m%d}-delta-{number}.tar.zst"


def is_archive(name: str) -> bool:
    """Whether a file's name is one of a mirror archive."""
    return _ARCHIVE.fullmatch(name) is not None


def archive_beside(names: Collection[str]) -> str | None:
    """The only mirror archive among the files of a directory; None where there is none, or several."""
    found = [name for name in names if is_archive(name)]
    return found[0] if len(found) == 1 else None
