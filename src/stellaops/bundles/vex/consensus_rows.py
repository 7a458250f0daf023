"""Rows of the consensus: a line of canonical JSON for each verdict, under a key of vulnerability and product."""

from __future__ import annotations

import re
from typing import Any

from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.vex.verdict import Verdict, moment
from stellaops.core import canonical_json, timestamps
from stellaops.vex.consensus import Held, Subject, Voice, reason

SOURCE = "vex-consensus"
"""Stands where rows of evidence have their source."""

# A tab comes before every character that a name in a key can have, so that keys sort as their parts do.
_SEPARATOR = "\t"
_CONTROL = re.compile(r"[\x00-\x1f]")


def key(subject: Subject) -> str:
    """The key of a row; keys sort as the five names do."""
    parts = (subject.vulnerability, subject.package, subject.product, subject.platform, subject.subcomponent)
    return _SEPARATOR.join(_CONTROL.sub(" ", part) for part in parts)


def line(verdict: Verdict) -> Line:
    """The row of a verdict."""
    subject, consensus = verdict.subject, verdict.consensus
    name = key(subject)
    wire = {
        "aliases": list(verdict.aliases),
        "conflict": consensus.conflict,
        "digest": consensus.revision,
        "justification": consensus.decided.justification,
        "key": name,
        "package": subject.package,
        "platform": subject.platform,
        "product": subject.product,
        "reason": reason(consensus),
        "source": SOURCE,
        "status": consensus.decided.status,
        "subcomponent": subject.subcomponent,
        "superseded": [_held(held) for held in consensus.superseded],
        "voices": [_voice(voice) for voice in consensus.voices],
        "vulnerability": subject.vulnerability,
        "words": {
            "action": verdict.words.action,
            "impact": verdict.words.impact,
            "notes": verdict.words.notes,
        },
    }
    return Line("", SOURCE, name, canonical_json.encode(wire))


def _voice(voice: Voice) -> dict[str, Any]:
    return _held(voice.held) | {"weight": voice.weight}


def _held(held: Held) -> dict[str, Any]:
    return {
        "issuer": held.issuer,
        "justification": held.justification,
        "key": held.key,
        "product": held.product,
        "role": held.role,
        "source": held.source,
        "statedAt": None if held.stated_at is None else timestamps.render(moment(held.stated_at)),
        "status": held.status,
        "vulnerability": held.vulnerability,
    }
