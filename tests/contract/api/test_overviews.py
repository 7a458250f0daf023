"""What operators look at: how mirrors stand, where documents land, runs by day."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stellaops.adapters.sql.address import parse_address
from stellaops.adapters.sql.gateway_store import SqlGatewayStore
from stellaops.center.local_mirrors import LocalMirrors
from stellaops.mirrors.domain import read
from tests.support.api import OTHER, Api, api
from tests.support.certificates import certify
from tests.support.gateways import write_users


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api")) as found:
        found.service.fill(20)
        found.tenant(OTHER)
        yield found


def test_a_domain_shows_what_is_published_who_reads_it_and_until_when(
    filled: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors = LocalMirrors(filled.local, "default")
    document = {"id": "primary", "quotas": {"maxDownloadRequestsPerHour": 100}}
    mirrors.create(read(document))
    place = tmp_path / "mirror"
    mirrors.publish(str(place), lambda told: None)
    (shown,) = filled.get("/api/mirror/domains").json()["items"]
    assert (shown["credentials"], shown["certificate"], shown["used"]) == (None, None, None)
    write_users(
        tmp_path / "users", {"edge": "correct-horse"}, {"edge": "recipient: Lyon; issued: 2020-01-01"}
    )
    certify(tmp_path, "mirror", "mirror.example.org", 1)
    for name, value in {
        "CONCELIER__MIRROR__EXPORTROOT": str(place / "concelier"),
        "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": str(place / "excititor"),
        "CONCELIER__MIRROR__DOMAINS__0__ID": "primary",
        "GATEWAY__DOMAINS__0__ID": "primary",
        "GATEWAY__DOMAINS__0__HOSTS__0": "mirror.example.org",
        "GATEWAY__DOMAINS__0__HTPASSWDFILE": str(tmp_path / "users"),
        "GATEWAY__DOMAINS__0__TLSCERTIFICATEFILE": str(tmp_path / "mirror.crt"),
        "GATEWAY__DOMAINS__0__TLSKEYFILE": str(tmp_path / "mirror.key"),
        "GATEWAY__STATEFILE": str(tmp_path / "state.db"),
    }.items():
        monkeypatch.setenv(name, value)
    with closing(SqlGatewayStore(parse_address(str(tmp_path / "state.db")))) as store:
        store.lease("download/primary/edge", int(time.time()) // 3600, 7, 100)
        store.lease("download/community/edge", int(time.time()) // 3600, 9, 100)
    (shown,) = filled.get("/api/mirror/domains").json()["items"]
    sides = {each["side"]: each for each in shown["sides"]}
    assert sides["concelier"]["publishedAt"] is not None
    assert sides["concelier"]["behind"] == 0
    assert [(each["user"], each["recipient"], each["state"]) for each in shown["credentials"]] == [
        ("edge", "Lyon", "old")
    ]
    assert shown["certificate"]["hosts"] == ["mirror.example.org"]
    assert shown["used"] == [{"budget": "download", "reader": "edge", "requests": 7}]
    assert filled.get("/api/mirror/domains", tenants=(OTHER,)).json()["items"] == []


def test_where_documents_land_is_told_by_the_newest_run_of_each_profile(filled: Api) -> None:
    document = {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "none"},
                "spec": {"kind": "json", "variant": "raw", "selectors": {"ecosystems": ["npm"]}}}  # fmt: skip
    filled.post("/api/export/profiles", document)
    run = filled.finished_run("json:raw")
    (found,) = filled.get("/api/export/landings?id=GHSA-0003-ghsa-bbbb").json()["items"]
    assert (found["profile"], found["runId"]) == ("json:raw", run.id)
    assert found["documents"] == ["ghsa/GHSA-0003-ghsa-bbbb"]
    assert filled.get("/api/export/landings?id=CVE-1999-0000").status_code == 404


def test_runs_are_counted_by_day_and_state(filled: Api) -> None:
    filled.finished_run("json:raw")
    (today,) = filled.get("/api/export/statistics?days=3").json()["items"]
    assert today["status"] == "succeeded"
    assert today["runs"] >= 1
    assert filled.get("/api/export/statistics", tenants=(OTHER,)).json()["items"] == []
    assert filled.get("/api/export/statistics?days=0").status_code == 400
