"""What scripts read of the values of the use cases: names in camel case, instants as text, nothing but JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import msgspec

from stellaops.core import timestamps
from stellaops.core.timestamps import EPOCH
from stellaops.exports.profile import Profile
from stellaops.findings.ports import StoredSbom
from stellaops.ingest import manage_sources
from stellaops.ingest.explain_consensus import Explanation
from stellaops.ingest.mirror_databases import Untaken
from stellaops.ingest.model import Checks, ImportReport, Quarantined, SourceStatus, StoredRecord
from stellaops.ingest.pull_model import Definition, PullReport, PullState
from stellaops.vex.consensus import Consensus, Held, Subject, name, reason, revision
from stellaops.vex.statement import Words

Wire = dict[str, Any]

_COUNTS = (
    "read", "added", "changed", "unchanged", "withdrawn", "vanished", "quarantined", "equal_keys", "ignored",
)  # fmt: skip


def import_report(report: ImportReport) -> Wire:
    """What an import did."""
    wire: Wire = {
        "source": report.source,
        "feed": report.feed,
        "database": report.database,
        **{camel(each): getattr(report, each) for each in _COUNTS},
        "sequence": report.sequence,
        "resumed": report.resumed,
    }
    return wire | _special(report)


def _special(report: ImportReport) -> Wire:
    """What only some imports have to tell."""
    wire: Wire = {}
    if report.statements is not None:
        wire["statements"] = report.statements
    if report.outdated:
        wire["outdated"] = report.outdated
    if report.checks is not None:
        wire["checks"] = _checks(report.checks)
    return wire


def _checks(checks: Checks) -> Wire:
    return {camel(each): value for each, value in asdict(checks).items()}


def source_status(line: SourceStatus) -> Wire:
    """One line of `status`."""
    return {
        "source": line.source,
        "feed": line.feed,
        "database": line.database,
        "documents": line.documents,
        "statements": line.statements,
        "withdrawn": line.withdrawn,
        "vanished": line.vanished,
        "quarantined": line.quarantined,
        "licence": line.licence,
        "updatedAt": instant(line.updated_at),
        "checkedAt": instant(line.checked_at),
        "complete": line.complete,
    }


def quarantined(entry: Quarantined) -> Wire:
    """A record that could not be read."""
    return {
        "entry": entry.id,
        "source": entry.source,
        "path": entry.path,
        "reason": entry.reason,
        "detail": entry.detail,
        "rawDigest": entry.raw_digest,
        "size": entry.size,
        "seenAt": timestamps.render(entry.seen_at),
    }


def advisory_record(record: StoredRecord) -> Wire:
    """A document with its provenance."""
    wire = vex_record(record)
    provenance = wire["provenance"]
    order = ("containerUrl", "containerDigest", "path", "offset", "length", "fetchedAt", "licence")
    more = {"offset": record.offset, "length": record.length}
    checked = {"checked": msgspec.json.decode(record.checked)} if record.checked else {}
    return {
        "source": wire["source"],
        "key": wire["key"],
        "digest": wire["digest"],
        "rawDigest": record.raw_digest,
        "verbatim": record.verbatim,
        "sequence": wire["sequence"],
        "provenance": {each: (provenance | more)[each] for each in order} | checked,
        "index": wire["index"],
        "document": wire["document"],
    }


def vex_record(record: StoredRecord) -> Wire:
    """A document with as much of its provenance as is asked of VEX."""
    verbatim = record.body.decode("utf-8", "replace") if record.verbatim else None
    return {
        "source": record.source,
        "key": record.key,
        "digest": record.digest,
        "sequence": record.sequence_from,
        "provenance": {
            "containerUrl": record.container_url,
            "containerDigest": record.container_digest,
            "path": record.path,
            "fetchedAt": timestamps.render(record.fetched_at),
            "licence": record.licence,
        },
        "index": msgspec.json.decode(record.index_row),
        "document": msgspec.json.decode(record.body) if verbatim is None else verbatim,
    }


def pull_report(report: PullReport) -> Wire:
    """What a pull did."""
    done = report.report
    failing = report.error_code or None
    return {
        "source": report.source,
        "feed": report.feed or None,
        "database": report.database or None,
        **{camel(each): getattr(done, each) if done else 0 for each in _COUNTS},
        "sequence": report.sequence,
        "resumed": done.resumed if done else False,
        "state": report.state,
        "full": report.full,
        "fetched": report.fetched,
        "notModified": report.not_modified,
        "missing": report.missing,
        "bytes": report.bytes,
        "attempts": report.attempts,
        "nextAttemptAt": instant(report.next_attempt_at),
        "error": {"code": report.error_code, "message": report.error_text} if failing else None,
        "failed": [{"url": each.url, "code": each.code, "message": each.reason} for each in report.failed],
        "notes": list(report.notes),
        **(_special(done) if done else {}),
    }


def definition_line(
    definition: Definition, state: PullState, now: datetime, left: Sequence[Untaken] = ()
) -> Wire:
    """A source's definition in short, with the state of its pulls.

    Args:
        left: what mirrors offer and no source takes.
    """
    own = [each for each in left if definition.name in each.sources]
    return {
        "source": definition.name,
        "enabled": definition.enabled,
        "builtIn": definition.built_in,
        "layout": definition.layout,
        "url": definition.url,
        "feed": definition.feed or None,
        "database": definition.database or None,
        "every": definition.every or None,
        "licence": definition.licence,
        "attribution": definition.attribution or None,
        "tried": definition.tried,
        "state": _state(state, now),
        "lastAttemptAt": instant(state.started_at),
        "lastSuccessAt": instant(state.succeeded_at),
        "nextPullAt": instant(manage_sources.due_at(definition, state, now)),
        "failures": state.failures,
        "error": {"code": state.error_code, "message": state.error} if state.error_code else None,
        "untaken": [database for each in own for database in each.databases],
        "untakenAdvice": next((f"{each.told}. {each.advice}" for each in own), None),
    }


def definition_whole(
    definition: Definition, state: PullState, now: datetime, left: Sequence[Untaken] = ()
) -> Wire:
    """A source's whole definition, with the state of its pulls; see `definition_line`."""
    wire: Wire = msgspec.to_builtins(definition)
    names = ("options", "hosts", "prune", "full_every", "authentication", "openpgp_keys", "note")
    rest = {camel(each): wire[each] for each in names}
    pulled = {"cursor": state.cursor or None, "lastFullAt": instant(state.full_at)}
    return definition_line(definition, state, now, left) | rest | pulled


def _state(state: PullState, now: datetime) -> str:
    if state.error_code:
        return "resting" if state.next_attempt_at and state.next_attempt_at > now else "failed"
    return "ok" if state.succeeded_at else "never pulled"


def sbom(stored: StoredSbom) -> Wire:
    """A bill of materials."""
    platform = stored.platform
    return {
        "subject": stored.subject,
        "form": stored.form,
        "components": stored.components,
        "platform": f"{platform.family} {platform.release}".strip() if platform else None,
        "path": stored.path,
        "key": stored.key,
        "digest": stored.digest,
        "importedAt": timestamps.render(stored.fetched_at),
    }


def profile_revision(profile: Profile) -> Wire:
    """One revision of a profile with who made it, when and why."""
    return {
        "revision": profile.revision,
        "createdAt": instant(profile.created_at),
        "createdBy": profile.created_by or None,
        "reason": profile.reason or None,
        "profile": profile.to_wire(),
    }


def explanation(found: Explanation, words: Mapping[tuple[int, int], Words]) -> Wire:
    """What stands about a vulnerability, with every statement behind it."""
    return {
        "vulnerability": found.vulnerability,
        "names": list(found.names),
        "consensusRevision": revision(found.states),
        "products": [_product(subject, state, words) for subject, state in found.states],
    }


def held_by(state: Consensus) -> list[Held]:
    """Every statement behind a consensus."""
    return [*(voice.held for voice in state.voices), *state.superseded]


def _product(subject: Subject, state: Consensus, words: Mapping[tuple[int, int], Words]) -> Wire:
    decided = state.decided
    told = words.get((decided.revision, decided.words or 0), Words())
    return {
        "product": subject.product,
        "platform": subject.platform or None,
        "subcomponent": subject.subcomponent or None,
        "status": decided.status,
        "justification": decided.justification or None,
        "impactStatement": told.impact or None,
        "actionStatement": told.action or None,
        "notes": told.notes or None,
        "conflict": state.conflict,
        "reason": reason(state),
        "consensusRevision": state.revision,
        "statements": [_statement(held, weight, outcome) for held, weight, outcome in _outcomes(state)],
    }


def _outcomes(state: Consensus) -> list[tuple[Held, int | None, str]]:
    """Every statement with its weight and what came of it."""
    told: list[tuple[Held, int | None, str]] = []
    for place, voice in enumerate(state.voices):
        agrees = voice.held.status == state.decided.status
        outcome = ("agrees" if agrees else "outweighed") if place else "decides"
        told.append((voice.held, voice.weight, outcome))
    return told + [(held, None, "superseded") for held in state.superseded]


def _statement(held: Held, weight: int | None, outcome: str) -> Wire:
    stated = None if held.stated_at is None else EPOCH + timedelta(microseconds=held.stated_at)
    return {
        "outcome": outcome,
        "status": held.status,
        "justification": held.justification or None,
        "issuer": name(held),
        "role": held.role,
        "weight": weight,
        "statedAt": instant(stated),
        "vulnerability": held.vulnerability,
        "product": held.product,
        "source": held.source,
        "key": held.key,
        "position": held.position,
    }


def instant(moment: datetime | None) -> str | None:
    """An instant as text."""
    return timestamps.render(moment) if moment else None


def camel(name: str) -> str:
    """A field's name as scripts know it."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))
