"""Publishing: signed trees under ids that come from their content, and what readers follow."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from sqlalchemy import delete

from stellaops.adapters.sql.mirror_schema import mirror_offered
from stellaops.adapters.sql.mirrors import SqlPublications
from stellaops.authority import manage_keys
from stellaops.exports.errors import GateRefused
from stellaops.ingest.feeds import Side as Feeds
from stellaops.mirrors import domain_list, forms
from stellaops.mirrors.domain import SIDES, Side
from stellaops.mirrors.domain_list import DomainList
from stellaops.mirrors.errors import EmptyDomain, NoDomains, SyncRuns
from stellaops.mirrors.publish import publish
from stellaops.signing.ecdsa_p256 import BadSignature
from tests.support.publishing import (
    BOTH,
    LEFT,
    RIGHT,
    VEX,
    Publisher,
    demand_listed,
    demand_signed,
    follow,
    snapshot,
    statement,
)
from tests.support.tools import ROOT


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with evidence; nothing of it is open."""
    made = Publisher(tmp_path_factory.mktemp("filled") / "data").filled()
    made.key()
    made.close()
    return made.local.data_dir


@pytest.fixture
def publisher(filled: Path, tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(shutil.copytree(filled, tmp_path / "data"))
    yield made
    made.close()


def ids(bundle: object) -> list[str]:
    assert isinstance(bundle, dict)
    return [each["document"]["id"] for each in bundle["advisories"]]


def test_a_reader_goes_from_the_index_to_signed_bundles_of_what_each_domain_may_see(
    publisher: Publisher,
) -> None:
    publisher.domain("primary", displayName="Primary mirror")
    publisher.domain("community", advisories={"selectors": {"ecosystems": ["PyPI"]}})
    outcome = publisher.publish()
    assert [(each.side, each.domain, each.changed) for each in outcome.published] == [
        ("concelier", "community", True),
        ("concelier", "primary", True),
        ("excititor", "community", True),
        ("excititor", "primary", True),
    ]
    root, key = publisher.root.root, publisher.key()
    assert ids(follow(root, "primary", key)) == [LEFT["id"], RIGHT["id"]]
    assert ids(follow(root, "community", key)) == [RIGHT["id"]]
    for each in outcome.published:
        demand_listed(root, each.side, each.export_id, each.domain, key)
        assert statement(root, each.side, each.domain, key).export_id == each.export_id
    index = json.loads((root / "concelier/latest/index.json").read_bytes())
    assert [each["displayName"] for each in index["domains"]] == ["community", "Primary mirror"]


def test_the_same_evidence_is_the_same_tree_and_only_its_statements_are_renewed(publisher: Publisher) -> None:
    publisher.domain("primary")
    first = publisher.publish()
    before = snapshot(publisher.tree())
    again = publisher.publish()
    assert [each.export_id for each in again.published] == [each.export_id for each in first.published]
    assert not any(each.changed for each in again.published)
    assert snapshot(publisher.tree()) == before
    versions = [each.freshness.version for each in again.published if each.freshness]
    assert versions == [2, 2]


def test_another_machine_with_the_same_key_makes_the_same_bytes_whatever_the_order_of_imports(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.domain("primary")
    publisher.publish()
    other = Publisher(tmp_path / "other", tmp_path / "elsewhere")
    shutil.copytree(publisher.local.data_dir / "keys", tmp_path / "other" / "keys")
    other.take({"acme.json": VEX}, "acme", Feeds.VEX)
    other.take(dict(reversed(BOTH.items())), "ghsa")
    other.domain("primary")
    other.publish()
    for side in SIDES:
        assert snapshot(other.tree(side)) == snapshot(publisher.tree(side))
    other.close()


def test_what_did_not_change_is_linked_to_the_tree_before_which_stays_as_it_was(publisher: Publisher) -> None:
    publisher.domain("primary")
    publisher.domain("left", advisories={"selectors": {"ids": [LEFT["id"]]}})
    publisher.publish()
    before, tree = snapshot(publisher.tree()), publisher.tree()
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
    publisher.publish()
    assert publisher.tree() != tree
    assert snapshot(tree) == before
    kept = f"osv/primary/npm/{LEFT['id']}.json"
    changed = f"osv/primary/npm/{RIGHT['id']}.json"
    assert (tree / kept).samefile(publisher.tree() / kept)
    assert not (tree / changed).samefile(publisher.tree() / changed)
    whole = [path for path in before if path.startswith(("osv/left/", "oci/left/"))]
    assert whole
    assert all((tree / path).samefile(publisher.tree() / path) for path in whole)
    key, root = publisher.key(), publisher.root.root
    for domain in ("left", "primary"):
        follow(root, domain, key)
        for export_id in (tree.name, publisher.id_of()):
            demand_listed(root, "concelier", export_id, domain, key)


def test_vex_comes_in_every_format_under_its_key_and_as_a_repository(publisher: Publisher) -> None:
    publisher.domain("primary")
    publisher.publish()
    folder = publisher.tree("excititor") / "mirror/primary"
    index = json.loads(demand_signed(folder / "index.json", publisher.key()))
    found = {each["exportKey"]: each for each in index["exports"]}
    assert sorted(found) == [
        f"consensus-{name}" for name in ("csaf", "cyclonedx", "json", "jsonl", "openvex")
    ]
    for each in found.values():
        data = demand_signed(folder / each["file"], publisher.key())
        assert each["artifactSizeBytes"] == len(data)
        assert each["exportId"] == publisher.id_of("excititor")
        assert each["sourceProviders"] == ["acme"]
        assert each["createdAt"] == "2026-04-01T00:00:00Z"
    rows = json.loads((folder / "exports/consensus-json.json").read_bytes())["consensus"]
    lines = (folder / "exports/consensus-jsonl.jsonl").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert [row["vulnerability"] for row in rows] == ["CVE-2026-1000", "CVE-2026-1000", "CVE-2026-2000"]
    assert len({each["consensusRevision"] for each in found.values()}) == 1
    archive = (publisher.tree("excititor") / "vex/primary/vex-repository.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        assert "index.json" in members.getnames()


def test_an_export_of_vex_is_narrowed_ordered_and_limited(publisher: Publisher) -> None:
    exports = [
        {"key": "one", "format": "json", "vulnId": "GHSA-aaaa-aaaa-aaaa"},
        {"key": "app", "format": "json", "productKey": "pkg:npm/app"},
        {"key": "newest", "format": "json", "sort": "newest", "limit": 2},
        {"key": "first", "format": "json", "limit": 1},
        {"key": "nothing", "format": "openvex", "vulnId": "CVE-1999-0001"},
    ]
    publisher.domain("primary", vex={"formats": [], "exports": exports})
    outcome = publisher.publish()
    assert outcome.remarks == ("primary: export nothing holds no verdict and is left out",)
    folder = publisher.tree("excititor") / "mirror/primary/exports"

    def told(key: str) -> list[tuple[str, str]]:
        rows = json.loads((folder / f"{key}.json").read_bytes())["consensus"]
        return [(row["vulnerability"], row["product"]) for row in rows]

    first, second, third = (
        ("CVE-2026-1000", "pkg:npm/app@1.0.0"),
        ("CVE-2026-1000", "pkg:npm/base@1.0.0"),
        ("CVE-2026-2000", "pkg:npm/app@1.0.0"),
    )
    assert told("one") == [first, second]
    assert told("app") == [first, third]
    assert told("newest") == [second, third]
    assert told("first") == [first]


def test_the_bucket_of_osv_has_each_document_in_its_ecosystems(publisher: Publisher) -> None:
    publisher.domain("primary", advisories={"formats": ["osv"]})
    publisher.publish()
    bucket = publisher.tree() / "osv/primary"
    assert (bucket / "ecosystems.txt").read_text() == "PyPI\nnpm\n"
    right = json.loads((bucket / f"PyPI/{RIGHT['id']}.json").read_bytes())
    assert right == json.loads((bucket / f"npm/{RIGHT['id']}.json").read_bytes()) == RIGHT
    for name, wanted in (
        ("all.zip", [LEFT, RIGHT]),
        ("PyPI/all.zip", [RIGHT]),
        ("npm/all.zip", [LEFT, RIGHT]),
    ):
        with zipfile.ZipFile(bucket / name) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == sorted(f"{each['id']}.json" for each in wanted)
    listed = (bucket / "modified_id.csv").read_text().splitlines()
    assert listed == [
        f"2026-01-02T03:04:05Z,{place}"
        for place in (f"PyPI/{RIGHT['id']}", f"npm/{LEFT['id']}", f"npm/{RIGHT['id']}")
    ]
    assert not (publisher.tree() / "oci").exists()


def test_a_marking_above_the_domains_limit_does_not_leave(publisher: Publisher) -> None:
    with publisher.local.evidence_engine.begin() as connection:
        # No feed states a marking; the store's column stands for those that will. Its guards stand aside.
        guards = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'revision'"
        for (guard,) in connection.exec_driver_sql(guards).all():
            connection.exec_driver_sql(f"DROP TRIGGER {guard}")
        connection.exec_driver_sql("UPDATE revision SET tlp = 'AMBER' WHERE key = 'GHSA-aaaa-aaaa-aaaa'")
    publisher.domain("open")
    publisher.domain("closed", tlpAtMost="AMBER")
    publisher.publish()
    root, key = publisher.root.root, publisher.key()
    assert ids(follow(root, "closed", key)) == [LEFT["id"], RIGHT["id"]]
    assert ids(follow(root, "open", key)) == [RIGHT["id"]]
    assert not list((publisher.tree() / "osv/open").rglob(f"{LEFT['id']}*"))


def test_a_domain_that_selects_nothing_stops_the_publication_unless_that_is_meant(
    publisher: Publisher,
) -> None:
    publisher.domain("primary")
    publisher.publish()
    before = publisher.id_of()
    nothing = {"selectors": {"ids": ["CVE-1999-0001"]}}
    publisher.domain("empty", advisories=nothing)
    with pytest.raises(EmptyDomain, match="domain empty selects no advisory"):
        publisher.publish()
    assert publisher.id_of() == before
    publisher.domain("empty", advisories={**nothing, "allowEmpty": True, "formats": []})
    publisher.publish()
    assert ids(follow(publisher.root.root, "empty", publisher.key())) == []


def test_without_a_domain_there_is_nothing_to_publish(publisher: Publisher) -> None:
    with pytest.raises(NoDomains):
        publisher.publish()


def test_a_side_that_no_domain_takes_part_in_is_not_published(publisher: Publisher) -> None:
    publisher.domain("primary", vex={"enabled": False})
    assert {each.side for each in publisher.publish().published} == {"concelier"}
    assert publisher.root.latest("excititor") is None


def test_a_source_in_the_middle_of_its_first_import_stops_the_domains_that_want_it(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.domain("primary", advisories={"selectors": {"sources": ["ghsa"]}}, vex={"enabled": False})
    evidence = publisher.local.evidence
    monkeypatch.setattr(evidence, "unfinished", lambda: ["other"])
    publisher.publish()
    monkeypatch.setattr(evidence, "unfinished", lambda: ["ghsa"])
    with pytest.raises(GateRefused, match="import into ghsa is not finished"):
        publisher.publish()


def test_a_superseded_id_stays_a_day_and_goes_then(publisher: Publisher) -> None:
    publisher.domain("primary", vex={"enabled": False})
    publisher.publish()
    old = publisher.tree()
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
    begun = datetime.now(UTC)

    def at(later: timedelta) -> tuple[str, ...]:
        tools = publisher.local.publish_tools
        tools = replace(tools, exports=replace(tools.exports, now=lambda: begun + later))
        return publish(publisher.root, tools).pruned

    assert at(timedelta(0)) == ()
    assert at(timedelta(hours=23, minutes=59)) == ()
    assert old.is_dir()
    assert at(timedelta(hours=24, minutes=1)) == (old.name,)
    assert not old.exists()
    assert at(timedelta(hours=48)) == ()
    follow(publisher.root.root, "primary", publisher.key())


def test_an_id_that_is_the_newest_again_stays(publisher: Publisher) -> None:
    publisher.domain("primary", vex={"enabled": False})
    publisher.publish()
    first = publisher.tree()
    for name in ("another", "primary"):
        publisher.domain("primary", vex={"enabled": False}, displayName=name)
        publisher.publish()
    assert publisher.tree() == first
    tools = publisher.local.publish_tools
    later = replace(tools, exports=replace(tools.exports, now=lambda: datetime.now(UTC) + timedelta(days=9)))
    pruned = publish(publisher.root, later).pruned
    assert len(pruned) == 1
    assert first.is_dir()


def test_a_process_that_died_before_the_switch_is_made_good_by_the_next(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.domain("primary", vex={"enabled": False})
    publisher.publish()
    old = publisher.id_of()
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")

    class Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(publisher.root), "point", die)
        with pytest.raises(Killed):
            publisher.publish()
    assert publisher.id_of() == old
    recorded = SqlPublications(publisher.local.service_engine).current(publisher.root.place, "concelier")
    assert recorded is not None
    assert recorded.export_id != old
    follow(publisher.root.root, "primary", publisher.key())
    outcome = publisher.publish()
    assert publisher.id_of() == recorded.export_id == outcome.published[0].export_id
    assert not outcome.published[0].changed


def test_nothing_is_published_that_cannot_be_signed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.domain("primary")
    publisher.publish()
    before = {side: publisher.id_of(side) for side in SIDES}
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")

    def refuse(*_: object, **__: object) -> None:
        raise BadSignature("the service is sealed")

    with monkeypatch.context() as patch:
        patch.setattr("stellaops.mirrors.publish.tried_signer", refuse)
        with pytest.raises(BadSignature):
            publisher.publish()
    assert {side: publisher.id_of(side) for side in SIDES} == before
    assert publisher.root.ids("concelier") == [before["concelier"]]


def test_two_processes_do_not_work_on_one_root(publisher: Publisher) -> None:
    publisher.domain("primary")
    with publisher.root.turn(), pytest.raises(SyncRuns, match="another process works on the mirror"):
        publisher.publish()


def test_a_removed_domain_is_gone_with_its_statements(publisher: Publisher) -> None:
    publisher.domain("primary")
    publisher.domain("second")
    publisher.publish()
    assert publisher.local.mirror_domains.delete("default", "second")
    publisher.publish()
    root = publisher.root.root
    assert sorted(each.name for each in (publisher.tree() / "mirror").iterdir()) == ["primary"]
    for side in SIDES:
        names = sorted(each.name for each in (root / side / forms.FRESHNESS).iterdir())
        assert names == ["primary.json", "primary.json.sig"]


def test_a_trivy_database_stands_in_an_image_layout_under_the_tags_that_scanners_ask_for(
    publisher: Publisher,
) -> None:
    publisher.domain("primary", advisories={"formats": ["trivy-db"]})
    publisher.publish()
    layout = publisher.tree() / "oci/primary/trivy-db"
    index = json.loads((layout / "index.json").read_bytes())
    tags = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in index["manifests"]
    }
    assert sorted(tags) == ["2", "20260102", "latest"]
    (digest,) = set(tags.values())
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
    assert layer["annotations"]["org.opencontainers.image.title"] == "db.tar.gz"
    with tarfile.open(layout / "blobs/sha256" / layer["digest"].removeprefix("sha256:")) as members:
        assert sorted(members.getnames()) == ["metadata.json", "trivy.db"]


def test_what_is_published_is_of_the_published_schemas(publisher: Publisher) -> None:
    publisher.domain("primary", displayName="Primary mirror")
    publisher.publish()
    concelier, excititor = (publisher.tree(side) for side in SIDES)
    for name, file in (
        ("index", concelier / "index.json"),
        ("manifest", concelier / "mirror/primary/manifest.json"),
        ("vex-index", excititor / "mirror/primary/index.json"),
        ("tree", concelier / "mirror/primary/tree.json"),
        ("tree", excititor / "mirror/primary/tree.json"),
        ("domains", concelier / "mirror/primary/domains.json"),
        ("domains", excititor / "mirror/primary/domains.json"),
    ):
        schema = json.loads((ROOT / f"schemas/mirror-{name}.schema.json").read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        validator.validate(json.loads(file.read_bytes()))


def test_a_domain_that_is_gone_is_said_to_be_given_up_for_ever_and_none_is_named(
    publisher: Publisher,
) -> None:
    def told(side: Side = "concelier", domain: str = "primary") -> DomainList:
        data = (publisher.tree(side) / f"mirror/{domain}/{domain_list.FILE}").read_bytes()
        assert not any(name in data for name in (b"primary", b"second"))
        return domain_list.parse(data, side, publisher.id_of(side))

    publisher.domain("primary")
    publisher.domain("second", advisories={"formats": []})
    publisher.publish()
    assert (told().has("second"), told().gave_up("second"), told().has("third")) == (True, False, False)
    assert told("concelier", "second") == told()
    first = publisher.id_of()
    # A release before the record has published it: the tree in force says so.
    with publisher.local.service_engine.begin() as connection:
        connection.execute(delete(mirror_offered))
    publisher.local.mirror_domains.delete("default", "second")
    publisher.publish()
    assert (told().has("second"), told().gave_up("second")) == (False, True)
    assert told("excititor").gave_up("second")
    gone = publisher.id_of()
    assert gone != first
    publisher.publish()
    assert publisher.id_of() == gone
    publisher.take({"right.json": {**RIGHT, "summary": "another word"}}, "ghsa")
    publisher.publish()
    assert (publisher.id_of() != gone, told().gave_up("second"), told().gave_up("third")) == (
        True,
        True,
        False,
    )
    publisher.domain("second")
    publisher.publish()
    assert (told().has("second"), told().gave_up("second")) == (True, False)


def test_a_domain_may_be_signed_by_another_key_than_the_tenants_active_one(publisher: Publisher) -> None:
    first = publisher.key()
    manage_keys.create_key(publisher.local.keys, "default", now=datetime.now(UTC))
    publisher.domain("primary", keyRef=first.key_id)
    publisher.domain("second")
    publisher.publish()
    root, active = publisher.root.root, publisher.key()
    assert active.key_id != first.key_id
    for domain, key in (("primary", first), ("second", active)):
        follow(root, domain, key)
        assert (publisher.tree() / f"mirror/{domain}/mirror-key.pub").read_bytes() == key.pem()
        assert statement(root, "excititor", domain, key).profile == f"mirror/excititor/{domain}"
    with pytest.raises(BadSignature):
        follow(root, "primary", active)
