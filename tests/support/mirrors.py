"""Mirror archives of small states, made from values: what a sender would send, without a store."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from stellaops.bundles import layout, manifest, tar_zst
from stellaops.bundles.content import Content, SnapshotDigest
from stellaops.bundles.digest_list import Place, place_and_digest
from stellaops.bundles.files_manifest import Base, FileEntry
from stellaops.bundles.jsonl import shards
from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import ExportManifest, Profile, Source
from stellaops.bundles.mirror import delta
from stellaops.core import canonical_json, digests
from stellaops.kit.sealing import Sealed, seal
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PrivateKey

SENDER = ecdsa_p256.generate()
STRANGER = ecdsa_p256.generate()
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

Documents = Mapping[tuple[str, str], str]
"""Text of a document by source and key."""


MIRROR_FULL = Profile("mirror", "full", "mirror:full")


@dataclass(frozen=True)
class State:
    """What a sender has: documents, and a policy that travels as a whole file where there is one."""

    documents: Documents
    rules: int | None = None
    tenant: str = "default"
    profile: Profile = MIRROR_FULL


@dataclass
class Archive:
    """An archive on disk, with what it carries."""

    path: Path
    state: State
    sealed: Sealed
    rows: dict[str, dict[Place, bytes]] = field(default_factory=dict)

    @property
    def archive_id(self) -> str:
        return self.sealed.files.archive_id

    @property
    def export_id(self) -> str:
        return self.sealed.manifest.export_id

    @property
    def base(self) -> Base:
        return Base(self.export_id, self.archive_id)


class _Files(dict[str, bytes]):
    """Files of a bundle root in memory."""

    def create(self, path: str) -> BinaryIO:
        files = self

        class Growing(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    files[path] = self.getvalue()
                super().close()

        return Growing()


def key_pem(key: PrivateKey = SENDER) -> bytes:
    return key.public_key_pem()


def full(state: State, folder: Path, signer: PrivateKey = SENDER, name: str = "") -> Archive:
    """A full archive of a state."""
    files = _Files()
    contents = [shards.write_row_set(set_, lines, files.create) for set_, lines in _sets(state).items()]
    contents += _policy(state, files)
    return _packed(
        _sealed(state, contents, files, signer),
        files,
        folder / (name or "mirror-20260102-full.tar.zst"),
        state,
    )


def delta_of(
    before: Archive, state: State, folder: Path, signer: PrivateKey = SENDER, name: str = ""
) -> Archive:
    """A delta from an archive's state to another."""
    files = _Files()
    contents = []
    for set_, lines in _sets(state).items():
        kept: list[bytes] = []
        base = [(place, digests.sha256(line)) for place, line in sorted(_rows(before.state)[set_].items())]
        writer = delta.SetWriter(set_, files.create)
        contents.append(delta.write_listing(set_, lines, base, writer, kept.append))
        assert [place_and_digest(line)[0] for line in kept] == sorted(_rows(state)[set_])
    contents += _policy(state, files if state.rules != before.state.rules else _Files())
    sealed = _sealed(state, contents, files, signer, before.base)
    return _packed(sealed, files, folder / (name or "mirror-20260102-delta-1.tar.zst"), state)


def _sets(state: State) -> dict[str, Sequence[Line]]:
    return {
        set_: [Line(*place, line) for place, line in sorted(rows.items())]
        for set_, rows in _rows(state).items()
    }


def _rows(state: State) -> dict[str, dict[Place, bytes]]:
    raw, index = {}, {}
    for (source, key), text in state.documents.items():
        body = canonical_json.encode({"text": text})
        digest = digests.sha256(body)
        raw["", source, key] = shards.raw_line(source, key, digest, digest, body, verbatim=False)
        index["", source, key] = canonical_json.encode({"digest": digest, "key": key, "source": source})
    return {layout.RAW_ADVISORIES: raw, layout.ADVISORIES_INDEX: index}


def _policy(state: State, files: _Files) -> Iterator[Content]:
    if state.rules is not None:
        body = _policy_body(state.rules)
        files[layout.POLICY_SNAPSHOT] = body
        yield Content(layout.POLICY_SNAPSHOT, digests.sha256(body), state.rules, layout.JSON_TYPE)


def _policy_body(rules: int) -> bytes:
    return canonical_json.encode({"rules": list(range(rules))})


def _manifest(state: State, contents: Sequence[Content]) -> ExportManifest:
    snapshot = SnapshotDigest()
    for (source, key), text in sorted(state.documents.items()):
        snapshot.add("", source, key, digests.sha256(canonical_json.encode({"text": text})))
    sources = sorted({source for source, _ in state.documents})
    return manifest.build(
        tenant=state.tenant,
        profile=state.profile,
        selectors={},
        generated_at=NOON if sources else datetime(1970, 1, 1, tzinfo=UTC),
        snapshot=snapshot.digest(),
        sources=[Source(name, "demo", "NOASSERTION", NOON) for name in sources],
        policy_snapshot=None if state.rules is None else digests.sha256(_policy_body(state.rules)),
        projections={"index": 1},
        contents=contents,
    )


def _sealed(
    state: State, contents: Sequence[Content], files: _Files, signer: PrivateKey, base: Base | None = None
) -> Sealed:
    entries = [
        FileEntry(path, digests.sha256(data), len(data), layout.codec(path)) for path, data in files.items()
    ]
    kind = "mirror:delta" if base else "mirror:full"
    return seal(_manifest(state, contents), entries, {"stellaops": "test"}, signer, kind=kind, base=base)


def _packed(sealed: Sealed, files: _Files, path: Path, state: State) -> Archive:
    everything = {**files, **sealed.written}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        writer = tar_zst.ArchiveWriter(out)
        for member in tar_zst.in_order(everything):
            writer.add(member, len(everything[member]), [everything[member]])
        writer.finish()
    return Archive(path, state, sealed)
