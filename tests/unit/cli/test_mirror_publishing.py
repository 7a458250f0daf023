"""`stella mirror init|domains|publish|status`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.mirrors import read_mirror_host
from stellaops.bootstrap import Local
from tests.support.publishing import BOTH
from tests.unit.cli.running import Stella


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    store = Stella(tmp_path / "data")
    store.take(tmp_path / "in", "ghsa", *BOTH.values())
    return store


def test_a_mirror_is_defined_published_and_looked_at(stella: Stella, tmp_path: Path) -> None:
    made = stella("mirror", "init", "primary", "--display-name", "Primary", "--max-download-requests", "50")
    assert made["domains"][0]["quotas"] == {"maxDownloadRequestsPerHour": 50}
    pairs = ("--selectors", "ecosystems=PyPI", "--formats", "osv,json", "--cadence", "6h")
    stella("mirror", "init", "community", "--open", *pairs)
    place = tmp_path / "served"
    published = stella("mirror", "publish", "--to", str(place))
    assert [(each["side"], each["domain"], each["changed"]) for each in published] == [
        ("concelier", "community", True),
        ("concelier", "primary", True),
        ("excititor", "community", True),
        ("excititor", "primary", True),
    ]
    index = json.loads((place / "concelier/latest/index.json").read_bytes())
    assert {each["id"]: each["advisories"] for each in index["domains"]} == {"community": 1, "primary": 2}
    assert sorted(each.name for each in (place / "concelier/latest/osv").iterdir()) == [
        "community",
        "primary",
    ]
    assert not (place / "concelier/latest/oci/community").exists()
    standing = stella("mirror", "status", "--to", str(place))
    assert {(each["exportId"], each["inForce"], each["behind"]) for each in standing} == {
        (each["exportId"], True, 0) for each in published
    }
    assert all(0 <= each["lagSeconds"] < 600 for each in standing)
    elsewhere = stella("mirror", "status")
    assert {(each["exportId"], each["inForce"]) for each in elsewhere} == {(None, False)}


def test_a_host_that_syncs_tells_when_it_did_and_how_old_what_it_holds_is(
    stella: Stella, tmp_path: Path
) -> None:
    stella("mirror", "init", "primary", "--formats", "osv,json")
    stella("mirror", "publish")
    key, host, published = tmp_path / "key.pub", tmp_path / "host", tmp_path / "data" / "mirrors"
    key.write_text(stella.ask("authority", "key", "export-public").out, encoding="utf-8")
    command = ("mirror", "sync", str(published), str(host), "--key", str(key))
    (dry, *_) = stella(*command, "--dry-run")
    assert (dry["syncedAt"], dry["lagSeconds"], dry["dryRun"]) == (None, None, True)
    done = stella(*command)
    assert {(each["side"], each["changed"], each["lagSeconds"]) for each in done} == {
        ("concelier", True, 0),
        ("excititor", True, 0),
    }
    told = stella("mirror", "status", "--to", str(host))
    for each, synced in zip(told, done, strict=True):
        assert (each["domain"], each["exportId"]) == ("primary", synced["exportId"])
        assert each["syncedAt"] == synced["syncedAt"]
        assert 0 <= each["lagSeconds"] <= each["bundleAgeSeconds"] < 600


def test_domains_are_shown_as_they_are_applied(stella: Stella, tmp_path: Path) -> None:
    stella("mirror", "init", "primary")
    shown = stella.ask("mirror", "domains", "show", "primary", "--format", "yaml")
    file = tmp_path / "domains.yaml"
    file.write_text(shown.out, encoding="utf-8")
    assert stella("mirror", "domains", "apply", str(file)) == [{"domain": "primary", "changed": False}]
    file.write_text(shown.out.replace("CLEAR", "GREEN"), encoding="utf-8")
    assert stella("mirror", "domains", "apply", str(file)) == [{"domain": "primary", "changed": True}]
    (listed,) = stella("mirror", "domains", "list")
    assert listed["tlpAtMost"] == "GREEN"
    assert stella("mirror", "domains", "delete", "primary", "--dry-run") == {
        "domain": "primary",
        "removed": False,
    }
    assert stella("mirror", "domains", "delete", "primary")["removed"]
    assert stella("mirror", "domains", "list") == []


def test_what_cannot_be_done_is_refused(stella: Stella) -> None:
    stella.refused(5, "ERR_MIRROR_NO_DOMAINS", "mirror", "publish")
    stella.refused(4, "ERR_MIRROR_DOMAIN_NOT_FOUND", "mirror", "domains", "show", "primary")
    stella.refused(2, "ERR_MIRROR_INVALID_DOMAIN", "mirror", "init", "No good")
    stella.refused(2, "ERR_MIRROR_INVALID_DOMAIN", "mirror", "init", "a", "--formats", "pdf")
    stella("mirror", "init", "primary", "--selectors", "ids=CVE-1999-0001")
    stella.refused(2, "ERR_MIRROR_DOMAIN_TAKEN", "mirror", "init", "primary")
    stella.of_tenant("other").refused(2, "ERR_MIRROR_DOMAIN_TAKEN", "mirror", "init", "primary")
    stella.refused(2, "ERR_MIRROR_EMPTY", "mirror", "publish")
    stella.refused(2, "ERR_OBJECT_STORE_ADDRESS", "mirror", "publish", "--to", "s3://")


def test_a_mirror_host_syncs_with_a_public_key_alone(stella: Stella, tmp_path: Path) -> None:
    stella("mirror", "init", "primary", "--formats", "osv,json")
    stella("mirror", "publish", "--to", str(tmp_path / "served"))
    key = tmp_path / "mirror-key.pub"
    key.write_bytes((tmp_path / "served/concelier/latest/mirror/primary/mirror-key.pub").read_bytes())
    host = Stella(tmp_path / "empty")
    places = (str(tmp_path / "served"), str(tmp_path / "host"))
    host.refused(6, "ERR_NO_TRUSTED_KEY", "mirror", "sync", *places)
    would = host("mirror", "sync", *places, "--key", str(key), "--dry-run")
    assert all(each["dryRun"] and each["files"] for each in would)
    assert not (tmp_path / "host/concelier").exists()
    done = host("mirror", "sync", *places, "--key", str(key))
    assert [(each["side"], each["domain"], each["changed"]) for each in done] == [
        ("concelier", "primary", True),
        ("excititor", "primary", True),
    ]
    assert [each["bytes"] for each in done] == [each["bytes"] for each in would]
    (again,) = host("mirror", "sync", *places, "--key", str(key), "--side", "concelier")
    assert (again["changed"], again["files"], again["exportId"]) == (False, 0, done[0]["exportId"])
    host.refused(
        10,
        "ERR_MIRROR_SOURCE_UNREACHABLE",
        "mirror",
        "sync",
        str(tmp_path / "none"),
        places[1],
        "--key",
        str(key),
    )
    wrong = ("mirror", "sync", *places, "--key", str(key))
    assert "primary" in host.refused(4, "ERR_MIRROR_DOMAIN_NOT_FOUND", *wrong, "--domain", "nope")
    host.refused(2, "ERR_USAGE", *wrong, "--keep", "soon")


def test_a_mirror_host_is_told_of_domains_by_its_settings(stella: Stella) -> None:
    stella("mirror", "init", "community", "--open", "--max-index-requests", "9")
    stella("mirror", "init", "primary", "--display-name", "Our mirror", "--max-download-requests", "50")
    told = stella("mirror", "domains", "settings")
    host = read_mirror_host({}, told)
    for side in host.sides.values():
        assert side.indexes_per_hour == 9  # of what is asked for under no domain's host name
        assert [side.rules(name).indexes_per_hour for name in ("community", "primary")] == [9, 0]
        assert [side.rules(name).require_authentication for name in ("community", "primary")] == [False, True]
        assert side.rules("primary").downloads_per_hour == 50
    assert host.domains["primary"].display_name == "Our mirror"
    lines = stella.ask("mirror", "domains", "settings", "--format", "table").out.splitlines()
    assert dict(line.split("=", 1) for line in lines) == told


def test_changes_of_a_mirror_stand_in_the_audit_log(stella: Stella, tmp_path: Path) -> None:
    stella("mirror", "init", "primary", "--formats", "json")
    file = tmp_path / "domains.json"
    file.write_text(
        json.dumps(stella("mirror", "domains", "show", "primary")).replace("CLEAR", "RED"), "utf-8"
    )
    for _ in range(2):
        stella("mirror", "domains", "apply", str(file))
        stella("mirror", "publish")
    stella("mirror", "domains", "delete", "primary")
    local = Local(settings.load({"dataDir": str(stella.data_dir)}, {}))
    records = [each.change for each in reversed(local.audit.list(["default"]))]
    noted = [each for each in records if each.action.startswith("mirror.")]
    assert [each.action for each in noted] == [
        "mirror.domain.created",
        "mirror.domain.changed",
        "mirror.published",
        "mirror.published",
        "mirror.domain.deleted",
    ]
    created, changed, published, _, deleted = noted
    assert created.target == "mirror-domain/primary"
    assert created.after == changed.before != changed.after == deleted.before
    assert published.target.startswith("mirror/concelier/")
    assert published.details["domains"] == ["primary"]
