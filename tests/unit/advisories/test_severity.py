"""Severities and CVSS vectors."""

from __future__ import annotations

import pytest

from stellaops.advisories.advisory import Advisory, Affected, SeverityEntry, Specific, assess
from stellaops.advisories.severity import Severity, of_tenths, of_word, score

V2 = "AV:N/AC:L/Au:N/C:P/I:P/A:P"
V3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
V3_LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
V4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


@pytest.mark.parametrize(
    ("vector", "version", "tenths", "severity"),
    [
        (V2, "V2", 75, Severity.HIGH),
        (f"({V2})", "V2", 75, Severity.HIGH),
        (f"CVSS:2.0/{V2}", "V2", 75, Severity.HIGH),
        (V3, "V3", 98, Severity.CRITICAL),
        (V3.replace("3.1", "3.0"), "V3", 98, Severity.CRITICAL),
        (f" {V3}/ ", "V3", 98, Severity.CRITICAL),
        (V3_LOW, "V3", 18, Severity.LOW),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "V3", 100, Severity.CRITICAL),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "V3", 0, Severity.UNKNOWN),
        # The environmental score counts: confidentiality is not wanted here.
        (f"{V3_LOW}/MC:N", "V3", 0, Severity.UNKNOWN),
        (V4, "V40", 93, Severity.CRITICAL),
    ],
)
def test_a_vector_has_its_score(vector: str, version: str, tenths: int, severity: Severity) -> None:
    found = score(vector)
    assert found is not None
    assert (found.version, found.tenths, found.severity) == (version, tenths, severity)


@pytest.mark.parametrize(
    "vector",
    ["", "high", "7.5", "CVSS:3.1", "CVSS:3.1/", "CVSS:3.1/AV:N", f"{V3}/AV:N", "CVSS:9.9/AV:N", "CVSS:3.1/AV:X/AC:L",
     "AV:N/AC:L", "CVSS:4.0/AV:N", V3.lower(), "\0", "CVSS:3.1/" + "A" * 10_000],
)  # fmt: skip
def test_what_is_no_vector_has_no_score(vector: str) -> None:
    assert score(vector) is None


@pytest.mark.parametrize(
    ("tenths", "severity"),
    [(0, "UNKNOWN"), (1, "LOW"), (39, "LOW"), (40, "MEDIUM"), (69, "MEDIUM"), (70, "HIGH"), (89, "HIGH"),
     (90, "CRITICAL"), (100, "CRITICAL")],
)  # fmt: skip
def test_scores_have_steps(tenths: int, severity: str) -> None:
    assert of_tenths(tenths).name == severity


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("Important", "HIGH"),
        (" moderate ", "MEDIUM"),
        ("NEGLIGIBLE", "LOW"),
        ("critical", "CRITICAL"),
        ("urgent", "UNKNOWN"),
    ],
)
def test_words_of_vendors_have_steps(word: str, severity: str) -> None:
    assert of_word(word).name == severity


def _entry(text: str | float | None) -> SeverityEntry:
    return SeverityEntry("CVSS_V3", text)


@pytest.mark.parametrize(
    ("advisory", "highest"),
    [
        (Advisory("X"), "UNKNOWN"),
        (Advisory("X", severity=[_entry(V3_LOW)]), "LOW"),
        (Advisory("X", severity=[_entry(V3_LOW), _entry(V4), _entry(V2)]), "CRITICAL"),
        (Advisory("X", severity=[_entry(7.5), _entry(None), _entry("nonsense")]), "UNKNOWN"),
        (Advisory("X", severity=[_entry("High")]), "HIGH"),
        (Advisory("X", severity="medium"), "MEDIUM"),
        (Advisory("X", affected=[Affected(severity=[_entry(V3)])]), "CRITICAL"),
        (Advisory("X", affected=[Affected(database_specific=Specific(severity="Low"))]), "LOW"),
        (Advisory("X", database_specific=Specific(severity="MODERATE")), "MEDIUM"),
        (Advisory("X", database_specific=Specific(severity=["HIGH"])), "UNKNOWN"),
        (Advisory("X", database_specific="text"), "UNKNOWN"),
        (Advisory("X", database_specific=Specific(severity="low"), severity=[_entry(V3)]), "CRITICAL"),
        (Advisory("X", summary="Important: curl security update"), "HIGH"),
        (Advisory("X", summary="Important things"), "UNKNOWN"),
    ],
)
def test_the_highest_severity_counts_wherever_it_stands(advisory: Advisory, highest: str) -> None:
    assert assess(advisory).highest.name == highest


def test_of_each_version_the_highest_vector_is_kept_whatever_the_order() -> None:
    entries = [_entry(V3_LOW), _entry(V3), _entry(V2), _entry(V4)]
    forward = assess(Advisory("X", severity=entries)).scores
    backward = assess(Advisory("X", severity=entries[::-1])).scores
    assert forward == backward
    assert [(found.version, found.vector) for found in forward] == [("V2", V2), ("V3", V3), ("V40", V4)]
