"""VEX in the store: statements, the consensus that is kept of them, and what it was at any earlier moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select

from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.adapters.sql.vex_schema import consensus, vex_document, vex_statement, vex_words
from stellaops.ingest.explain_consensus import Explanation, explain_consensus
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import SourceMismatch
from stellaops.vex.weights import Weights
from tests.contract.stores import Place, Store, osv

LIBSSL = "pkg:deb/debian/libssl-dev"
CVE = "CVE-2025-9232"


def vex(*statements: tuple[str, str, str, str], author: str = "Acme", **more: Any) -> dict[str, Any]:
    """A document of statements by vulnerability, product, status and instant."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://openvex.dev/docs/example/vex-1",
        "author": author,
        "timestamp": "2025-01-01T00:00:00Z",
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": name},
                "products": [{"@id": product}],
                "status": status,
                "timestamp": at,
            }
            for name, product, status, at in statements
        ],
        **more,
    }


class Excititor:
    """A store with its consensus."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.consensus = SqlConsensus(store.engine)

    def take(self, files: Mapping[str, object], source: str = "demo", **more: Any) -> None:
        self.store.take(files, source, side=Side.VEX, **more)
        self.refresh()

    def refresh(self) -> tuple[int, int]:
        done = self.consensus.refresh(Weights())
        assert done.sequence == self.store.sequence
        return done.examined, done.changed

    def explain(self, name: str = CVE, **more: Any) -> Explanation:
        return explain_consensus(name, self.consensus, tenant="default", weights=Weights(), **more)

    def verdicts(self, name: str = CVE, **more: Any) -> dict[str, str]:
        return {subject.product: state.decided.status for subject, state in self.explain(name, **more).states}

    def kept(self, sequence: int | None = None) -> set[tuple[Any, ...]]:
        """The states that are kept, as of a sequence."""
        table = consensus.c
        at = (
            table.seq_to == OPEN
            if sequence is None
            else (table.seq_from <= sequence) & (table.seq_to > sequence)
        )
        columns = (
            table.vulnerability, table.package, table.product, table.subcomponent, table.status, table.digest,
            table.conflict,
        )  # fmt: skip
        with self.store.engine.connect() as connection:
            return {
                (*row[:5], bytes(row.digest), bool(row.conflict))
                for row in connection.execute(select(*columns).where(at))
            }

    def worked_out(self, sequence: int | None = None) -> set[tuple[Any, ...]]:
        """The same, from the statements alone."""
        return {
            (
                subject.vulnerability, subject.package, subject.product, subject.subcomponent,
                state.decided.status, state.digest, state.conflict,
            )
            for subject, state in self.consensus.states(Weights(), "default", sequence)
        }  # fmt: skip


@pytest.fixture
def excititor(store: Store) -> Excititor:
    return Excititor(store)


def test_a_contradiction_inside_a_document_resolves_by_time(excititor: Excititor) -> None:
    told = vex(
        (CVE, LIBSSL, "under_investigation", "2025-10-01T08:25:32.08Z"),
        (CVE, LIBSSL, "not_affected", "2025-09-30T23:01:21.903Z"),
    )
    excititor.take({"vex/node.vex.json": told})
    assert excititor.verdicts() == {LIBSSL: "under_investigation"}
    assert excititor.kept() == excititor.worked_out()


def test_documents_are_kept_by_path_though_they_share_an_id(excititor: Excititor) -> None:
    excititor.take({"a.vex.json": vex((CVE, "pkg:oci/a", "fixed", "")), "b.vex.json": vex()})
    assert excititor.store.keys() == ["a.vex.json", "b.vex.json"]
    status = excititor.store.status()
    assert (status.documents, status.statements, status.database) == (2, 1, "vex")


def test_the_same_again_changes_nothing(excititor: Excititor) -> None:
    files = {"a.vex.json": vex((CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z"))}
    excititor.take(files)
    before = excititor.store.sequence, excititor.kept()
    report = excititor.store.take(files, side=Side.VEX)
    assert (report.unchanged, report.statements) == (1, 1)
    assert excititor.refresh() == (0, 0)
    assert (excititor.store.sequence, excititor.kept()) == before


def test_only_what_a_changed_document_is_about_is_worked_out_again(excititor: Excititor) -> None:
    files: dict[str, object] = {
        f"{n}.json": vex((CVE, f"pkg:oci/p{n}", "fixed", "2025-02-01T00:00:00Z")) for n in range(20)
    }
    excititor.take(files)
    excititor.store.take(
        {"7.json": vex((CVE, "pkg:oci/p7", "affected", "2025-03-01T00:00:00Z"))}, side=Side.VEX
    )
    assert excititor.refresh() == (1, 1)
    assert excititor.verdicts(product="pkg:oci/p7") == {"pkg:oci/p7": "affected"}
    assert excititor.kept() == excititor.worked_out()


def test_a_statement_that_only_moved_within_its_document_is_not_looked_at(excititor: Excititor) -> None:
    first = (CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z")
    excititor.take({"a.json": vex(first)})
    excititor.store.take({"a.json": vex(("CVE-2024-1086", LIBSSL, "affected", ""), first)}, side=Side.VEX)
    assert excititor.refresh() == (1, 1)
    assert excititor.verdicts() == {LIBSSL: "fixed"}
    assert excititor.kept() == excititor.worked_out()


def test_what_vanishes_or_is_withdrawn_counts_no_more_and_the_past_stays(excititor: Excititor) -> None:
    first = {"a.json": vex((CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z")),
             "b.json": vex((CVE, LIBSSL, "affected", "2025-01-01T00:00:00Z"), author="Lab")}  # fmt: skip
    excititor.take(first)
    begun, was = excititor.store.sequence, excititor.kept()
    excititor.take({"a.json": first["a.json"]}, prune=True)
    assert excititor.verdicts() == {LIBSSL: "fixed"}
    excititor.take({"c.json": vex(("CVE-2024-1086", LIBSSL, "fixed", "2025-02-01T00:00:00Z"))}, prune=True)
    assert excititor.verdicts() == {}
    assert excititor.kept() == excititor.worked_out()
    assert excititor.kept(begun) == excititor.worked_out(begun) == was
    assert excititor.verdicts(sequence=begun) == {LIBSSL: "affected"}


def test_a_stub_that_takes_a_document_back_takes_its_statements_back(excititor: Excititor) -> None:
    document = {
        "document": {"csaf_version": "2.0", "publisher": {"name": "Red Hat", "category": "vendor"},
                     "tracking": {"id": "CVE-2023-0030", "current_release_date": "2023-01-01T00:00:00Z"}},
        "product_tree": {"full_product_names": [{"product_id": "k", "name": "kernel"}]},
        "vulnerabilities": [{"cve": "CVE-2023-0030", "product_status": {"known_affected": ["k"]}}],
    }  # fmt: skip
    excititor.take({"2023/cve-2023-0030.json": document})
    assert excititor.verdicts("CVE-2023-0030") == {"kernel": "affected"}
    stub = {"document": {"tracking": {"id": "CVE-2023-0030", "status": "deleted"}}}
    excititor.take({"2023/cve-2023-0030.json": stub})
    assert excititor.verdicts("CVE-2023-0030") == {}
    assert excititor.kept() == set()
    assert excititor.store.status().withdrawn == 1


def test_names_are_one_vulnerability_once_an_advisory_says_so_and_until_it_does_not(
    excititor: Excititor,
) -> None:
    ghsa = "GHSA-jfh8-c2jp-5v3q"
    told = vex(
        (ghsa, "pkg:oci/x", "not_affected", "2025-02-01T00:00:00Z"),
        ("CVE-2021-44228", "pkg:oci/x", "affected", "2025-01-01T00:00:00Z"),
    )
    excititor.take({"a.json": told})
    assert excititor.verdicts(ghsa) == {"pkg:oci/x": "not_affected"}
    assert excititor.verdicts("CVE-2021-44228") == {"pkg:oci/x": "affected"}
    apart = excititor.store.sequence

    excititor.store.take({"g.json": osv(ghsa, aliases=["CVE-2021-44228"])}, "ghsa")
    assert excititor.refresh()[1] > 0
    for name in (ghsa, "CVE-2021-44228"):
        assert excititor.verdicts(name) == {"pkg:oci/x": "not_affected"}
    assert {row[0] for row in excititor.kept()} == {"CVE-2021-44228"}
    assert excititor.kept() == excititor.worked_out()

    excititor.store.take({"g.json": osv(ghsa, aliases=[])}, "ghsa")
    excititor.refresh()
    assert excititor.verdicts("CVE-2021-44228") == {"pkg:oci/x": "affected"}
    assert excititor.kept() == excititor.worked_out()
    assert excititor.kept(apart) == excititor.worked_out(apart)


def test_a_change_at_the_far_end_of_a_chain_of_names_is_noticed(excititor: Excititor) -> None:
    excititor.store.take(
        {"g.json": osv("GO-2024-1", aliases=["GHSA-aaaa-bbbb-cccc"]), "h.json": osv("GHSA-aaaa-bbbb-cccc", aliases=[])},
        "first",
    )  # fmt: skip
    excititor.take({"a.json": vex(("GO-2024-1", "pkg:oci/x", "fixed", "2025-02-01T00:00:00Z"))})
    excititor.store.take({"n.json": osv("GHSA-aaaa-bbbb-cccc", aliases=["CVE-2024-1086"])}, "second")
    excititor.refresh()
    assert excititor.verdicts("CVE-2024-1086") == {"pkg:oci/x": "fixed"}
    assert excititor.kept() == excititor.worked_out()


def test_a_product_with_a_version_is_also_decided_by_what_leaves_the_version_open(
    excititor: Excititor,
) -> None:
    told = vex(
        (CVE, "pkg:oci/x", "affected", "2025-01-01T00:00:00Z"),
        (CVE, "pkg:oci/x@2", "fixed", "2025-02-01T00:00:00Z"),
    )
    excititor.take({"a.json": told})
    assert excititor.verdicts(product="pkg:oci/x@2") == {"pkg:oci/x@2": "fixed"}
    assert excititor.verdicts(product="pkg:oci/x@3") == {"pkg:oci/x@3": "affected"}
    assert excititor.verdicts(product="pkg:oci/x") == {"pkg:oci/x": "affected", "pkg:oci/x@2": "fixed"}
    assert excititor.verdicts(product="pkg:oci/y") == {}


def test_an_instant_after_the_fetch_counts_as_none(excititor: Excititor) -> None:
    told = vex(
        (CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z"), (CVE, LIBSSL, "not_affected", "2027-01-01T00:00:00Z")
    )
    excititor.take({"a.json": told})
    assert excititor.verdicts() == {LIBSSL: "fixed"}


def test_other_weights_work_every_state_out_again(excititor: Excititor) -> None:
    files = {"a.json": vex((CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z"), author="Lab"),
             "b.json": vex((CVE, LIBSSL, "affected", "2025-02-01T00:00:00Z"), author="Vendor")}  # fmt: skip
    excititor.take(files)
    weights = Weights(issuers={"Lab": 900})
    assert excititor.consensus.refresh(weights).changed == 1
    assert {row[4] for row in excititor.kept()} == {"fixed"}
    assert excititor.consensus.refresh(weights).examined == 0


def test_an_interrupted_refresh_goes_on(excititor: Excititor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stellaops.adapters.sql.vex_consensus._PAGE", 3)
    files: dict[str, object] = {
        f"{n}.json": vex((CVE, f"pkg:oci/p{n}", "fixed", "2025-02-01T00:00:00Z")) for n in range(10)
    }
    excititor.store.take(files, side=Side.VEX)

    def stop(examined: int) -> None:
        if examined > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        excititor.consensus.refresh(Weights(), stop)
    assert excititor.refresh()[0] == 4
    assert len(excititor.kept()) == 10
    assert excititor.kept() == excititor.worked_out()


def test_rows_of_statements_are_rebuilt_as_they_were(place: Place) -> None:
    excititor = Excititor(place.evidence())
    told = vex((CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z"), last_updated="2025-03-01T00:00:00Z")
    told["statements"][0]["impact_statement"] = "not reachable"
    excititor.take({"a.json": told})
    tables = (vex_document, vex_statement, vex_words)

    def rows() -> list[Any]:
        with excititor.store.engine.connect() as connection:
            return [tuple(row) for table in tables for row in connection.execute(select(table))]

    before = rows()
    with excititor.store.engine.begin() as connection:
        for table in tables:
            table.drop(connection)
    store = place.evidence()
    SqlProjections(store.engine).complete()
    assert rows() == before
    assert len(before) == 3


def test_a_source_belongs_to_one_side(excititor: Excititor) -> None:
    excititor.take({"a.json": vex()})
    with pytest.raises(SourceMismatch):
        excititor.store.take({"g.json": osv()})
    excititor.store.take({"g.json": osv()}, "ghsa")
    with pytest.raises(SourceMismatch):
        excititor.store.take({"a.json": vex()}, "ghsa", side=Side.VEX)


def test_what_is_broken_waits_in_quarantine_and_is_no_reason_to_let_go(excititor: Excititor) -> None:
    good = vex((CVE, LIBSSL, "fixed", "2025-02-01T00:00:00Z"))
    excititor.take({"a.json": good, "index.json": {"packages": []}, "LICENSE": "free"})
    excititor.take({"a.json": vex((CVE, LIBSSL, "safe", "")), "b.json": vex()}, prune=True)
    assert excititor.store.reasons("demo") == [("a.json", "schema")]
    assert excititor.verdicts() == {LIBSSL: "fixed"}
