"""Building the content files of each kind of bundle: one function a kind, registered in `BUILDERS`."""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from stellaops.bundles import gzip_tar, layout
from stellaops.bundles.content import Content, members_digest
from stellaops.bundles.jsonl import shards
from stellaops.bundles.trivy import archive, java_db
from stellaops.bundles.trivy.inspect import METADATA, write_sentinels
from stellaops.bundles.trivy.sentinels import choose_sentinels
from stellaops.bundles.trivy.vulnerability_db import metadata, write_database
from stellaops.bundles.vex import consensus_rows
from stellaops.bundles.vex.verdict import Verdict
from stellaops.core import digests
from stellaops.exports.building import mirror as build_mirror
from stellaops.exports.building.material import Material
from stellaops.exports.building.mirror import RowSets
from stellaops.exports.building.overlay_database import DatabaseOverlay, allowed, names_by_links
from stellaops.exports.building.policy_rows import evaluation_lines
from stellaops.exports.building.vex_verdicts import Question, verdicts
from stellaops.exports.ports import Staging
from stellaops.exports.profile import Kind, Profile
from stellaops.findings import find
from stellaops.findings.verdicts import weights_of
from stellaops.policy.snapshot import EMPTY
from stellaops.vex.weights import Weights


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made: the contents, and warnings for the run's record."""

    contents: tuple[Content, ...]
    warnings: tuple[str, ...] = ()


Builder = Callable[[Material, Staging], Built]

_MOST_WARNINGS = 1000


def build_rows(material: Material, staging: Staging, sets: RowSets | None = None) -> Built:
    """Whatever the profile includes: rows and their indexes, and what is made of them.

    Args:
        sets: writes the row sets; as shards where None.
    """
    with sets or RowSets(material, staging) as all_sets:
        return _build_rows(material, staging, all_sets)


def _build_rows(material: Material, staging: Staging, sets: RowSets) -> Built:
    contents: list[Content] = []
    warnings: tuple[str, ...] = ()
    for kind in build_mirror.DOCUMENTS:
        contents += _documents(material, sets, kind)
    contents += build_mirror.write_artefacts_index(material, sets)
    contents += build_mirror.write_sboms(material, staging, sets)
    contents += build_mirror.write_other_forms(material, sets)
    if material.profile.has_findings:
        contents += _findings(material, staging, sets)
    contents += build_mirror.write_vex_repository(material, staging)
    if material.profile.has_trivy:
        for built in _databases(material, staging):
            contents += built.contents
            warnings += built.warnings
    return Built(tuple(contents), warnings)


def _documents(material: Material, sets: RowSets, kind: Kind) -> Iterator[Content]:
    """The documents of one kind, where they travel, and always their index."""
    if kind not in material.selection.records:
        return
    selection = build_mirror.of_kind(material, kind)
    if material.profile.includes(kind):
        yield sets.write(f"{layout.RAW}{kind}", material.rows.raw_lines(selection))
    yield sets.write(f"{layout.INDEXES}{kind}", material.rows.index_lines(selection))
    if kind == "vex" and material.profile.includes(kind):
        yield sets.write(layout.CONSENSUS, map(consensus_rows.line, _consensus(material)))


def _consensus(material: Material) -> Iterator[Verdict]:
    question = Question(weights_of(material.policy, Weights()))
    for some in verdicts(material.vex, material.selection, question):
        yield from sorted(some, key=lambda verdict: consensus_rows.key(verdict.subject))


def _findings(material: Material, staging: Staging, sets: RowSets) -> Iterator[Content]:
    """The policy snapshot with what it makes of the tenant's bills of materials."""
    body = material.policy.body
    with staging.create(layout.POLICY_SNAPSHOT) as out:
        out.write(body)
    yield Content(layout.POLICY_SNAPSHOT, digests.sha256(body), len(material.policy.rules), layout.JSON_TYPE)
    selection = material.selection
    request = find.Request(selection.tenant, sequence=selection.sequence, snapshot=material.policy)
    lines = list(evaluation_lines(find.find(request, material.findings(selection))))
    yield sets.write(layout.POLICY_EVALUATIONS, lines)
    if material.profile.includes("findings"):
        yield sets.write(layout.FINDINGS_INDEX, build_mirror.findings_index(lines))


def _databases(material: Material, staging: Staging) -> Iterator[Built]:
    """The databases for Trivy; one of Java artefacts only where there are lists of them."""
    selection = build_mirror.of_kind(material, "advisories")
    if material.policy is not EMPTY:
        selection = allowed(selection, material.policy, material.rows.sources())
    yield build_trivy_db(replace(material, selection=selection), staging)
    artefacts = build_mirror.of_kind(material, "artefacts")
    if next(material.rows.index_lines(artefacts), None) is not None:
        yield build_trivy_java_db(replace(material, selection=artefacts), staging)


def build_trivy_db(material: Material, staging: Staging) -> Built:
    """A Trivy database with its metadata in a gzip tar, and the sentinels that a smoke scan looks for."""
    selection, trivy = material.selection, material.trivy
    overlay = DatabaseOverlay(
        material.policy, names_by_links(material.vex, selection), trivy.data_sources(selection)
    )
    scratch = staging.scratch / "trivy.db"
    with scratch.open("w+b") as database:
        written = write_database(
            database,
            overlay.advisories(trivy.advisories(selection)),
            overlay.details(trivy.details(selection)),
            overlay.data_sources,
            trivy.scores(selection),
        )
        size = database.tell()
        database.seek(0)
        with staging.create(layout.TRIVY_DB) as out:
            digest = archive.write_archive(
                out, database, size, metadata(material.generated_at, material.profile.next_update)
            )
        with mmap.mmap(database.fileno(), 0, access=mmap.ACCESS_READ) as data:
            chosen = choose_sentinels(written.candidates, data)
    scratch.unlink()
    sentinels = write_sentinels(chosen)
    with staging.create(layout.TRIVY_SENTINELS) as out:
        out.write(sentinels)
    warnings = list(overlay.warnings)
    for number, problem in enumerate(trivy.problems(selection)):
        if number == _MOST_WARNINGS:
            warnings.append("… and more constraints that were left out")
            break
        warnings.append(problem)
    return Built(
        (
            Content(layout.TRIVY_DB, digest, written.advisories, layout.TRIVY_DB_TYPE),
            Content(layout.TRIVY_SENTINELS, digests.sha256(sentinels), len(chosen), layout.JSON_TYPE),
        ),
        tuple(warnings),
    )


def build_trivy_java_db(material: Material, staging: Staging) -> Built:
    """A Java database with its metadata in a gzip tar, and the jars by which a smoke scan knows that it works."""
    scratch = staging.scratch / java_db.DATABASE
    measured = java_db.write_database(scratch, material.java.artefacts(material.selection))
    about = metadata(material.generated_at, material.profile.next_update, java_db.SCHEMA_VERSION)
    with scratch.open("rb") as database, staging.create(layout.TRIVY_JAVA_DB) as out:
        archive.write_archive(out, database, scratch.stat().st_size, about, java_db.DATABASE)
    with closing(java_db.open_database(scratch)) as connection:
        chosen = java_db.choose_sentinels(connection)
    scratch.unlink()
    sentinels = java_db.write_sentinels(chosen)
    with staging.create(layout.TRIVY_JAVA_SENTINELS) as out:
        out.write(sentinels)
    # Which bytes SQLite writes depends on its version: the rows identify the database.
    digest = members_digest({METADATA: digests.sha256(about), java_db.DATABASE: measured.digest})
    return Built(
        (
            Content(layout.TRIVY_JAVA_DB, digest, measured.rows, layout.TRIVY_JAVA_DB_TYPE),
            Content(layout.TRIVY_JAVA_SENTINELS, digests.sha256(sentinels), len(chosen), layout.JSON_TYPE),
        ),
        () if chosen else ("no jar of the list can be told by its name alone: there is no sentinel",),
    )


BUILDERS: Mapping[str, Builder] = {
    "json:raw": build_rows,
    "json:policy": build_rows,
    "mirror:full": build_rows,
    "trivy:db": build_trivy_db,
    "trivy:java-db": build_trivy_java_db,
}


def toolchain(profile: Profile) -> dict[str, Any]:
    """What decides the bytes of the packed files: libraries, versions, parameters."""
    tools: dict[str, Any] = {"stellaops": version("stellaops"), "msgspec": version("msgspec")}
    kind = profile.kind
    if kind == "trivy:java-db" or profile.includes("trivy"):
        tools["sqlite"] = sqlite3.sqlite_version
    if profile.has_trivy or profile.includes("vex-repository"):
        tools["deflate"] = version("deflate")
        tools["gzip"] = {"level": gzip_tar.LEVEL, "memberBytes": gzip_tar.PIECE}
    if profile.spec.kind != "trivy":
        tools["backports.zstd"] = version("backports.zstd")
        level = profile.spec.compression.level or shards.LEVEL
        tools["zstd"] = {"level": level, "shardBytes": shards.SHARD_BYTES}
    return tools


def selected_records(contents: Iterable[Content]) -> int | None:
    """How many records of the evidence the indexes of a bundle name; None where it has no index."""
    counted = [
        content.records
        for content in contents
        if content.path.startswith(layout.INDEXES) and content.path != layout.FINDINGS_INDEX
    ]
    return sum(counted) if counted else None
