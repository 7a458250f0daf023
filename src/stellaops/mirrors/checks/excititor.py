"""VEX: the index of exports, the exports, their signatures."""

from __future__ import annotations

from msgspec import Struct

from stellaops.mirrors.checks.visit import Visit
from stellaops.mirrors.forms import EXTENSIONS
from stellaops.mirrors.signed_files import JWS, SIG, SIGSTORE


class _Attestation(Struct, rename="camel"):
    key_id: str


class _Export(Struct, rename="camel"):
    export_key: str
    export_id: str
    format: str
    created_at: str
    artifact_digest: str
    artifact_size_bytes: int
    consensus_revision: str
    source_providers: list[str]
    attestation: _Attestation
    path: str
    file: str = ""


class Exports(Struct, rename="camel"):
    """Excititor's index of a domain."""

    export_id: str
    exports: list[_Export]


def judge_excititor(visit: Visit) -> Exports | None:
    """Judge the index and what it names; the index, if it can be read."""
    path = f"/excititor/mirror/{visit.domain}/index"
    file = visit.whole(path)
    told = visit.decoded("excititor-index", path, file.seen, Exports)
    if told is None:
        return None
    own = f"/excititor/exports/{told.export_id}/mirror/{visit.domain}"
    visit.signed("excititor-index", f"{own}/index.json", file, (SIG, SIGSTORE, JWS))
    for each in told.exports:
        known = each.format in EXTENSIONS and each.export_id == told.export_id
        visit.notes.demand(
            "excititor-index", known, f"{path}: {each.export_key} is of {each.format}, {each.export_id}"
        )
        _judge_export(visit, each, own)
    return told


def _judge_export(visit: Visit, each: _Export, own: str) -> None:
    stable = f"/excititor/mirror/{visit.domain}/exports/{each.export_key}"
    for path in (stable, f"{stable}/download"):
        seen = visit.whole(path).seen
        if not visit.is_of_another("excititor-exports", path, seen, each.export_id):
            visit.same("excititor-exports", path, seen, each.artifact_digest, each.artifact_size_bytes)
    if not each.file:
        visit.notes.demand("excititor-index", False, f"{each.export_key} has no file")
        return
    path = f"{own}/{each.file}"
    file = visit.whole(path)
    visit.same("excititor-exports", path, file.seen, each.artifact_digest, each.artifact_size_bytes)
    visit.signed("excititor-signatures", path, file, (SIG, SIGSTORE, JWS))
