"""What Concelier's side holds of a domain: the bundle, the bucket of OSV, and scanners' databases."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from stellaops.bundles import layout
from stellaops.bundles.jsonl.shards import Line
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.exports.building.contents import Built, build_trivy_db, build_trivy_java_db, toolchain
from stellaops.exports.building.material import Material
from stellaops.exports.plan_run import Tools
from stellaops.exports.ports import Selection, Snapshot
from stellaops.exports.profile import TRIVY_SCHEMAS, Kind, Profile, Spec
from stellaops.mirrors import forms
from stellaops.mirrors.domain import OSV, TRIVY_DB, TRIVY_JAVA_DB, Domain
from stellaops.mirrors.errors import EmptyDomain
from stellaops.mirrors.forms import Content, DomainState
from stellaops.mirrors.oci_layout import write_layout
from stellaops.mirrors.osv_bucket import write_bucket
from stellaops.mirrors.tree import InForce, Tree
from stellaops.policy.snapshot import EMPTY

_FORM = 1
"""Of what is built; grows when the same evidence becomes other files."""
_PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    OSV: (),
    TRIVY_DB: ("alias", "trivy"),
    TRIVY_JAVA_DB: ("java",),
}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be built for a domain, told before anything is."""

    domain: Domain
    selection: Selection
    state: DomainState
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What was built for a domain, but for what bears the export id."""

    plan: Plan
    content: Content
    remarks: tuple[str, ...] = ()


def plan(domain: Domain, sequence: int, key_id: str, tools: Tools) -> Plan:
    """Cut the snapshot of a domain.

    Raises:
        EmptyDomain: see there.
    """
    selection = Selection(domain.tenant, sequence, domain.selectors("concelier"), ("advisories",))
    snapshot = tools.evidence.snapshot(selection)
    if not snapshot.records and not domain.document.advisories.allow_empty:
        raise EmptyDomain(f"domain {domain.id} selects no advisory at snapshot {sequence}")
    lists = tools.evidence.snapshot(_of_kind(selection, "artefacts"))
    formats = tuple(name for name in domain.advisory_formats if name != TRIVY_JAVA_DB or lists.records)
    state = state_of(domain, selection, snapshot, key_id, _decides(domain, formats, lists, tools))
    return Plan(domain, selection, state, formats)


def state_of(
    domain: Domain, selection: Selection, snapshot: Snapshot, key_id: str, decides: Mapping[str, Any]
) -> DomainState:
    """The state of a domain's side.

    Args:
        decides: what decides the files beside the snapshot.
    """
    instants = [each.updated_at for each in snapshot.sources if each.updated_at is not None]
    state = DomainState(
        domain.id,
        domain.display_name,
        max(instants, default=timestamps.EPOCH),
        snapshot.sources,
        snapshot.counts,
        snapshot.digest,
        selection.selectors.canonical(),
        snapshot.digest,
        key_id,
    )
    wire = {
        "id": state.id,
        "displayName": state.display_name,
        "generatedAt": timestamps.render(state.generated_at),
        "sources": state.source_wires(),
        "snapshot": state.snapshot,
        "selectors": dict(state.selectors),
        "key": key_id,
        **decides,
    }
    return replace(state, digest=digests.sha256(canonical_json.encode(wire)))


def _decides(domain: Domain, formats: Iterable[str], lists: Snapshot, tools: Tools) -> dict[str, Any]:
    names = sorted({name for each in formats for name in _PROJECTIONS[each]})
    return {
        "form": _FORM,
        "formats": list(formats),
        "cadence": int(domain.cadence.total_seconds()),
        "artefacts": lists.digest if TRIVY_JAVA_DB in formats else None,
        "projections": {name: tools.projection_versions[name] for name in names},
        "toolchain": [toolchain(_profile(domain, "db")), toolchain(_profile(domain, "java-db"))],
    }


def build(made: Plan, tree: Tree, tools: Tools) -> Part:
    """Write everything of a domain that does not bear the export id."""
    domain = made.domain
    with tree.create(f"{forms.place(domain.id)}/{forms.BUNDLE}") as out:
        content = _write_bundle(out, tools.rows.raw_lines(made.selection))
    remarks: list[str] = []
    if OSV in made.formats:
        bucket = write_bucket(tree, f"osv/{domain.id}", tools.rows.normalized_lines(made.selection))
        if bucket.left_out:
            remarks.append(f"{domain.id}: {bucket.left_out} documents have ids that are no file names")
    for name in (TRIVY_DB, TRIVY_JAVA_DB):
        if name in made.formats:
            remarks += _database(made, name, tree, tools)
    return Part(made, content, tuple(remarks))


def take_over(made: Plan, tree: Tree, content: Content) -> Part:
    """The same from the tree in force, which holds this state; the bundle is copied, since its head will change."""
    domain = made.domain.id
    place = f"{forms.place(domain)}/{forms.BUNDLE}"
    source = tree.before(place)
    assert source is not None  # noqa: S101 - the caller has read the manifest beside it
    with tree.create(place) as out, source.open("rb") as held:
        shutil.copyfileobj(held, out, _PIECE)
    for folder in forms.folders("concelier", domain)[1:]:
        tree.take_over(folder)
    return Part(made, content)


class _Known(msgspec.Struct, rename="camel"):
    """What of a manifest in force is asked."""

    state_digest: str
    content_digest: Digest
    advisories: int


def unchanged(made: Plan, tree: InForce) -> Content | None:
    """What the bundle in force holds, where the tree in force holds this very state of the domain."""
    folder = forms.place(made.domain.id)
    file = tree.before(f"{folder}/{forms.MANIFEST}")
    if file is None or tree.before(f"{folder}/{forms.BUNDLE}") is None:
        return None
    try:
        known = msgspec.json.decode(file.read_bytes(), type=_Known)
    except (OSError, msgspec.DecodeError):
        return None
    if known.state_digest != made.state.digest:
        return None
    return Content(known.content_digest, known.advisories)


def _write_bundle(out: BinaryIO, lines: Iterable[Line]) -> Content:
    out.write(forms.bundle_head(forms.PLACEHOLDER))
    hasher, count = hashlib.sha256(), 0
    for line in lines:
        piece = b",\n" + line.text if count else line.text
        hasher.update(piece)
        out.write(piece)
        count += 1
    out.write(forms.BUNDLE_END)
    return Content(digests.of_hash(hasher), count)


def name_export(bundle: Path, export_id: str) -> None:
    """Write the export id into a bundle, once it is known."""
    with bundle.open("r+b") as file:
        file.write(forms.bundle_head(export_id))


def _database(made: Plan, name: str, tree: Tree, tools: Tools) -> tuple[str, ...]:
    variant = name.removeprefix("trivy-")
    corner = _Corner(tree.scratch / f"{made.domain.id}-{variant}")
    selection = made.selection if variant == "db" else _of_kind(made.selection, "artefacts")
    material = Material(
        _profile(made.domain, variant), selection, made.state.generated_at, tools.rows, tools.trivy,
        tools.java, tools.vex, tools.findings, EMPTY,
    )  # fmt: skip
    built: Built = (build_trivy_db if variant == "db" else build_trivy_java_db)(material, corner)
    path, kind = {
        "db": (layout.TRIVY_DB, layout.TRIVY_DB_TYPE),
        "java-db": (layout.TRIVY_JAVA_DB, layout.TRIVY_JAVA_DB_TYPE),
    }[variant]
    write_layout(
        tree,
        f"oci/{made.domain.id}/{name}",
        corner.root / path,
        media_type=kind,
        generated_at=made.state.generated_at,
        schema=TRIVY_SCHEMAS[variant],
    )
    shutil.rmtree(corner.root)
    return built.warnings


def _profile(domain: Domain, variant: str) -> Profile:
    minutes = int(domain.cadence / timedelta(minutes=1))
    spec = Spec(kind="trivy", variant=variant, next_update=f"{minutes}m")
    return Profile(f"trivy:{variant}", domain.tenant, "r0", spec)


def _of_kind(selection: Selection, kind: Kind) -> Selection:
    return replace(selection, records=(kind,))


class _Corner:
    """`exports.ports.Staging` in a directory of its own, for what is built by parts of exports."""

    def __init__(self, place: Path) -> None:
        self.root = self.scratch = place
        place.mkdir(parents=True)

    def create(self, path: str) -> BinaryIO:
        """See the port."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")

    def reserve(self, size: int) -> None:
        """See the port: a tree takes the room that it needs as it grows."""
