"""What a check found: findings by requirement, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from stellaops.core import timestamps
from stellaops.mirrors.checks.requirements import BY_NAME, REQUIREMENTS, Level, Requirement

Status = Literal["ok", "failed", "not judged"]
_MOST = 20
"""Findings that are kept of one requirement."""


class Notes:
    """Gathers what is found. A requirement nobody looked at is not judged, and never met by silence."""

    def __init__(self) -> None:
        self._tried: dict[str, int] = {}
        self._wrong: dict[str, list[str]] = {}
        self._skipped: dict[str, str] = {}

    def demand(self, name: str, holds: object, text: str) -> bool:
        """Note whether something holds that a requirement asks for.

        Args:
            text: the finding where it does not.
        """
        self._tried[BY_NAME[name].name] = self._tried.get(name, 0) + 1
        if not holds:
            self._wrong.setdefault(name, []).append(text)
        return bool(holds)

    def skip(self, reason: str, *names: str) -> None:
        """Note why requirements cannot be judged; what was found of them elsewhere stays."""
        for name in names:
            self._skipped.setdefault(BY_NAME[name].name, reason)

    def judged(self) -> tuple[Judged, ...]:
        """Every requirement with what came of it."""
        return tuple(self._judged(each) for each in REQUIREMENTS)

    def _judged(self, requirement: Requirement) -> Judged:
        name = requirement.name
        if wrong := self._wrong.get(name):
            more = [f"and {len(wrong) - _MOST} more"] if len(wrong) > _MOST else []
            return Judged(requirement, "failed", (*wrong[:_MOST], *more))
        if self._tried.get(name):
            return Judged(requirement, "ok", ())
        reason = self._skipped.get(name, "nothing was there to judge it by")
        return Judged(requirement, "not judged", (reason,))


@dataclass(frozen=True, slots=True)
class Judged:
    """A requirement with what came of it.

    Attributes:
        findings: what is wrong; why it is not judged.
    """

    requirement: Requirement
    status: Status
    findings: Sequence[str]

    def wire(self) -> dict[str, Any]:
        """For programs."""
        each = self.requirement
        return {
            "number": each.number,
            "name": each.name,
            "level": each.level.value,
            "group": each.group,
            "status": self.status,
            "text": each.text,
            "findings": list(self.findings),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check.

    Attributes:
        domains: that were looked at.
        requests: how many were sent.
    """

    url: str
    checked_at: datetime
    domains: Sequence[str]
    judged: Sequence[Judged]
    requests: int

    def passed(self, *, strict: bool = False) -> bool:
        """Whether no MUST was missed; with `strict` no SHOULD either."""
        levels = (Level.MUST, Level.SHOULD) if strict else (Level.MUST,)
        return not any(each.status == "failed" and each.requirement.level in levels for each in self.judged)

    def counts(self) -> Mapping[str, int]:
        """How many requirements came to what; `warnings` are SHOULDs that are missed."""
        missed = [each.requirement.level for each in self.judged if each.status == "failed"]
        return {
            "ok": sum(each.status == "ok" for each in self.judged),
            "failed": missed.count(Level.MUST),
            "warnings": missed.count(Level.SHOULD),
            "notJudged": sum(each.status == "not judged" for each in self.judged),
        }

    def wire(self, *, strict: bool = False) -> dict[str, Any]:
        """For programs."""
        return {
            "url": self.url,
            "checkedAt": timestamps.render(self.checked_at),
            "verdict": "passed" if self.passed(strict=strict) else "failed",
            "domains": list(self.domains),
            "requests": self.requests,
            "counts": dict(self.counts()),
            "requirements": [each.wire() for each in self.judged],
        }
