"""What mirrors offer and no source takes."""

from __future__ import annotations

from typing import Any

from stellaops.ingest.doctor import Verdict, check_mirrors
from stellaops.ingest.mirror_databases import untaken
from stellaops.ingest.pull_model import Definition

URL = "https://mirror.example.org"


def source(name: str, database: str, url: str = URL, layout: str = "mirror", **options: Any) -> Definition:
    return Definition(
        name=name, layout=layout, url=url, database=database, options={"domain": "primary", **options}
    )


def left(*definitions: Definition, **offered: list[str]) -> list[tuple[str, ...]]:
    told = {name.replace("_", "-"): names for name, names in offered.items()}
    return [each.databases for each in untaken(definitions, told)]


def test_a_database_that_comes_later_is_told_whichever_source_saw_it() -> None:
    ghsa, debian = source("up-ghsa", "ghsa"), source("up-debian", "debian", url=f"{URL}/")
    assert left(ghsa, debian, up_ghsa=["debian", "ghsa"]) == []
    assert left(ghsa, debian, up_ghsa=["debian", "ghsa"], up_debian=["debian", "ghsa", "wolfi"]) == [
        ("wolfi",)
    ]
    assert left(ghsa, up_ghsa=[]) == []


def test_each_domain_of_each_mirror_counts_by_itself() -> None:
    here = source("here", "ghsa")
    elsewhere = source("elsewhere", "debian", url="https://other.example.org")
    other = source("other", "debian", domain="community")
    vex = source("vex", "", side="excititor")
    bucket = source("bucket", "debian", layout="osv-bucket")
    offered = {"here": ["debian", "ghsa"], "elsewhere": ["debian"], "other": ["debian"]}
    assert left(here, elsewhere, other, vex, bucket, **offered) == [("debian",)]


def test_what_is_not_wanted_is_told_no_more_and_a_source_of_all_leaves_nothing() -> None:
    offered = ["debian", "ghsa", "wolfi"]
    assert left(source("up", "ghsa", unwanted=["debian", "wolfi"]), up=offered) == []
    assert left(source("up", "ghsa", unwanted="debian"), up=offered) == [("wolfi",)]
    assert left(source("up", ""), up=["ghsa"]) == []


def test_the_examination_says_what_to_do() -> None:
    assert check_mirrors([]).verdict is Verdict.OK
    found = check_mirrors(untaken([source("up-ghsa", "ghsa")], {"up-ghsa": ["ghsa", "wolfi"]}))
    assert found.verdict is Verdict.WARNING
    assert found.detail == f"domain primary of {URL} has documents of wolfi, which no source takes"
    assert "stella concelier sources add up-wolfi … --database wolfi" in found.hint
    assert "--option unwanted=wolfi" in found.hint
