"""Domains of mirrors and the record of publications, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.sql.mirrors import SqlDomains, SqlPublications
from stellaops.core.digests import sha256
from stellaops.mirrors.domain import Domain, read
from stellaops.mirrors.errors import DomainNotFound, DomainTaken, PublicationConflict
from stellaops.mirrors.manage_domains import apply_domains, create_domain, delete_domain, find_domain
from stellaops.mirrors.ports import Publication
from tests.contract.stores import NOON, Place


@pytest.fixture
def engine(place: Place) -> Engine:
    return place.engine(SERVICE)


@pytest.fixture
def domains(engine: Engine) -> SqlDomains:
    return SqlDomains(engine, lambda: NOON)


def domain(name: str, tenant: str = "default", **more: object) -> Domain:
    return Domain(tenant, read({"id": name, **more}))


def test_a_domain_is_kept_as_it_was_written_and_ids_are_of_one_tenant(domains: SqlDomains) -> None:
    made = domain(
        "primary", displayName="Größe", vex={"exports": [{"key": "a", "format": "json", "limit": 3}]}
    )
    assert domains.put(made)
    assert not domains.put(made)
    assert domains.put(domain("primary", displayName="other"))
    assert domains.put(made)
    assert domains.get("primary") == made
    assert domains.put(domain("another"))
    assert [each.id for each in domains.every()] == ["another", "primary"]
    with pytest.raises(DomainTaken):
        domains.put(domain("primary", "stranger"))
    assert domains.get("primary") == made
    assert domains.get("none") is None


def test_a_tenant_sees_and_removes_its_own_domains_only(domains: SqlDomains) -> None:
    create_domain("default", read({"id": "primary"}), domains)
    with pytest.raises(DomainTaken):
        create_domain("default", read({"id": "primary"}), domains)
    with pytest.raises(DomainNotFound):
        find_domain("stranger", "primary", domains)
    with pytest.raises(DomainNotFound):
        delete_domain("stranger", "primary", domains)
    assert delete_domain("default", "primary", domains).id == "primary"
    assert domains.every() == []


def test_a_file_with_a_foreign_id_changes_nothing(domains: SqlDomains) -> None:
    create_domain("stranger", read({"id": "theirs"}), domains)
    documents = [read({"id": "mine"}), read({"id": "theirs"})]
    with pytest.raises(DomainTaken):
        apply_domains("default", documents, domains)
    assert [each.id for each in domains.every()] == ["theirs"]
    assert [changed for _, changed in apply_domains("default", documents[:1], domains)] == [True]
    assert [changed for _, changed in apply_domains("default", documents[:1], domains)] == [False]


def publication(number: int, export_id: str = "a" * 26, hours: int = 0) -> Publication:
    states = sha256(b"%d" % number)
    return Publication("concelier", number, export_id, number * 10, states, NOON + timedelta(hours=hours))


def test_the_newest_publication_of_each_place_and_side_is_in_force(engine: Engine) -> None:
    store = SqlPublications(engine)
    assert store.current("here", "concelier") is None
    first, second = publication(1), publication(2, "b" * 26)
    store.add("here", first)
    store.add("there", first)
    store.add("here", second)
    assert store.current("here", "concelier") == second
    assert store.current("there", "concelier") == first
    assert store.current("here", "excititor") is None
    later = replace(second, sequence=99, states=sha256(b"later"))
    store.confirm("here", later)
    assert store.current("here", "concelier") == later


def test_a_publication_that_is_not_the_next_is_refused(engine: Engine) -> None:
    store = SqlPublications(engine)
    store.add("here", publication(1))
    for number in (1, 3):
        with pytest.raises(PublicationConflict):
            store.add("here", publication(number))
    assert store.current("here", "concelier") == publication(1)


def test_of_publications_at_once_one_is_the_next(engine: Engine) -> None:
    store = SqlPublications(engine)

    def attempt(_: int) -> bool:
        try:
            store.add("here", publication(1))
        except PublicationConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_an_id_is_superseded_when_another_came_after_its_last_time(engine: Engine) -> None:
    store = SqlPublications(engine)
    one, two, three = "a" * 26, "b" * 26, "c" * 26
    for number, export_id in enumerate((one, two, one, three), 1):
        store.add("here", publication(number, export_id, hours=number))

    def gone(hours: int) -> list[str]:
        return list(store.superseded("here", "concelier", NOON + timedelta(hours=hours)))

    assert gone(3) == []
    assert gone(4) == [two]
    assert sorted(gone(5)) == [one, two]
    store.forget("here", "concelier", one)
    assert gone(99) == [two]
    assert store.current("here", "concelier") == publication(4, three, hours=4)


def test_a_domain_that_was_published_once_is_known_for_ever_by_its_side(engine: Engine) -> None:
    records = SqlPublications(engine)
    assert records.offered("concelier") == set()
    records.offer("concelier", ["primary", "community"])
    records.offer("concelier", ["community", "partners"])
    records.offer("excititor", ["primary"])
    assert records.offered("concelier") == {"primary", "community", "partners"}
    assert records.offered("excititor") == {"primary"}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: records.offer("concelier", [name, "late"]), ["late"] * 8))
    assert "late" in records.offered("concelier")
