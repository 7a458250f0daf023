"""How long bundles are kept, as the installation's settings say it."""

from __future__ import annotations

from datetime import timedelta

from stellaops.adapters.settings.load import InvalidSettings, Settings
from stellaops.exports.profile import MOST_RETAINED
from stellaops.exports.retention.rules import USUAL, Mode, Rule


def retention_rules(settings: Settings) -> dict[str, Rule]:
    """The rule of each kind of bundle.

    Raises:
        InvalidSettings: a mode that there is not, or no number that a rule could have.
    """
    return {kind: _rule(settings, kind) for kind in USUAL}


def _rule(settings: Settings, kind: str) -> Rule:
    name = f"retention.{kind}.mode"
    mode = (settings.get(name) or "").strip().lower()
    if mode not in list(Mode):
        raise InvalidSettings(f"{name}: {' or '.join(Mode)} is needed, not {mode!r}")
    value = settings.number(f"retention.{kind}.value")
    if value > MOST_RETAINED:
        raise InvalidSettings(f"retention.{kind}.value: at most {MOST_RETAINED} can be kept, not {value}")
    return Rule(Mode(mode), value)


def retention_grace(settings: Settings) -> timedelta:
    """How long evidence that no run needs stays.

    Raises:
        InvalidSettings: it is no duration.
    """
    return settings.duration("retention.evidenceGrace", "24h")
