"""The aggregation-only contract, checked where records enter: what is stored is what was fetched, with provenance.

The database guards the other half (`adapters.sql.migrations`): stored documents can be neither changed nor removed
outside retention.
"""

from __future__ import annotations

from typing import Any

from stellaops.core.errors import InvalidInput
from stellaops.ingest.model import Record, Source

_RESERVED = frozenset(("stellaops", "stella"))


class AocViolation(InvalidInput):
    """A record would break the aggregation-only contract."""

    code = "ERR_AOC_MUTATION"
    hint = "Import the upstream's own files; nothing may be edited on the way."


class MissingProvenance(AocViolation):
    """A record without the facts of where it came from."""

    code = "ERR_AOC_PROVENANCE"
    hint = "Every record needs a source with a licence, a container with URL and digest, and the time of the fetch."


class DerivedField(AocViolation):
    """A record that carries a field of ours, which no upstream writes."""

    code = "ERR_AOC_DERIVED_FIELD"
    hint = "Import the upstream's own files, not an output of this product."


class MergedRecord(AocViolation):
    """A record whose bytes are not one slice of one container."""

    code = "ERR_AOC_MERGE"
    hint = "Import each upstream document by itself; documents are linked, never merged."


def check(record: Record, source: Source, parsed: Any) -> None:
    """Refuse a record that breaks the contract.

    Args:
        parsed: the record's value, also where its body is its own bytes.

    Raises:
        AocViolation: by the rule that is broken.
    """
    container = record.container
    if not (source.name and source.licence and container.url and container.digest and record.path):
        raise MissingProvenance(f"{record.path or record.key} has no complete provenance")
    if record.offset < 0 or (record.offset + len(record.raw) > container.size and not _archived(record)):
        raise MergedRecord(f"{record.path} is no slice of {container.url}")
    if record.verbatim and record.body != record.raw:
        raise AocViolation(f"{record.path} would be stored changed")
    if isinstance(parsed, dict) and not _RESERVED.isdisjoint(parsed):
        raise DerivedField(f"{record.path} has a field {' or '.join(sorted(_RESERVED))}")


def check_slice(path: str, content: bytes, offset: int, raw: bytes) -> None:
    """Refuse a record whose bytes do not stand in its file where they are said to stand.

    Raises:
        MergedRecord: see there.
    """
    if content[offset : offset + len(raw)] != raw:
        raise MergedRecord(f"the record at byte {offset} of {path} is no slice of it")


def _archived(record: Record) -> bool:
    # Inside an archive the slice is one of the member, whose size may exceed the packed container's.
    return record.container.digest != record.raw_digest
