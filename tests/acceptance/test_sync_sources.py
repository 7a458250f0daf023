"""Mirror hosts sync from every kind of place that a mirror is published to, each on a real server, by one contract."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, select

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.registry import MirrorRegistry
from stellaops.adapters.mirrors.rsync_source import RsyncSource, share_of
from stellaops.adapters.mirrors.sources import BucketSource
from stellaops.adapters.sql import schema
from stellaops.ingest.pull_model import Definition
from stellaops.mirrors.domain import SIDES, Side
from stellaops.mirrors.errors import (
    BadTree,
    DomainNotFound,
    DomainsLost,
    PublicationConflict,
    SourceUnreachable,
)
from stellaops.mirrors.publish import publish
from stellaops.mirrors.sync import Synced
from stellaops.signing import ecdsa_p256
from tests.acceptance.importing import stella
from tests.acceptance.pulling import concelier
from tests.contract.stores import sqlite_store
from tests.support import mirror_sources, tools
from tests.support.gateways import PASSWORD, write_users
from tests.support.mirror_sources import DOMAINS, KINDS, Origin, brought
from tests.support.publishing import RIGHT, Publisher, follow, snapshot
from tests.support.pulling import Puller, ok
from tests.unit.cli.running import osv, package, until

NOBODY = {
    "directory": "/nowhere/at/all",
    "http": "http://127.0.0.1:1",
    "bucket": "s3://nobody/mirrors",
    "registry": "oci://127.0.0.1:1/mirror",
    "share": "rsync://127.0.0.1:1/mirror",
}
_SLOW = ("bucket",)


def kinds(*names: str, slow: Collection[str] = _SLOW) -> pytest.MarkDecorator:
    """Run a test on places of these kinds."""
    params = [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in names]
    return pytest.mark.parametrize("origin", params, indirect=True)


@pytest.fixture(scope="module")
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    place = tmp_path_factory.mktemp(request.param)
    publisher = Publisher(place / "data").filled()
    for name in DOMAINS:
        publisher.domain(name, advisories={"formats": ["osv"]})
    with mirror_sources.origin(request.param, publisher, place / "origin") as made:
        yield made
    publisher.close()


def change(origin: Origin, word: str) -> None:
    """Other evidence, published."""
    origin.publisher.take({"right.json": {**RIGHT, "summary": word}}, "ghsa")
    origin.publish()


def demand_copied(host: Path, publisher: Publisher) -> None:
    """A host's trees are the publisher's, file by file."""
    for side in SIDES:
        assert snapshot(host / side / "latest") == snapshot(publisher.tree(side))


@kinds(*KINDS)
def test_a_copy_is_the_tree_and_goes_on_with_what_differs(origin: Origin, tmp_path: Path) -> None:
    publisher, host = origin.publisher, tmp_path / "host"
    first = brought(origin.open(), host, publisher)
    assert {(each.side, each.domain) for each in first} == {(s, d) for s in SIDES for d in DOMAINS}
    assert all(each.changed and each.files for each in first)
    demand_copied(host, publisher)
    again = brought(origin.open(), host, publisher)
    assert {(each.changed, each.files) for each in again} == {(False, 0)}
    change(origin, "another word")
    later = brought(origin.open(), host, publisher)
    demand_copied(host, publisher)
    assert {each.export_id for each in later if each.side == "concelier"} == {publisher.id_of()}
    taken, whole = (sum(each.bytes for each in done) for done in (later, first))
    assert 0 < taken < whole
    follow(host, "primary", publisher.key())


@kinds(*KINDS, slow=("http", "bucket", "share"))
def test_a_sync_that_breaks_off_leaves_the_tree_in_force_and_is_gone_on_with(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, host = origin.publisher, tmp_path / "host"
    brought(origin.open(), host, publisher)
    before = {side: snapshot(host / side / "latest") for side in SIDES}
    change(origin, "a word before the line broke")
    broken = origin.open()
    pieces, fetched = broken.pieces, []

    def breaking(side: Side, path: str) -> Iterator[bytes]:
        fetched.append(path)
        if len([each for each in fetched if "freshness" not in each and "tree.json" not in each]) > 4:
            raise SourceUnreachable("the line is dead")
        return pieces(side, path)

    monkeypatch.setattr(broken, "pieces", breaking)
    with pytest.raises(SourceUnreachable):
        brought(broken, host, publisher, at_once=1)
    assert {side: snapshot(host / side / "latest") for side in SIDES} == before
    brought(origin.open(), host, publisher)
    demand_copied(host, publisher)


@kinds(*KINDS, slow=("http", "bucket"))
def test_some_domains_can_be_had_alone_and_what_is_not_there_is_told(origin: Origin, tmp_path: Path) -> None:
    host, publisher = tmp_path / "host", origin.publisher
    done = brought(origin.open(), host, publisher, domains=("primary",))
    assert {each.domain for each in done} == {"primary"}
    with pytest.raises((DomainNotFound, SourceUnreachable), match="nobody"):
        brought(origin.open(), host, publisher, domains=("nobody",))
    source = origin.open()
    for side in SIDES:
        assert source.latest(side, "primary") == publisher.id_of(side)
        assert list(source.domains(side)) == sorted(DOMAINS)
        assert source.small(side, f"{publisher.id_of(side)}/mirror/primary/none.json", 100) is None
        with pytest.raises(SourceUnreachable):
            source.small(side, f"{publisher.id_of(side)}/mirror/primary/tree.json", 10)
        with pytest.raises(SourceUnreachable):
            list(source.pieces(side, f"{publisher.id_of(side)}/mirror/primary/none.json"))


@kinds(*KINDS, slow=("bucket", "registry"))
def test_who_may_not_read_and_who_does_not_answer_end_the_sync(
    origin: Origin, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["origin"]
    host, publisher = tmp_path / "host", origin.publisher
    brought(origin.open(), host, publisher)
    if origin.login is not None:
        with pytest.raises(SourceUnreachable) as refused:
            brought(origin.open("wrong"), host, publisher, domains=("primary",))
        assert "wrong" not in str(refused.value)
    with pytest.raises(SourceUnreachable):
        brought(origin.open(address=NOBODY[kind]), host, publisher)
    demand_copied(host, publisher)


def test_a_mirror_is_a_source_for_the_pulls_of_others_by_what_its_publisher_signed(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "data").filled()
    publisher.domain("primary", advisories={"formats": ["osv"]}, vex={"formats": ["repository"]})
    publisher.domain("community", advisories={"formats": []})
    with mirror_sources.origin("http", publisher, tmp_path / "origin") as served:
        store = sqlite_store(tmp_path / "store")
        puller = Puller(store, store.engine, tmp_path)
        definition = Definition(
            name="upstream", layout="mirror", url=served.address, prune=True, authentication=served.login_file(),
            options={"domain": "primary", "publicKey": publisher.key().pem().decode()},
        )  # fmt: skip
        first = ok(puller.pull(definition))
        assert first.report is not None
        assert (first.full, first.report.added, first.report.quarantined) == (True, 2, 0)
        assert ok(puller.pull(definition)).sequence == first.sequence
        change(served, "a word for those who pull")
        later = ok(puller.pull(definition))
        assert later.report is not None
        assert (later.full, later.report.added, later.report.changed) == (False, 0, 1)
        vex = replace(
            definition,
            name="upstream-vex",
            feed="openvex",
            options={**definition.options, "side": "excititor"},
        )
        taken = ok(puller.pull(vex))
        assert taken.report is not None
        assert taken.report.added > 0
        assert ok(puller.pull(vex)).sequence == taken.sequence
        stranger = {**definition.options, "publicKey": ecdsa_p256.generate().public_key_pem().decode()}
        refused = puller.pull(replace(definition, options=stranger), at_once=True)
        assert (refused.state, refused.error_code) == ("failed", "ERR_PULL_MIRROR_UNTRUSTED")
        change(served, "a word that somebody changes")
        for file in publisher.tree().glob("osv/primary/*/GHSA-bbbb-bbbb-bbbb.json"):
            data = file.read_bytes()
            file.unlink()
            file.write_bytes(data.replace(b"somebody", b"anybodys"))
        tampered = puller.pull(definition, at_once=True)
        assert (tampered.state, {each.code for each in tampered.failed}) == ("failed", {"ERR_PULL_DAMAGED"})
        assert tampered.sequence == taken.sequence
        served.login_file("wrong")
        assert puller.pull(definition, at_once=True).state == "failed"
        store.engine.dispose()
    publisher.close()


DEBIAN = osv(
    "DSA-1-1", package("Debian:12", "right", *until("2.0-1")), upstream=["CVE-2026-4000"], aliases=[]
)
WOLFI = osv("CVE-2026-4001", package("Wolfi", "left", *until("1.5-r0")), aliases=["CVE-2026-4001"])
CURL = osv("CURL-CVE-2026-4002", package("PyPI", "curled", *until("8.0")), aliases=["CVE-2026-4002"])


def trivy_rows(engine: Engine) -> set[tuple[object, ...]]:
    """What an installation's databases for Trivy are made of."""
    table = schema.trivy_advisory
    with engine.connect() as connection:
        rows = connection.execute(
            select(table.c.bucket, table.c.package, table.c.vulnerability, table.c.value)
        )
        return {tuple(row) for row in rows}


def test_who_pulls_a_mirror_of_several_databases_has_the_publishers_rows_for_scanners(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "data").filled()
    publisher.take({"debian.json": DEBIAN}, "debian-osv")
    publisher.take({"wolfi.json": WOLFI}, "wolfi")
    publisher.take({"curl.json": CURL}, "rest")
    publisher.domain("primary", advisories={"formats": ["osv"]})
    with mirror_sources.origin("http", publisher, tmp_path / "origin") as served:
        store = sqlite_store(tmp_path / "store")
        puller = Puller(store, store.engine, tmp_path)
        options = {"domain": "primary", "publicKey": publisher.key().pem().decode()}
        mixed = Definition(
            name="upstream", layout="mirror", url=served.address, feed="osv", prune=True,
            authentication=served.login_file(), options=options,
        )  # fmt: skip
        refused = puller.pull(mixed)
        assert (refused.state, refused.error_code) == ("failed", "ERR_SOURCE_DEFINITION")
        assert "debian, ghsa, osv, wolfi" in (refused.error_text or "")
        others = {"others": ["debian", "ghsa", "wolfi"]}
        for database, more in {"debian": {}, "ghsa": {}, "wolfi": {}, "osv": others}.items():
            own = replace(mixed, name=f"upstream-{database}", database=database, options={**options, **more})
            done = ok(puller.pull(own)).report
            assert done is not None
            assert (done.database, done.quarantined) == (database, 0)
        expected = trivy_rows(publisher.local.evidence_engine)
        assert any(str(row[0]).startswith("debian 12") for row in expected)
        assert trivy_rows(store.engine) == expected
        store.engine.dispose()
    publisher.close()


@pytest.mark.slow
def test_who_pulls_a_mirror_is_told_of_databases_that_come_later(tmp_path: Path) -> None:
    publisher, there = Publisher(tmp_path / "data").filled(), tmp_path / "puller"
    publisher.domain("primary", advisories={"formats": ["osv"]}, vex={"formats": ["json"]})
    with mirror_sources.origin("http", publisher, tmp_path / "origin") as served:
        served.login_file()
        key = publisher.key().pem().decode()

        def define(name: str, *more: str) -> None:
            options = ("--option", "domain=primary", "--option", f"publicKey={key}", *more)
            login = ("--auth", "basic", "--auth-file", str(tmp_path / "origin/login"))
            added = concelier(there, "sources", "add", f"up-{name}", "--layout", "mirror", "--url", served.address,
                              "--feed", "osv", "--database", name, *login, *options)  # fmt: skip
            assert added.code == 0, added.err

        define("ghsa")
        (report,) = concelier(there, "pull", "up-ghsa").value
        assert (report["state"], report["notes"]) == ("ok", [])
        publisher.take({"debian.json": DEBIAN}, "debian-osv")
        publisher.take({"wolfi.json": WOLFI}, "wolfi")
        served.publish()
        (report,) = concelier(there, "pull", "up-ghsa").value
        assert "has documents of debian, wolfi, which no source takes" in report["notes"][0]
        define("debian", "--option", "unwanted=wolfy")
        listed = {each["source"]: each["untaken"] for each in concelier(there, "sources", "list").value}
        assert (listed["up-ghsa"], listed["up-debian"], listed["osv-ghsa"]) == (["wolfi"], ["wolfi"], [])
        (found,) = [each for each in stella(there, "doctor").value if each["name"] == "mirrors pulled"]
        assert (found["verdict"], "--database wolfi" in found["hint"]) == ("warning", True)
        define("debian", "--replace", "--option", "unwanted=wolfi")
        assert not any(each["untaken"] for each in concelier(there, "sources", "list").value)
    publisher.close()


@kinds("bucket", "registry")
def test_a_copy_elsewhere_is_sent_once_and_never_goes_back(origin: Origin) -> None:
    copied, publisher = origin.copy, origin.publisher
    assert copied is not None
    tools_ = publisher.local.publish_tools
    assert {side: copied.latest(side) for side in SIDES} == {side: publisher.id_of(side) for side in SIDES}
    old, tree = publisher.id_of(), publisher.tree()
    assert copied.send("concelier", old, tree) == 0
    record = tools_.publications.current(copied.place, "concelier")
    assert record is not None
    change(origin, "a word after the copy")
    assert copied.latest("concelier") == publisher.id_of() != old
    with pytest.raises(PublicationConflict, match="was moved on meanwhile"):
        copied.point(record)
    copied.remove("concelier", old)
    assert not copied.has("concelier", old)
    assert copied.has("concelier", publisher.id_of())
    publish(publisher.root, tools_, [copied])
    copied.drop_freshness("concelier", ["primary"])
    assert origin.open().domains("concelier") == ["primary"]
    origin.publish()
    assert list(origin.open().domains("concelier")) == sorted(DOMAINS)


@kinds("bucket")
def test_what_was_brought_before_a_copy_into_a_bucket_broke_off_is_not_sent_again(origin: Origin) -> None:
    copied, publisher = origin.copy, origin.publisher
    assert isinstance(copied, MirrorBucket)
    copied.bucket.delete([f"concelier/{publisher.id_of()}.json"])
    assert copied.send("concelier", publisher.id_of(), publisher.tree()) == 0
    copied.bucket.delete([f"concelier/{publisher.id_of()}.json"])
    copied.bucket.put(f"concelier/{publisher.id_of()}/index.json", b"{}")
    size = (publisher.tree() / "index.json").stat().st_size
    assert copied.send("concelier", publisher.id_of(), publisher.tree()) == size


@kinds(*KINDS, slow=("bucket", "registry", "share"))
def test_a_first_sync_costs_requests_by_the_archive_not_by_the_document(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, asked = origin.publisher, list[str]()
    many = {
        f"{number}.json": {**RIGHT, "id": f"GHSA-cccc-cccc-c{number:03}", "aliases": []}
        for number in range(150)
    }
    publisher.take(many, "ghsa")
    origin.publish()
    source = origin.open()
    pieces = source.pieces

    def noted(side: Side, path: str) -> Iterator[bytes]:
        asked.append(path)
        return pieces(side, path)

    monkeypatch.setattr(source, "pieces", noted)
    first = brought(source, tmp_path / "host", publisher)
    demand_copied(tmp_path / "host", publisher)
    assert len(list((tmp_path / "host/concelier/latest/osv").rglob("GHSA-cccc*.json"))) == 600
    assert sum(each.files for each in first) < 150
    assert len(asked) < 250
    asked.clear()
    publisher.take({"7.json": {**many["7.json"], "summary": "one word"}}, "ghsa")
    origin.publish()
    brought(source, tmp_path / "host", publisher)
    demand_copied(tmp_path / "host", publisher)
    assert [path for path in asked if "/osv/" in path]
    assert not [path for path in asked if "GHSA-cccc" in path]


def test_a_first_sync_of_many_documents_stays_within_an_hourly_budget_of_few_requests(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "data").filled()
    many = {
        f"{number}.json": {**RIGHT, "id": f"GHSA-dddd-dddd-d{number:03}", "aliases": []}
        for number in range(300)
    }
    publisher.take(many, "ghsa")
    publisher.domain("primary", advisories={"formats": ["osv"]}, vex={"formats": ["json"]})
    quota = {"CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "50"}
    with mirror_sources.origin("http", publisher, tmp_path / "origin", quota) as origin:
        brought(origin.open(), tmp_path / "host", publisher)
        demand_copied(tmp_path / "host", publisher)
        with pytest.raises(
            SourceUnreachable, match="answers 429; it asks to wait"
        ):  # the budget is a real one
            brought(origin.open(), tmp_path / "other", publisher)
    publisher.close()


def test_two_audiences_bring_one_host_to_another_tree_in_turn_and_a_domain_goes_by_the_publishers_word(
    tmp_path: Path,
) -> None:
    publisher, host, place = Publisher(tmp_path / "data").filled(), tmp_path / "host", tmp_path / "origin"
    for name in DOMAINS:
        publisher.domain(name, advisories={"formats": ["osv"]}, vex={"formats": ["json"]})
    with mirror_sources.origin("http", publisher, place) as origin:
        for name in DOMAINS:
            write_users(place / f"mirror-{name}.htpasswd", {name: PASSWORD, "edge": PASSWORD})
        time.sleep(1.5)  # credentials are looked at anew

        def synced(name: str, **more: object) -> tuple[Synced, ...]:
            origin.login = (name, PASSWORD)
            return brought(origin.open(), host, publisher, **more)

        first = [synced(name) for name in DOMAINS]
        assert [{each.domain for each in done} for done in first] == [{"community"}, {"primary"}]
        demand_copied(host, publisher)
        origin.login = ("edge", PASSWORD)
        change(origin, "a word for two audiences")
        before = {side: snapshot(host / side / "latest") for side in SIDES}
        with pytest.raises(DomainsLost, match="primary, which readers of this host have and their publisher"):
            synced("community")
        done = synced("community", in_turn=True)
        assert {each.waits_for for each in done if each.side == "concelier"} == {("primary",)}
        assert {side: snapshot(host / side / "latest") for side in SIDES} == before
        done = synced("primary", in_turn=True)
        assert {each.changed for each in done if each.side == "concelier"} == {True}
        demand_copied(host, publisher)
        for name in DOMAINS:
            follow(host, name, publisher.key())
        publisher.local.mirror_domains.delete("default", "community")
        origin.login = ("edge", PASSWORD)
        origin.publish()
        done = synced("primary")
        assert {(each.side, each.domain) for each in done if each.given_up} == {
            (s, "community") for s in SIDES
        }
        demand_copied(host, publisher)
    publisher.close()


@kinds("bucket")
def test_packs_in_a_bucket_have_what_no_archive_has(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, publisher = origin.copy, origin.publisher
    assert isinstance(copied, MirrorBucket)

    def asked_for(host: Path) -> list[str]:
        source, asked = origin.open(), list[str]()
        assert isinstance(source, BucketSource)
        get = source._object

        def noted(name: str) -> Iterator[bytes]:
            asked.append(name)
            return get(name)

        monkeypatch.setattr(source, "_object", noted)
        brought(source, host, publisher)
        return [name for name in asked if "/freshness/" not in name and "tree.json" not in name]

    whole = copied.whole("concelier", publisher.id_of())
    assert whole is not None
    singles = len(list((publisher.tree() / "osv").glob("*/*/GHSA-*.json")))
    assert singles > 0
    assert sum(each.files for each in whole.packs) == whole.files - singles
    packed = asked_for(tmp_path / "host")
    assert [name for name in packed if name.startswith("concelier/packs/")]
    assert len(packed) < 20
    demand_copied(tmp_path / "host", publisher)
    copied.bucket.delete([name for side in SIDES for name in copied.bucket.listed(f"{side}/packs/")])
    alone = asked_for(tmp_path / "other")
    assert len([name for name in alone if "/packs/" not in name]) > 60
    demand_copied(tmp_path / "other", publisher)


@kinds("registry")
def test_a_tree_in_a_registry_that_somebody_else_has_changed_is_refused(
    origin: Origin, tmp_path: Path
) -> None:
    copied, publisher = origin.copy, origin.publisher
    assert isinstance(copied, MirrorRegistry)
    tree = shutil.copytree(publisher.tree(), tmp_path / "changed")
    bundle = tree / "mirror/primary/bundle.json"
    bundle.unlink()
    bundle.write_bytes(
        publisher.tree().joinpath("mirror/primary/bundle.json").read_bytes().replace(b"GHSA", b"GHSB")
    )
    copied.remove("concelier", publisher.id_of())
    assert copied.send("concelier", publisher.id_of(), tree) > 0
    with pytest.raises(BadTree, match="not what its publisher signed"):
        brought(origin.open(), tmp_path / "host", publisher)
    assert not (tmp_path / "host/concelier/latest").exists()
    copied.remove("concelier", publisher.id_of())
    sent = copied.send("concelier", publisher.id_of(), publisher.tree())
    assert sent < sum(each.stat().st_size for each in publisher.tree().rglob("*") if each.is_file())
    brought(origin.open(), tmp_path / "host", publisher)


def test_a_share_is_also_read_through_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, publisher = tools.require("rsync"), Publisher(tmp_path / "data").filled()
    publisher.domain("primary", advisories={"formats": ["osv"]})
    publisher.publish()
    shell = tmp_path / "bin" / "ssh"  # stands for ssh: it runs here what is to be run there
    shell.parent.mkdir()
    shell.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nwhile [ "$1" != far ]; do shift; done\nshift\n'
                     'exec sh -c "$*"\n')  # fmt: skip
    shell.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shell.parent}:{program.parent}", prepend=":")
    source = RsyncSource(share_of(f"far:{publisher.root.root}"))
    done = brought(source, tmp_path / "host", publisher)
    assert {each.changed for each in done} == {True}
    demand_copied(tmp_path / "host", publisher)
    assert "BatchMode=yes" in (tmp_path / "asked").read_text()
    publisher.close()
