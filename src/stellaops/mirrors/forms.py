"""The files that describe a mirror: index, manifests, and the signed list of everything that a domain has.

    <side>/<exportId>/index.json                        Concelier's domains
    <side>/<exportId>/mirror/<domain>/manifest.json     what bundle.json holds
    <side>/<exportId>/mirror/<domain>/index.json        Excititor's exports
    <side>/<exportId>/mirror/<domain>/tree.json         every file of the domain on this side

No wall clock, host or run stands in any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from stellaops.bundles import layout
from stellaops.bundles.manifest import Source
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.mirrors import domain_list
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.signed_files import SUFFIXES, Measured

SCHEMA_VERSION = 1
TREE_SCHEMA = "https://stellaops.io/mirror/tree/v1"

INDEX, MANIFEST, BUNDLE, KEY, TREE = (
    "index.json", "manifest.json", "bundle.json", "mirror-key.pub", "tree.json",
)  # fmt: skip
LATEST, LATEST_OBJECT = "latest", "latest.json"
FRESHNESS = "freshness"
PLACEHOLDER = "-" * 26
"""Stands in a bundle where its export id will; ids come from the content."""

LARGEST_TREE = 1 << 30
_KINDS = {".jws": "jws", ".sig": "cosign", ".sigstore.json": "sigstore"}
_HEX = re.compile(r"[0-9a-f]{64}")


PLACES = "mirror"
"""The folder of the domains' own folders in the tree of a side."""


def place(domain: str) -> str:
    """The folder of a domain's own files in the tree of a side."""
    return f"{PLACES}/{domain}"


def folders(side: Side, domain: str) -> tuple[str, ...]:
    """All folders that hold files of a domain in the tree of a side."""
    others = ("oci", "osv") if side == "concelier" else ("vex",)
    return (place(domain), *(f"{each}/{domain}" for each in others))


def freshness_profile(side: Side, domain: str) -> str:
    """The name that freshness statements give a domain's side."""
    return f"mirror/{side}/{domain}"


def bundle_head(export_id: str) -> bytes:
    """What a bundle begins with; always of one length."""
    return b'{"exportId":"%b","advisories":[\n' % export_id.encode()


BUNDLE_END = b"\n]}\n"


def export_id(side: Side, domains: Sequence[Mapping[str, Any]], given_up: Sequence[str] = ()) -> str:
    """The id of a side's tree, from what its domains hold, who signs it, and which domains there were before."""
    wire = {"schema": TREE_SCHEMA, "side": side, "domains": list(domains)}
    wire |= {"domainList": domain_list.SCHEMA, "givenUp": sorted(given_up)}
    return digests.content_id(canonical_json.encode(wire))


@dataclass(frozen=True, slots=True)
class DomainState:
    """What both sides say of a domain.

    Attributes:
        sources: those with selected documents; `counts` has how many.
        digest: of all that decides what is built: while it is the same, nothing needs to be.
    """

    id: str
    display_name: str
    generated_at: datetime
    sources: tuple[Source, ...]
    counts: Mapping[str, int]
    snapshot: Digest
    selectors: Mapping[str, Any]
    digest: Digest
    key_id: str

    def source_wires(self) -> list[dict[str, Any]]:
        """The sources with how many documents each has."""
        return [
            {
                "name": each.name,
                "database": each.database,
                "licence": each.licence,
                "updatedAt": timestamps.render(each.updated_at) if each.updated_at else None,
                "documents": self.counts.get(each.name, 0),
            }
            for each in self.sources
        ]


@dataclass(frozen=True, slots=True)
class Content:
    """What a bundle holds, whatever its export id: `digest` is over the advisories alone."""

    digest: Digest
    advisories: int


def manifest(
    state: DomainState, content: Content, bundle: Measured, formats: Sequence[str], export: str
) -> bytes:
    """`manifest.json` of a domain."""
    return _lines(
        {
            "schemaVersion": SCHEMA_VERSION,
            "domainId": state.id,
            "displayName": state.display_name,
            "exportId": export,
            "generatedAt": timestamps.render(state.generated_at),
            "advisories": content.advisories,
            "contentDigest": content.digest,
            "bundle": {"path": BUNDLE, **_sized(bundle)},
            "formats": list(formats),
            "selectors": dict(state.selectors),
            "snapshot": {"digest": state.snapshot},
            "stateDigest": state.digest,
            "sources": state.source_wires(),
        }
    )


class Manifest(Struct, frozen=True, rename="camel"):
    """What of a manifest the index repeats; other fields are passed over."""

    domain_id: str
    display_name: str
    generated_at: str
    advisories: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A domain as the index shows it."""

    about: Manifest
    key_id: str
    manifest: Measured
    bundle: Measured


def index(export: str, domains: Sequence[Listed]) -> bytes:
    """`index.json` of Concelier's side; paths are relative to the folder of the export ids."""
    instants = (timestamps.parse(each.about.generated_at) for each in domains)
    newest = max((each for each in instants if each is not None), default=timestamps.EPOCH)
    return _lines(
        {
            "schemaVersion": SCHEMA_VERSION,
            "generatedAt": timestamps.render(newest),
            "exportId": export,
            "domains": [_listed(export, each) for each in domains],
        }
    )


def _listed(export: str, listed: Listed) -> dict[str, Any]:
    about, base = listed.about, f"{export}/{place(listed.about.domain_id)}"
    return {
        "id": about.domain_id,
        "displayName": about.display_name,
        "exportId": export,
        "generatedAt": about.generated_at,
        "advisories": about.advisories,
        "manifest": {"path": f"{base}/{MANIFEST}", **_sized(listed.manifest)},
        "bundle": {"path": f"{base}/{BUNDLE}", **_sized(listed.bundle)},
        "signatures": [
            {"of": name, "kind": _KINDS[suffix], "path": f"{base}/{name}{suffix}", "keyId": listed.key_id}
            for name in (MANIFEST, BUNDLE)
            for suffix in SUFFIXES
        ],
    }


@dataclass(frozen=True, slots=True)
class Export:
    """One file made of the consensus, as Excititor's index shows it.

    Attributes:
        file: its name below `exports/`.
        created_at: the newest instant of what it states.
        revision: digest of the states of the consensus that it is made of.
        verdicts: how many there are in it.
    """

    key: str
    format: str
    file: str
    measured: Measured
    created_at: datetime
    revision: Digest
    providers: tuple[str, ...]
    verdicts: int


MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "openvex": "application/vnd.openvex+json",
    "csaf": "application/json",
    "cyclonedx": "application/vnd.cyclonedx+json",
}
EXTENSIONS = {
    "json": "json", "jsonl": "jsonl", "openvex": "openvex.json", "csaf": "csaf.json", "cyclonedx": "cdx.json",
}  # fmt: skip


def exports_index(state: DomainState, export: str, exports: Sequence[Export]) -> bytes:
    """`index.json` of a domain on Excititor's side; paths are relative to the folder of the domain."""
    return _lines(
        {
            "schemaVersion": SCHEMA_VERSION,
            "domainId": state.id,
            "displayName": state.display_name,
            "exportId": export,
            "generatedAt": timestamps.render(state.generated_at),
            "exports": [_export(state, export, each) for each in exports],
            "selectors": dict(state.selectors),
            "snapshot": {"digest": state.snapshot},
            "stateDigest": state.digest,
            "sources": state.source_wires(),
        }
    )


def _export(state: DomainState, export: str, each: Export) -> dict[str, Any]:
    file = f"exports/{each.file}"
    return {
        "exportKey": each.key,
        "exportId": export,
        "format": each.format,
        "createdAt": timestamps.render(each.created_at),
        "artifactDigest": f"sha256:{each.measured.sha256}",
        "artifactSizeBytes": each.measured.bytes,
        "consensusRevision": each.revision,
        "verdicts": each.verdicts,
        "sourceProviders": list(each.providers),
        "attestation": {
            "keyId": state.key_id,
            **{_KINDS[suffix]: f"{file}{suffix}" for suffix in SUFFIXES},
        },
        "path": f"exports/{each.key}",
        "file": file,
        "mediaType": MEDIA_TYPES[each.format],
    }


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a tree: `path` below the folder of the export id, hexadecimal SHA-256, size."""

    path: str
    sha256: str
    bytes: int


class TreeList(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Everything that a domain has on one side, but this list and its signatures."""

    schema: str
    side: str
    domain: str
    export_id: str
    files: tuple[Entry, ...]


def tree_lines(side: Side, domain: str, export: str, entries: Iterable[Entry]) -> Iterator[bytes]:
    """`tree.json`, piece by piece, an entry a line."""
    head = {"schema": TREE_SCHEMA, "side": side, "domain": domain, "exportId": export}
    yield msgspec.json.encode(head)[:-1] + b',"files":['
    for number, entry in enumerate(entries):
        yield (b",\n" if number else b"\n") + msgspec.json.encode(entry)
    yield b"\n]}\n"


def parse_tree(data: bytes) -> TreeList:
    """Read `tree.json`, whose signature has been checked.

    Raises:
        BadTree: another form, or a path that leaves the domain.
    """
    try:
        tree = msgspec.json.decode(data, type=TreeList)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTree(f"the list of the tree cannot be read: {error}") from error
    if (
        tree.schema != TREE_SCHEMA
        or tree.side not in _OWN_FOLDERS
        or not layout.is_content_id(tree.export_id)
    ):
        raise BadTree(
            f"the list of the tree is of another form: {tree.schema[:80]!r}, side {tree.side[:20]!r}"
        )
    allowed = tuple(f"{folder}/" for folder in folders(tree.side, tree.domain))  # type: ignore[arg-type]  # checked above
    seen: set[str] = set()
    for entry in tree.files:
        inside = entry.path.startswith(allowed) and _is_plain(entry.path)
        if not inside or entry.path in seen or not _HEX.fullmatch(entry.sha256) or entry.bytes < 0:
            raise BadTree(f"the list of domain {tree.domain[:80]!r} has the entry {entry.path[:200]!r}")
        seen.add(entry.path)
    return tree


_OWN_FOLDERS = ("concelier", "excititor")


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..") for part in parts)


def _sized(measured: Measured) -> dict[str, Any]:
    return {"digest": f"sha256:{measured.sha256}", "sizeBytes": measured.bytes}


def _lines(wire: Mapping[str, Any]) -> bytes:
    """JSON for people and programs: indented, fields in the order given."""
    return msgspec.json.format(msgspec.json.encode(wire), indent=2) + b"\n"
