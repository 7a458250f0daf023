"""Severities and CVSS vectors as documents state them, brought to Trivy's five steps."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

from cvss import CVSS2, CVSS3, CVSS4, CVSSError


class Severity(IntEnum):
    """Trivy's severities; the number is what Trivy stores."""

    UNKNOWN = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


_WORDS = {
    "negligible": Severity.LOW,
    "unimportant": Severity.LOW,
    "low": Severity.LOW,
    "minor": Severity.LOW,
    "moderate": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "important": Severity.HIGH,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class Score:
    """A CVSS vector that parses, with its score.

    Attributes:
        version: `V2`, `V3` or `V40`, as in Trivy's field names.
        vector: the vector in its canonical text.
        tenths: the score times ten, so that no float enters canonical forms.
    """

    version: str
    vector: str
    tenths: int

    @property
    def severity(self) -> Severity:
        """The severity step of the score, by Trivy's bounds for every CVSS version."""
        return of_tenths(self.tenths)


def of_word(word: str) -> Severity:
    """The step that a vendor's word means; UNKNOWN for words that no vendor uses so."""
    return _WORDS.get(word.strip().lower(), Severity.UNKNOWN)


def of_tenths(tenths: int) -> Severity:
    """The step of a score (times ten): 9.0 critical, 7.0 high, 4.0 medium, above zero low."""
    if tenths >= 90:
        return Severity.CRITICAL
    if tenths >= 70:
        return Severity.HIGH
    if tenths >= 40:
        return Severity.MEDIUM
    return Severity.LOW if tenths > 0 else Severity.UNKNOWN


@lru_cache(maxsize=20_000)
def score(vector: str) -> Score | None:
    """Parse a CVSS 2, 3.0, 3.1 or 4.0 vector; None where it is none.

    For version 3 the environmental score counts, as in Trivy; without environmental metrics it is the temporal, and
    without those the base score.
    """
    text = vector.strip().rstrip("/")
    try:
        if text.startswith("CVSS:4.0/"):
            return Score("V40", text, _tenths(CVSS4(text).base_score))
        if text.startswith(("CVSS:3.0/", "CVSS:3.1/")):
            return Score("V3", text, _tenths(CVSS3(text).scores()[2]))
        bare = text.removeprefix("CVSS:2.0/").strip("()")
        if bare.startswith("AV:"):
            return Score("V2", bare, _tenths(CVSS2(bare).scores()[0]))
    except (CVSSError, ValueError, KeyError, ArithmeticError):
        return None
    return None


def _tenths(value: Decimal | float | None) -> int:
    return round(Decimal(str(value or 0)) * 10)
