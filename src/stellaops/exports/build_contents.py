"""Building the content files of each kind of bundle: one function a kind, registered in `BUILDERS`."""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
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
from stellaops.exports.overlay_database import DatabaseOverlay, names_by_links
from stellaops.exports.policy_rows import evaluation_lines
from stellaops.exports.ports import JavaRows, RowSource, Selection, Staging, TrivyRows
from stellaops.exports.profile import Profile
from stellaops.exports.vex_verdicts import Question, VexRows, verdicts
from stellaops.findings import find
from stellaops.findings.verdicts import weights_of
from stellaops.policy.snapshot import Snapshot
from stellaops.vex.weights import Weights


@dataclass(frozen=True, slots=True)
class Material:
    """What a builder works from.

    Attributes:
        policy: the snapshot that is applied; the empty one where none is.
    """

    profile: Profile
    selection: Selection
    generated_at: datetime
    rows: RowSource
    trivy: TrivyRows
    java: JavaRows
    vex: VexRows
    findings: find.Tools
    policy: Snapshot


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made: the contents, and warnings for the run's record."""

    contents: tuple[Content, ...]
    warnings: tuple[str, ...] = ()


Builder = Callable[[Material, Staging], Built]

_MOST_WARNINGS = 1000


def build_json_raw(material: Material, staging: Staging) -> Built:
    """Canonical JSON lines of what is selected, their indexes, and the consensus of the VEX among it."""
    contents: list[Content] = []
    for kind in material.profile.included:
        selection = replace(material.selection, records=(kind,))
        raw, index = f"{layout.RAW}{kind}", f"{layout.INDEXES}{kind}"
        contents += (
            shards.write_row_set(raw, material.rows.raw_lines(selection), staging.create),
            shards.write_row_set(index, material.rows.index_lines(selection), staging.create),
        )
        if kind == "vex":
            lines = map(consensus_rows.line, _consensus(material))
            contents.append(shards.write_row_set(layout.CONSENSUS, lines, staging.create))
    return Built(tuple(contents))


def _consensus(material: Material) -> Iterator[Verdict]:
    question = Question(weights_of(material.policy, Weights()))
    for some in verdicts(material.vex, material.selection, question):
        yield from sorted(some, key=lambda verdict: consensus_rows.key(verdict.subject))


def build_json_policy(material: Material, staging: Staging) -> Built:
    """The same, and the policy snapshot with what it makes of the tenant's bills of materials."""
    raw = build_json_raw(material, staging)
    body = material.policy.body
    with staging.create(layout.POLICY_SNAPSHOT) as out:
        out.write(body)
    selection = material.selection
    request = find.Request(selection.tenant, sequence=selection.sequence, snapshot=material.policy)
    lines = evaluation_lines(find.find(request, material.findings))
    evaluations = shards.write_row_set(layout.POLICY_EVALUATIONS, lines, staging.create)
    snapshot = Content(
        layout.POLICY_SNAPSHOT, digests.sha256(body), len(material.policy.rules), layout.JSON_TYPE
    )
    return Built((*raw.contents, snapshot, evaluations))


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
    "json:raw": build_json_raw,
    "json:policy": build_json_policy,
    "trivy:db": build_trivy_db,
    "trivy:java-db": build_trivy_java_db,
}


def toolchain(kind: str) -> dict[str, Any]:
    """What decides the bytes of the packed files: libraries, versions, parameters."""
    tools: dict[str, Any] = {"stellaops": version("stellaops"), "msgspec": version("msgspec")}
    if kind == "trivy:java-db":
        tools["sqlite"] = sqlite3.sqlite_version
    if kind.startswith("trivy:"):
        tools["deflate"] = version("deflate")
        tools["gzip"] = {"level": gzip_tar.LEVEL, "memberBytes": gzip_tar.PIECE}
    else:
        tools["backports.zstd"] = version("backports.zstd")
        tools["zstd"] = {"level": shards.LEVEL, "shardBytes": shards.SHARD_BYTES}
    return tools
