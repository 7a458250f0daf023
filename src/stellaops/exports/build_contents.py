"""Building the content files of each kind of bundle: one function a kind, registered in `BUILDERS`."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

from stellaops.bundles import layout
from stellaops.bundles.content import Content
from stellaops.bundles.jsonl import shards
from stellaops.bundles.trivy import archive
from stellaops.bundles.trivy.inspect import write_sentinels
from stellaops.bundles.trivy.sentinels import choose_sentinels
from stellaops.bundles.trivy.vulnerability_db import metadata, write_database
from stellaops.core import digests
from stellaops.exports.ports import RowSource, Selection, Staging, TrivyRows
from stellaops.exports.profile import Profile


@dataclass(frozen=True, slots=True)
class Material:
    """What a builder works from."""

    profile: Profile
    selection: Selection
    generated_at: datetime
    rows: RowSource
    trivy: TrivyRows


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made: the contents, and warnings for the run's record."""

    contents: tuple[Content, ...]
    warnings: tuple[str, ...] = ()


Builder = Callable[[Material, Staging], Built]

_MOST_WARNINGS = 1000


def build_json_raw(material: Material, staging: Staging) -> Built:
    """Canonical JSON lines of what is selected, and their index."""
    raw = shards.write_row_set(
        "data/raw/advisories", material.rows.raw_lines(material.selection), staging.create
    )
    index = shards.write_row_set(
        "indexes/advisories", material.rows.index_lines(material.selection), staging.create
    )
    return Built((raw, index))


def build_trivy_db(material: Material, staging: Staging) -> Built:
    """A Trivy database with its metadata in a gzip tar, and the sentinels that a smoke scan looks for."""
    selection, trivy = material.selection, material.trivy
    data_sources = trivy.data_sources(selection)
    scratch = staging.scratch / "trivy.db"
    with scratch.open("w+b") as database:
        written = write_database(
            database, trivy.advisories(selection), trivy.details(selection), data_sources
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
    warnings = []
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


BUILDERS: Mapping[str, Builder] = {"json:raw": build_json_raw, "trivy:db": build_trivy_db}


def toolchain(kind: str) -> dict[str, Any]:
    """What decides the bytes of the packed files: libraries, versions, parameters."""
    tools: dict[str, Any] = {"stellaops": version("stellaops"), "msgspec": version("msgspec")}
    if kind == "trivy:db":
        tools["deflate"] = version("deflate")
        tools["gzip"] = {"level": archive.LEVEL, "memberBytes": archive.PIECE}
    else:
        tools["backports.zstd"] = version("backports.zstd")
        tools["zstd"] = {"level": shards.LEVEL, "shardBytes": shards.SHARD_BYTES}
    return tools
