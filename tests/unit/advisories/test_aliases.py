"""Alias links: who says that two ids are one vulnerability, and how far that is believed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.aliases import Link, Relation, Statement, identify, links

GENERIC = databases.GENERIC


def statements(
    *documents: Advisory, database: str = "osv"
) -> Callable[[Collection[str]], Iterable[Statement]]:
    known = databases.get(database) or GENERIC
    made = [Statement(link, "demo", one.id) for one in documents for link in links(one, known)]
    return lambda names: [one for one in made if one.link.subject in names or one.link.object in names]


def test_a_document_with_one_cve_is_about_that_cve() -> None:
    found = links(Advisory("GHSA-1", aliases=["CVE-2024-1001", "PYSEC-1"]), GENERIC)
    assert found == [
        Link("CVE-2024-1001", "GHSA-1", Relation.SAME, 1),
        Link("CVE-2024-1001", "PYSEC-1", Relation.SAME, 1),
    ]


def test_a_document_with_several_cves_covers_them_and_makes_them_no_aliases_of_each_other() -> None:
    bulletin = Advisory("RUSTSEC-1", aliases=["CVE-2020-35866", "CVE-2020-35867", "GHSA-1"])
    stated = statements(bulletin)
    assert identify("CVE-2020-35866", stated).names == ("CVE-2020-35866",)
    whole = identify("RUSTSEC-1", stated)
    assert whole.names == ("GHSA-1", "RUSTSEC-1")
    assert whole.covers == ("CVE-2020-35866", "CVE-2020-35867")


def test_a_bulletin_with_as_many_other_ids_covers_these_too() -> None:
    several = ["CVE-2020-35866", "CVE-2020-35867", "GHSA-1", "GHSA-2", "OSV-1"]
    whole = identify("RUSTSEC-1", statements(Advisory("RUSTSEC-1", aliases=several)))
    assert whole.names == ("OSV-1", "RUSTSEC-1")
    assert whole.covers == ("CVE-2020-35866", "CVE-2020-35867", "GHSA-1", "GHSA-2")
    assert identify("OSV-2", statements(Advisory("OSV-2", aliases=["GHSA-1", "GHSA-2"]))).names == ("OSV-2",)


def test_a_document_whose_own_id_is_one_of_several_cves_is_not_the_others() -> None:
    stated = statements(Advisory("CVE-2024-1001", aliases=["CVE-2024-1002", "GHSA-1"]))
    assert identify("CVE-2024-1001", stated).covers == ("CVE-2024-1002",)
    assert identify("CVE-2024-1002", stated).names == ("CVE-2024-1002",)


def test_errata_cover_what_stands_under_related_and_are_none_of_it() -> None:
    stated = statements(
        Advisory("ALSA-2024:1", related=["CVE-2024-1001", "ALSA-2023:9"]), database="almalinux"
    )
    found = identify("ALSA-2024:1", stated)
    assert (found.names, found.covers) == (("ALSA-2024:1",), ("CVE-2024-1001",))
    assert {step.reason for step in found.steps} == {
        "rule 4: an erratum covers its vulnerabilities",
        "rule 4: related is not the same",
    }


def test_no_chain_of_documents_makes_two_cves_one() -> None:
    stated = statements(
        Advisory("GHSA-1", aliases=["CVE-2024-1001", "PYSEC-1"]),
        Advisory("PYSEC-1", aliases=["CVE-2024-1002"]),
    )
    one = identify("CVE-2024-1001", stated)
    assert one.names == ("CVE-2024-1001", "GHSA-1", "PYSEC-1")
    assert [step.reason for step in one.steps if not step.followed] == [
        "rule 5: CVE-2024-1002 is another CVE"
    ]
    both = identify("PYSEC-1", stated)
    assert both.names == ("PYSEC-1",)
    assert {step.reason for step in both.steps} == {"rule 5: several CVEs have this name"}


def test_documents_without_a_cve_are_joined_by_their_names() -> None:
    stated = statements(Advisory("RUSTSEC-1", aliases=["GHSA-1"]), Advisory("GHSA-1", aliases=["OSV-1"]))
    assert identify("OSV-1", stated).names == ("GHSA-1", "OSV-1", "RUSTSEC-1")


def test_a_cve_that_is_reached_on_the_way_is_taken() -> None:
    stated = statements(
        Advisory("RUSTSEC-1", aliases=["GHSA-1"]), Advisory("GHSA-1", aliases=["CVE-2024-1001"])
    )
    assert identify("RUSTSEC-1", stated).names == ("CVE-2024-1001", "GHSA-1", "RUSTSEC-1")


def test_blanks_around_names_and_a_name_of_itself_say_nothing() -> None:
    assert links(Advisory("GHSA-1", aliases=[" CVE-2024-1001 ", "GHSA-1", "CVE-2024-1001"]), GENERIC) == [
        Link("CVE-2024-1001", "GHSA-1", Relation.SAME, 1)
    ]


def test_a_document_of_several_parts_covers_them() -> None:
    parts = [Advisory("CVE-2024-1001", aliases=["GHSA-1"]), Advisory("CVE-2024-1002")]
    stated = statements(Advisory("icsa-24-001-01", parts=parts))
    assert identify("icsa-24-001-01", stated).covers == ("CVE-2024-1001", "CVE-2024-1002")
    assert identify("GHSA-1", stated).names == ("CVE-2024-1001", "GHSA-1")
