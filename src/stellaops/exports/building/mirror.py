"""What bundles of rows and mirrors include beside documents: bills of materials, findings, other forms, databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

import msgspec

from stellaops.bundles import layout
from stellaops.bundles.content import Content
from stellaops.bundles.jsonl import shards
from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.vex import repository
from stellaops.bundles.vex.openvex import Author
from stellaops.core import canonical_json, digests
from stellaops.exports.building.material import Material
from stellaops.exports.building.vex_verdicts import Question, verdicts
from stellaops.exports.ports import Selection, Staging, StoredBill
from stellaops.exports.profile import Kind
from stellaops.findings.verdicts import weights_of
from stellaops.vex.weights import Weights

DOCUMENTS: tuple[Kind, ...] = ("advisories", "vex")
"""Kinds whose documents are rows."""


class _About(msgspec.Struct):
    id: str


class RowSets:
    """Writes the row sets of a bundle, all packed alike; their files are complete when it is left."""

    def __init__(self, material: Material, staging: Staging) -> None:
        self._level = material.profile.spec.compression.level
        self._staging = staging
        self._endings = shards.Endings()

    def __enter__(self) -> RowSets:
        return self

    def __exit__(self, *_: object) -> None:
        self._endings.close()

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """A row set; its lines in ascending order."""
        return shards.write_row_set(
            name, lines, self._staging.create, level=self._level, endings=self._endings
        )


def of_kind(material: Material, kind: Kind) -> Selection:
    """The selection without other kinds of evidence."""
    return replace(material.selection, records=(kind,))


def write_artefacts_index(material: Material, sets: RowSets) -> Iterator[Content]:
    """The index of lists of Java artefacts, where there are any."""
    if "artefacts" not in material.selection.records:
        return
    lines = material.rows.index_lines(of_kind(material, "artefacts"))
    first = next(lines, None)
    if first is not None:
        yield sets.write(layout.ARTEFACTS_INDEX, chain((first,), lines))


def write_other_forms(material: Material, sets: RowSets) -> Iterator[Content]:
    """Records as they were fetched, and documents in one form for all feeds, as the profile asks."""
    rows, forms = material.rows, dict[str, Callable[[Selection], Iterator[Line]]]()
    if material.profile.includes("upstream"):
        forms[layout.UPSTREAM] = rows.upstream_lines
    if material.profile.includes("normalized"):
        forms[layout.NORMALIZED] = rows.normalized_lines
    for folder, lines in forms.items():
        kinds = (*DOCUMENTS, "sboms") if folder == layout.UPSTREAM else DOCUMENTS
        for kind in kinds:
            if kind in material.selection.records:
                yield sets.write(f"{folder}{kind}", lines(of_kind(material, kind)))


def write_sboms(material: Material, staging: Staging, sets: RowSets) -> Iterator[Content]:
    """Each bill of materials as a file, where they travel, and always their index: findings are made from them."""
    if "sboms" not in material.selection.records:
        return
    travel = material.profile.includes("sboms")
    written: list[Content] = []

    def index() -> Iterator[Line]:
        for path, bill in _placed(material.rows.sboms(material.selection)):
            row = msgspec.json.decode(bill.index_row)
            if travel:
                with staging.create(path) as out:
                    out.write(bill.body)
                written.append(
                    Content(path, digests.sha256(bill.body), 1, layout.SBOM_TYPES[path.rpartition(".")[2]])
                )
                row["path"] = path
            yield Line(bill.owner, bill.source, bill.key, canonical_json.encode(row))

    indexed = sets.write(layout.SBOM_INDEX, index())
    yield from written
    yield indexed


def _placed(bills: Iterable[StoredBill]) -> Iterator[tuple[str, StoredBill]]:
    """The file of each; several about one subject are numbered in the order of their keys."""
    counted: dict[str, int] = {}
    for bill in bills:
        about = msgspec.json.decode(bill.index_row, type=_About).id
        subject = digests.sha256(about.encode()).removeprefix(digests.PREFIX)
        counted[subject] = counted.get(subject, 0) + 1
        yield layout.sbom_file(subject, counted[subject], _suffix(bill)), bill


def _suffix(bill: StoredBill) -> str:
    """What the bytes are; JSON that its canonical form would change is kept as it came, and still JSON."""
    first = bill.body[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if not bill.verbatim or first == b"{":
        return "json"
    return "xml" if first == b"<" else "spdx"


def findings_index(lines: Iterable[Line]) -> Iterator[Line]:
    """The index rows of evaluations."""
    for line in lines:
        row = msgspec.json.decode(line.text)
        finding = row["finding"]
        brief = {
            name: finding[name]
            for name in ("sbom", "sbomKey", "component", "vulnerability", "severity", "status")
        }
        told = {**brief, "digest": row["digest"], "key": row["key"], "source": row["source"]}
        yield Line(line.owner, line.source, line.key, canonical_json.encode(told))


def write_vex_repository(material: Material, staging: Staging) -> Iterator[Content]:
    """The consensus of the selected VEX as a repository that Trivy reads."""
    if not material.profile.includes("vex-repository"):
        return
    question = Question(weights_of(material.policy, Weights()), widened=True)
    with (
        (staging.scratch / "vex-repository").open("w+b") as scratch,
        staging.create(layout.VEX_REPOSITORY) as out,
    ):
        writer = repository.Writer(out, scratch, Author())
        for some in verdicts(material.vex, material.selection, question):
            writer.add(some)
        writer.finish()
    (staging.scratch / "vex-repository").unlink()
    yield Content(layout.VEX_REPOSITORY, writer.tar_digest, writer.packages, layout.GZIP_TAR_TYPE)
