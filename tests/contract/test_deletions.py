"""Documents that a provider has deleted: `deletions.csv` beside its listings, in folders and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from stellaops.adapters.sql import applying, schema
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.ingest.explain_consensus import explain_consensus
from stellaops.ingest.import_documents import UnknownForm
from stellaops.ingest.model import ImportReport
from stellaops.ingest.pull_model import Definition, PullReport
from stellaops.vex.weights import Weights
from tests.contract.stores import Store
from tests.contract.test_csaf_pulls import document
from tests.support.csaf_provider import HOME, Provider, served
from tests.support.pulling import Puller, ok
from tests.support.web import Answer, Upstream, serving

CHANGES = f"{HOME}changes.csv"
EARLY, LATE, LATER = "2024-01-10T00:00:00+00:00", "2024-06-01T08:00:00+00:00", "2024-09-01T00:00:00+00:00"


@pytest.fixture
def provider() -> Provider:
    made = Provider()
    for number in (1, 2, 3):
        made.put(f"2024/cve-2024-000{number}", EARLY)
    return made


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


def take(store: Store, provider: Provider, **more: Any) -> ImportReport:
    files: dict[str, object] = dict(sorted(provider.publish().items()))
    return store.take(files, "redhat", feed="csaf-vex", **more)


def counts(report: ImportReport | None) -> tuple[int, int, int, int]:
    assert report is not None
    return report.added, report.changed, report.unchanged, report.vanished


def keys(store: Store) -> list[str]:
    return [key.removeprefix(f"{HOME}2024/cve-2024-").removesuffix(".json") for key in store.keys("redhat")]


def tombstones(store: Store) -> list[str]:
    with reading(store.engine) as connection:
        found = connection.execute(select(schema.tombstone.c.key).order_by(schema.tombstone.c.seq)).scalars()
        return [key.rpartition("/")[2] for key in found]


def consensus(store: Store, cve: str) -> int:
    engine = SqlConsensus(store.engine)
    engine.refresh(Weights())
    return len(explain_consensus(cve, engine, tenant="default", weights=Weights()).states)


# ---- folders


def test_a_deleted_document_vanishes_without_any_pruning(store: Store, provider: Provider) -> None:
    take(store, provider)
    assert consensus(store, "CVE-2024-0002") == 1
    provider.delete("2024/cve-2024-0002", LATE)
    assert counts(take(store, provider)) == (0, 0, 2, 1)
    assert keys(store) == ["0001", "0003"]
    assert tombstones(store) == ["cve-2024-0002.json"]
    assert store.status("redhat").vanished == 1
    assert consensus(store, "CVE-2024-0002") == 0
    assert consensus(store, "CVE-2024-0001") == 1


def test_importing_the_same_again_changes_nothing(store: Store, provider: Provider) -> None:
    take(store, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    take(store, provider)
    before = store.sequence, store.digest()
    assert counts(take(store, provider)) == (0, 0, 2, 0)
    assert (store.sequence, store.digest()) == before


def test_a_copy_that_still_has_the_document_does_not_bring_it_back(store: Store, provider: Provider) -> None:
    provider.put("2024/cve-2024-0002", EARLY)
    provider.deleted["2024/cve-2024-0002.json"] = LATE
    report = take(store, provider)
    assert (report.added, report.ignored, report.quarantined) == (2, 2 * 3 + 2 + 1, 0)
    assert keys(store) == ["0001", "0003"]


@pytest.mark.parametrize("told_by", ["the listing", "the document"])
def test_a_document_that_comes_back_counts_as_added(store: Store, provider: Provider, told_by: str) -> None:
    take(store, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    take(store, provider)
    provider.put("2024/cve-2024-0002", LATER)
    files: dict[str, object] = dict(provider.publish())
    if told_by == "the document":
        del files[CHANGES]
    assert counts(store.take(files, "redhat", feed="csaf-vex")) == (1, 0, 2, 0)
    assert keys(store) == ["0001", "0002", "0003"]


def test_the_old_document_under_a_newer_date_in_the_listing_comes_back(
    store: Store, provider: Provider
) -> None:
    take(store, provider)
    content = provider.documents["2024/cve-2024-0002.json"][1]
    provider.delete("2024/cve-2024-0002", LATE)
    take(store, provider)
    provider.documents["2024/cve-2024-0002.json"] = LATER, content
    assert counts(take(store, provider)) == (1, 0, 2, 0)


def test_the_list_alone_is_an_import(store: Store, provider: Provider) -> None:
    take(store, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    provider.delete("2024/cve-2024-0003", LATE)
    listed = {f"{HOME}deletions.csv": provider.publish()[f"{HOME}deletions.csv"]}
    assert counts(store.take(listed, "redhat", feed="csaf-vex")) == (0, 0, 0, 2)
    assert keys(store) == ["0001"]
    with pytest.raises(UnknownForm):
        store.take(listed, "another", feed="csaf-vex")
    with pytest.raises(UnknownForm):
        store.take({"deletions.csv": b"<html>"}, "redhat", feed="csaf-vex")


def test_advisories_that_are_kept_by_their_id_vanish_too(store: Store) -> None:
    files: dict[str, object] = {
        f"2024/rhsa-2024_{number}.json": document(f"RHSA-2024:{number}", EARLY) for number in (1, 2)
    }
    assert store.take(files, "csaf", feed="csaf").added == 2
    lists = {"deletions.csv": f'"2024/rhsa-2024_2.json","{LATE}"\n'}
    assert counts(store.take({**files, **lists}, "csaf", feed="csaf")) == (0, 0, 1, 1)
    assert store.keys("csaf") == ["RHSA-2024:1"]


def test_other_sources_keep_what_is_deleted_in_one(store: Store, provider: Provider) -> None:
    take(store, provider)
    store.take(dict(provider.publish()), "copy", feed="csaf-vex")
    provider.delete("2024/cve-2024-0002", LATE)
    take(store, provider)
    assert (len(store.keys("redhat")), len(store.keys("copy"))) == (2, 3)


def test_a_hundred_thousand_deletions_are_applied_some_at_a_time(
    store: Store, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_APPLY_ROWS", 40)
    for number in range(100, 250):
        provider.put(f"2024/cve-2024-0{number}", EARLY)
    take(store, provider)
    for number in range(100, 240):
        provider.delete(f"2024/cve-2024-0{number}", LATE)
    provider.deleted |= {f"2019/cve-2019-{number}.json": LATE for number in range(100_000)}
    assert counts(take(store, provider)) == (0, 0, 13, 140)
    assert len(tombstones(store)) == 140
    assert counts(take(store, provider)) == (0, 0, 13, 0)


# ---- over HTTP


def source(upstream: Upstream, **more: Any) -> Definition:
    return Definition("redhat", "csaf-provider", f"{upstream.url}{CHANGES}", feed="csaf-vex", **more)


def pull(puller: Puller, upstream: Upstream, provider: Provider, **more: Any) -> PullReport:
    upstream.files = served(provider.publish())
    return ok(puller.pull(source(upstream), **more))


@pytest.fixture
def puller(store: Store, tmp_path: Path) -> Puller:
    return Puller(store, store.engine, tmp_path)


def test_a_pull_lets_go_of_what_was_deleted_and_does_not_ask_for_it(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    pull(puller, upstream, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    upstream.forget()
    assert counts(pull(puller, upstream, provider).report) == (0, 0, 0, 1)
    assert keys(puller.store) == ["0001", "0003"]
    assert f"/{HOME}2024/cve-2024-0002.json" not in [request.path for request in upstream.requests]
    before = puller.store.sequence
    for full in (False, True):
        report = pull(puller, upstream, provider, full=full)
        assert (report.report is None or counts(report.report)[3] == 0, report.missing) == (True, 0)
    assert puller.store.sequence == before


def test_a_document_that_comes_back_unchanged_is_fetched_again(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    pull(puller, upstream, provider)
    content = provider.documents["2024/cve-2024-0002.json"][1]
    provider.delete("2024/cve-2024-0002", LATE)
    pull(puller, upstream, provider)
    provider.documents["2024/cve-2024-0002.json"] = LATER, content
    assert counts(pull(puller, upstream, provider).report) == (1, 0, 0, 0)
    assert keys(puller.store) == ["0001", "0002", "0003"]


def test_a_first_pull_lets_go_of_what_an_import_had_brought(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    take(puller.store, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    assert counts(pull(puller, upstream, provider).report) == (0, 0, 2, 1)
    assert keys(puller.store) == ["0001", "0003"]


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_provider_without_such_a_list_is_pulled_whatever_it_answers(
    puller: Puller, upstream: Upstream, provider: Provider, status: int
) -> None:
    upstream.misbehave = lambda request: Answer(status) if request.path.endswith("deletions.csv") else None
    assert counts(pull(puller, upstream, provider).report) == (3, 0, 0, 0)


def test_a_list_that_cannot_be_had_for_now_fails_the_pull_and_changes_nothing(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    pull(puller, upstream, provider)
    before = puller.store.digest()
    provider.delete("2024/cve-2024-0002", LATE)
    upstream.files = served(provider.publish())
    upstream.misbehave = lambda request: Answer(503) if request.path.endswith("deletions.csv") else None
    assert puller.pull(source(upstream)).state == "failed"
    assert puller.store.digest() == before
    upstream.misbehave = lambda request: None
    assert counts(ok(puller.pull(source(upstream), at_once=True)).report) == (0, 0, 0, 1)


def test_a_pull_that_failed_for_one_file_applies_the_deletions_again(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    pull(puller, upstream, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    provider.put("2024/cve-2024-0003", LATE, title="Another title")
    upstream.files = served(provider.publish())
    upstream.misbehave = lambda request: Answer(503) if request.path.endswith("0003.json") else None
    report = puller.pull(source(upstream))
    assert report.state in ("failed", "partial")
    upstream.misbehave = lambda request: None
    ok(puller.pull(source(upstream), at_once=True))
    assert keys(puller.store) == ["0001", "0003"]
    assert (
        json.loads(puller.store.records.raw("redhat", f"{HOME}2024/cve-2024-0003.json") or b"")["document"][
            "title"
        ]
        == "Another title"
    )


def test_a_pull_equals_the_import_of_a_copy(puller: Puller, upstream: Upstream, provider: Provider) -> None:
    pull(puller, upstream, provider)
    provider.delete("2024/cve-2024-0002", LATE)
    provider.put("2024/cve-2024-0004", LATER)
    pull(puller, upstream, provider)
    pulled = puller.store.lines()
    before = puller.store.sequence
    assert counts(take(puller.store, provider)) == (0, 0, 3, 0)
    assert (puller.store.lines(), puller.store.sequence) == (pulled, before)
