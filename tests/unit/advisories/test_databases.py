"""Telling the database of a source from its documents."""

from __future__ import annotations

import pytest

from stellaops.advisories.databases import DATABASES, GENERIC, KeyRule, get, tell


@pytest.mark.parametrize(
    ("identifier", "ecosystems", "name"),
    [
        ("GHSA-aaaa-bbbb-cccc", ["npm"], "ghsa"),
        ("PYSEC-2024-1", ["PyPI"], "pypa"),
        ("RUSTSEC-2024-0001", ["crates.io"], "rustsec"),
        ("GO-2024-0001", ["Go"], "govuln"),
        ("BIT-redis-2024-1", ["Bitnami"], "bitnami"),
        ("ALSA-2024:8127", ["AlmaLinux:8"], "almalinux"),
        ("ALBA-2024:8127", [], "almalinux"),
        ("JLSEC-2025-1", ["Julia"], "julia"),
        ("OSV-2023-38", ["OSS-Fuzz"], "ossfuzz"),
        ("CLEANSTART-2026-AA1", ["Alpine"], "cleanstart"),
        ("CVE-2023-44487", ["DHI"], "dhi"),
        ("GHSA-aaaa-bbbb-cccc", ["DHI"], "ghsa"),
        ("CVE-2023-1", ["kubernetes"], "k8s"),
        ("CVE-2023-1", ["DHI", "npm"], "osv"),
        ("CVE-2023-1", [], "osv"),
        ("HSEC-2024-0001", ["Hackage"], "haskell"),
        ("RSEC-2024-1", ["CRAN"], "rconsortium"),
        ("DSA-5000-1", ["Debian:12"], "debian"),
        ("NEW-1", ["npm"], "osv"),
    ],
)
def test_a_document_tells_its_database(identifier: str, ecosystems: list[str], name: str) -> None:
    assert tell([(identifier, ecosystems)]).name == name


def test_nine_tenths_of_the_documents_decide() -> None:
    ghsa, pysec = ("GHSA-a", ["npm"]), ("PYSEC-1", ["PyPI"])
    assert tell([ghsa] * 9 + [pysec]).name == "ghsa"
    assert tell([pysec] + [ghsa] * 9).name == "ghsa"
    assert tell([ghsa] * 8 + [pysec] * 2) is GENERIC
    assert tell([]) is GENERIC


def test_names_and_prefixes_are_told_apart() -> None:
    names = [database.name for database in DATABASES]
    assert len(set(names)) == len(names)
    prefixes = [prefix for database in DATABASES for prefix in database.id_prefixes]
    assert len(set(prefixes)) == len(prefixes)
    for database in DATABASES:
        assert get(database.name) is database
        for prefix in database.id_prefixes:
            assert tell([(f"{prefix}2024-1", [])]) is database
    assert get("nonsense") is None


def test_databases_that_repeat_ids_key_their_records_by_path_too() -> None:
    assert {database.name for database in DATABASES if database.key_rule is KeyRule.ID_AND_PATH} == {
        "cpansec",
        "csaf",
        "dhi",
        "ossfuzz",
    }


def test_no_database_is_trusted_for_an_operating_system_by_its_ecosystem_word_alone() -> None:
    cleanstart = get("cleanstart")
    assert cleanstart is not None
    assert cleanstart.os_families == ()
