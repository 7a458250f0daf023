"""Runs: submitted, listed, replayed, deleted, compared; snapshots; what a bundle of raw data holds."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from stellaops.exports.plan_run import PROJECTIONS
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import unpack

# A Java database holds no advisory, and a delta has its own tests.
OF_ADVISORIES = sorted(PROJECTIONS.keys() - {"trivy:java-db", "mirror:delta"})


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    store = Stella(tmp_path / "data")
    store.take(tmp_path / "one", "ghsa", left("1.0.0"), right())
    return store


def left(fixed: str, **more: Any) -> dict[str, Any]:
    return osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until(fixed)), **more)


def right() -> dict[str, Any]:
    return osv("GHSA-bbbb-bbbb-bbbb", package("PyPI", "right", *until("2.0")), aliases=["CVE-2026-1001"])


def files(bundle: Path) -> dict[str, str]:
    return {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def lines(bundle: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(bundle.glob(pattern)):
        for line in zstd.decompress(path.read_bytes()).splitlines():
            yield json.loads(line)


# ---- records of runs


@pytest.mark.parametrize("profile", OF_ADVISORIES)
def test_what_a_run_answers_is_what_is_promised(profile: str, stella: Stella) -> None:
    run = stella.submit(profile, "--wait")
    promised = {
        "runId", "exportId", "status", "errorCode", "degraded", "targets", "profile", "snapshot", "rerunHash",
        "artifacts", "signatures", "durations",
    }  # fmt: skip
    assert promised <= set(run)
    assert run == stella("export", "run", "show", run["runId"])
    assert run["snapshot"]["sequence"] == 2
    assert list(run["durations"]) == [
        "plan", "collect", "build", "sign", "pack", "verify", "smoke", "store", "gate", "publish", "distribute",
    ]  # fmt: skip
    assert all(check["status"] in ("ok", "skipped", "warning") for check in run["checks"])
    bundle = stella.bundle(run)
    held = files(bundle)
    shown = {Path(artifact["path"]).relative_to(bundle).as_posix(): artifact for artifact in run["artifacts"]}
    signatures = {path for path in held if path.startswith("signatures/") or path.endswith(".sig")}
    assert set(shown) == held.keys() - signatures
    for path, artifact in shown.items():
        assert artifact["sha256"] == f"sha256:{held[path]}"
        assert artifact["bytes"] == (bundle / path).stat().st_size
        assert artifact["name"] == path.rpartition("/")[2]
    assert set(run["signatures"]) == signatures


def test_runs_are_listed_newest_first_and_narrowed(stella: Stella) -> None:
    first, second = stella.submit("json:raw"), stella.submit("trivy:db")
    words = ("export", "run", "submit", "--profile", "json:raw", "--selectors", "sources=nobody")
    stella.refused(2, "ERR_EXPORT_EMPTY", *words)
    runs = stella("export", "run", "list")
    assert [run["status"] for run in runs] == ["failed", "succeeded", "succeeded"]
    assert [run["runId"] for run in runs[1:]] == [second["runId"], first["runId"]]
    assert len(stella("export", "run", "list", "--profile", "json:raw")) == 2
    assert len(stella("export", "run", "list", "--status", "failed")) == 1
    assert [run["runId"] for run in stella("export", "run", "list", "--latest")] == [runs[0]["runId"]]


def test_latest_means_the_newest_that_succeeded_of_all_or_of_a_profile(stella: Stella) -> None:
    stella.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "run", "show", "latest")
    first, second = stella.submit("json:raw"), stella.submit("trivy:db")
    assert stella("export", "run", "show", "latest")["runId"] == second["runId"]
    assert stella("export", "run", "show", "latest:json:raw")["runId"] == first["runId"]
    assert stella("export", "verify", "latest:json:raw")["exportId"] == first["exportId"]
    stella.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "run", "show", "latest:none")


def test_runs_and_keys_of_another_tenant_are_not_found(stella: Stella, tmp_path: Path) -> None:
    run, rival = stella.submit("json:raw"), stella.of_tenant("rival")
    assert rival("export", "run", "list") == []
    for words in (
        ("run", "show", run["runId"]), ("run", "show", "latest"), ("run", "replay", run["runId"]),
        ("run", "delete", run["runId"]), ("verify", run["runId"]),
        ("download", run["runId"], "--to", str(tmp_path / "out")), ("diff", run["runId"], run["runId"]),
    ):  # fmt: skip
        rival.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", *words)
    own = rival.submit("json:raw")
    manifests = [json.loads((stella.bundle(each) / "export.json").read_bytes()) for each in (run, own)]
    assert [manifest["tenant"] for manifest in manifests] == ["default", "rival"]
    assert manifests[0]["contents"] == manifests[1]["contents"]
    # The evidence is shared, the trust is not.
    answer = rival.ask("export", "verify", str(stella.bundle(run)))
    assert answer.code == 6


def test_the_same_state_is_one_bundle_however_often_it_is_cut(stella: Stella) -> None:
    first = stella.submit("json:raw")
    before = files(stella.bundle(first))
    second = stella.submit("json:raw")
    assert (second["exportId"], second["archiveId"]) == (first["exportId"], first["archiveId"])
    assert second["runId"] != first["runId"]
    assert files(stella.bundle(second)) == before


def test_a_bundle_stays_while_another_run_has_it(stella: Stella) -> None:
    first, second = stella.submit("json:raw"), stella.submit("json:raw")
    bundle = stella.bundle(first)
    assert stella("export", "run", "delete", first["runId"], "--dry-run")["removed"]
    assert stella("export", "run", "show", first["runId"])["status"] == "succeeded"
    assert stella("export", "run", "delete", first["runId"])["removed"] == [f"run {first['runId']}"]
    assert bundle.is_dir()
    removed = stella("export", "run", "delete", second["runId"])["removed"]
    assert removed[1:] == [f"bundle {first['exportId']}/{first['archiveId']}"]
    assert not bundle.parent.exists()
    assert stella("export", "run", "list") == []


def test_a_key_that_follows_signs_the_same_bundle_anew(stella: Stella) -> None:
    first = stella.submit("json:raw")
    before = files(stella.bundle(first))
    stella("authority", "key", "rotate")
    second = stella.submit("json:raw")
    after = files(stella.bundle(second))
    assert stella.bundle(first) == stella.bundle(second)
    assert {path for path in before if before[path] != after[path]} == {
        path for path in before if path.startswith("signatures/")
    }
    assert stella("export", "verify", second["runId"])["verdict"] == "ok"


@pytest.mark.parametrize(
    ("update", "expected"), [("90m", "04:34:05"), ("24h", "03:04:05"), ("7d", "03:04:05")]
)
def test_a_profile_says_when_scanners_look_for_a_newer_database(
    update: str, expected: str, stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "slow.json"
    wire = {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "slow"},
        "spec": {"kind": "trivy", "variant": "db", "nextUpdate": update, "smoke": "off"},
    }  # fmt: skip
    file.write_text(json.dumps(wire), encoding="utf-8")
    stella("export", "profile", "create", str(file))
    archive = stella.bundle(stella.submit("slow")) / "trivy" / "db.bundle"
    unpack(archive, tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_bytes())
    days = {"90m": 2, "24h": 3, "7d": 9}
    assert metadata == {
        "Version": 2,
        "UpdatedAt": "2026-01-02T03:04:05Z",
        "NextUpdate": f"2026-01-{days[update]:02d}T{expected}Z",
        "DownloadedAt": "0001-01-01T00:00:00Z",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metadata.json", "trivy.db"]


# ---- replay, snapshots


@pytest.mark.parametrize("profile", OF_ADVISORIES)
def test_an_older_snapshot_gives_the_same_bytes_after_later_imports(
    profile: str, stella: Stella, tmp_path: Path
) -> None:
    first = stella.submit(profile)
    before = files(stella.bundle(first))
    stella.take(
        tmp_path / "two", "ghsa", left("1.5.0"), osv("GHSA-cccc-cccc-cccc", package("npm", "x", *until("9")))
    )
    newest = stella.submit(profile)
    assert newest["exportId"] != first["exportId"]
    stella("export", "run", "delete", first["runId"])
    for run in (
        stella.submit(profile, "--snapshot", str(first["snapshot"]["sequence"])),
        stella("export", "run", "replay", newest["runId"]),
    ):
        same = first if run["snapshot"]["sequence"] == 2 else newest
        assert run["exportId"] == same["exportId"]
        assert run["rerunHash"] == same["rerunHash"]
    again = stella.submit(profile, "--snapshot", "2")
    assert files(stella.bundle(again)) == before


def test_a_snapshot_that_is_not_there_is_told(stella: Stella) -> None:
    for number in ("99", "-1"):
        error = stella.refused(
            2,
            "ERR_EXPORT_SNAPSHOT_UNKNOWN",
            "export",
            "run",
            "submit",
            "--profile",
            "json:raw",
            "--snapshot",
            number,
        )
        assert "the newest is 2" in error
    stella.refused(
        2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "json:raw", "--snapshot", "0"
    )


def test_a_replay_is_the_same_run_again_and_with_latest_the_same_recipe(
    stella: Stella, tmp_path: Path
) -> None:
    first = stella.submit("json:raw", "--selectors", "ecosystems=npm")
    stella.take(tmp_path / "two", "ghsa", left("1.5.0"))
    replayed = stella("export", "run", "replay", first["runId"])
    assert replayed["replayOf"] == first["runId"]
    assert [replayed[name] for name in ("exportId", "archiveId", "snapshot", "selectors")] == [
        first[name] for name in ("exportId", "archiveId", "snapshot", "selectors")
    ]
    newest = stella("export", "run", "replay", first["runId"], "--latest")
    assert newest["snapshot"]["sequence"] == 3
    assert newest["selectors"] == first["selectors"]
    assert newest["exportId"] != first["exportId"]


def test_a_replay_takes_the_profile_as_it_was_and_only_the_selectors_of_the_run(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "mine.json"
    wire: dict[str, Any] = {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "mine"},
        "spec": {
            "kind": "json", "variant": "raw",
            "selectors": {"severityAtLeast": "high", "severityUnknown": "drop", "tlpAtMost": "RED"},
        },
    }  # fmt: skip
    file.write_text(json.dumps(wire), encoding="utf-8")
    stella("export", "profile", "create", str(file))
    # The request takes back what the profile asks for; nothing of it may come back with the replay.
    first = stella.submit("mine", "--selectors", "severityUnknown=keep,tlpAtMost=CLEAR")
    assert first["selectors"] == {"severityAtLeast": "high"}
    file.write_text(json.dumps(wire | {"spec": {**wire["spec"], "selectors": {}}}), encoding="utf-8")
    stella("export", "profile", "update", str(file), "--reason", "wider")
    replayed = stella("export", "run", "replay", first["runId"])
    assert replayed["profileRevision"] == first["profileRevision"] == "r1"
    assert replayed["selectors"] == first["selectors"]
    assert replayed["exportId"] == first["exportId"]
    stella("export", "profile", "delete", "mine")
    stella.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "run", "replay", first["runId"])


def test_a_failed_run_for_nothing_fails_again_when_it_is_replayed(stella: Stella) -> None:
    words = ("export", "run", "submit", "--profile", "json:raw", "--selectors", "sources=nobody")
    stella.refused(2, "ERR_EXPORT_EMPTY", *words)
    (failed,) = stella("export", "run", "list")
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "replay", failed["runId"])
    stella.refused(5, "ERR_EXPORT_BUNDLE_GONE", "export", "verify", failed["runId"])


def test_an_import_that_is_not_finished_holds_exports_back(stella: Stella) -> None:
    connection = sqlite3.connect(stella.data_dir / "evidence.db")
    with connection:
        connection.execute("UPDATE job SET state = 'applying' WHERE id = (SELECT max(id) FROM job)")
        connection.execute("UPDATE source SET complete = 0")
    for profile in sorted(PROJECTIONS.keys() - {"mirror:delta"}):
        error = stella.refused(10, "ERR_EXPORT_GATE", "export", "run", "submit", "--profile", profile)
        assert "an import into ghsa is not finished" in error
        assert stella("export", "run", "list", "--latest")[0]["errorCode"] == "gate"
    with connection:
        connection.execute("UPDATE job SET state = 'staging'")
    stella.refused(10, "ERR_EXPORT_GATE", "export", "plan", "--profile", "json:raw")
    with connection:  # a later import that only stages shows nothing yet
        connection.execute("UPDATE source SET complete = 1")
    connection.close()
    stella.submit("json:raw")


# ---- download, diff, plan


def test_a_download_is_the_bundle_and_only_into_an_empty_place(stella: Stella, tmp_path: Path) -> None:
    run = stella.submit("trivy:db")
    target = tmp_path / "deep" / "out"
    stella("export", "download", run["runId"], "--to", str(target))
    assert files(target) == files(stella.bundle(run))
    assert stella("export", "verify", str(target))["verdict"] == "ok"
    (tmp_path / "empty").mkdir()
    stella("export", "download", "latest", "--to", str(tmp_path / "empty"))
    stella.refused(2, "ERR_TARGET_EXISTS", "export", "download", "latest", "--to", str(target))
    (tmp_path / "file").write_text("x", encoding="utf-8")
    stella.refused(2, "ERR_TARGET_EXISTS", "export", "download", "latest", "--to", str(tmp_path / "file"))
    assert not list(tmp_path.rglob("*.partial-*"))


@pytest.mark.parametrize("profile", OF_ADVISORIES)
def test_a_diff_names_what_was_added_removed_and_changed(
    profile: str, stella: Stella, tmp_path: Path
) -> None:
    first = stella.submit(profile)
    stella.take(
        tmp_path / "two", "ghsa", left("1.5.0"), osv("GHSA-cccc-cccc-cccc", package("npm", "left", *until("9.0.0"))),
        more=("--prune",),
    )  # fmt: skip
    second = stella.submit(profile)
    found = stella("export", "diff", first["runId"], str(stella.bundle(second)))
    changes = {(change["change"], change["what"]) for change in found["changes"]}
    if profile.startswith(("json:", "mirror:")):
        assert changes == {
            ("changed", "ghsa GHSA-aaaa-aaaa-aaaa"), ("removed", "ghsa GHSA-bbbb-bbbb-bbbb"),
            ("added", "ghsa GHSA-cccc-cccc-cccc"),
        }  # fmt: skip
    else:
        bucket = "npm::GitHub Security Advisory npm"
        assert ("changed", f"{bucket} left GHSA-aaaa-aaaa-aaaa") in changes
        assert ("added", f"{bucket} left GHSA-cccc-cccc-cccc") in changes
        assert ("removed", "pip::GitHub Security Advisory pip right CVE-2026-1001") in changes
        assert ("removed", "vulnerability CVE-2026-1001") in changes
    words = ("added", "changed", "withdrawn", "removed")
    content = next(iter(found["contents"].values()))
    assert [found[word] for word in words] == [
        sum(change["change"] == word for change in found["changes"]) for word in words
    ]
    assert sum(content["packages"].get("left" if profile == "trivy:db" else "pkg:npm/left", {}).values()) == 2
    assert stella("export", "diff", first["runId"], first["runId"])["changes"] == []
    other = stella.submit("trivy:db" if profile == "json:raw" else "json:raw")
    stella.refused(2, "ERR_EXPORT_NOT_COMPARABLE", "export", "diff", first["runId"], other["runId"])
    stella.refused(
        2, "ERR_EXPORT_NOT_COMPARABLE", "export", "diff", str(tmp_path / "one"), str(tmp_path / "two")
    )


def test_a_plan_tells_beforehand_what_the_run_then_says(stella: Stella) -> None:
    plan = stella("export", "plan", "--profile", "json:raw", "--selectors", "ecosystems=npm")
    run = stella.submit("json:raw", "--selectors", "ecosystems=npm")
    manifest = json.loads((stella.bundle(run) / "export.json").read_bytes())
    assert plan["snapshot"] == run["snapshot"]
    assert plan["generatedAt"] == manifest["generatedAt"]
    records = {content["path"]: content["records"] for content in manifest["contents"]}
    assert plan["records"] == records["data/raw/advisories"] == 1
    assert records["data/raw/vex"] == records["data/consensus/vex_consensus"] == 0
    assert plan["sources"] == [source["name"] for source in manifest["sources"]] == ["ghsa"]


# ---- what a bundle of raw data holds


def test_raw_data_are_the_documents_of_the_store_digest_by_digest(stella: Stella, tmp_path: Path) -> None:
    odd = '{"id":"GHSA-dddd-dddd-dddd","modified":"2026-01-01T00:00:00Z","affected":[],"n":12345678901234567890}'
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd.json").write_text(odd, encoding="utf-8")
    stella("concelier", "import", str(tmp_path / "odd"), "--source", "odd")
    bundle = stella.bundle(stella.submit("json:raw"))
    rows = {row["key"]: row for row in lines(bundle, "data/raw/advisories/*.jsonl.zst")}
    assert sorted(rows) == ["GHSA-aaaa-aaaa-aaaa", "GHSA-bbbb-bbbb-bbbb", "GHSA-dddd-dddd-dddd"]
    for key, row in rows.items():
        (stored,) = stella("concelier", "show", key)
        assert (row["digest"], row["rawDigest"]) == (stored["digest"], stored["rawDigest"])
        if "verbatim" in row:
            assert base64.b64decode(row["verbatim"]) == odd.encode()
            assert row["digest"] == f"sha256:{hashlib.sha256(odd.encode()).hexdigest()}"
        else:
            assert row["document"] == stored["document"]
    assert [key for key, row in rows.items() if "verbatim" in row] == ["GHSA-dddd-dddd-dddd"]


def test_index_rows_tell_what_to_find_a_document_by(stella: Stella) -> None:
    bundle = stella.bundle(stella.submit("json:raw"))
    rows = {row["key"]: row for row in lines(bundle, "indexes/*.zst")}
    row = rows["GHSA-bbbb-bbbb-bbbb"]
    assert row["aliases"] == ["CVE-2026-1001"]
    assert row["ecosystems"] == ["PyPI"]
    assert row["packages"] == ["pkg:pypi/right"]
    assert (row["modified"], row["withdrawn"], row["severity"]) == ("2026-01-02T03:04:05Z", None, "UNKNOWN")
    assert {row["digest"] for row in rows.values()} == {
        row["digest"] for row in lines(bundle, "data/raw/advisories/*.zst")
    }


def test_withdrawn_documents_travel_as_data_and_stay_out_of_the_scanners_database(
    stella: Stella, tmp_path: Path
) -> None:
    stella.take(tmp_path / "two", "ghsa", left("1.0.0", withdrawn="2026-02-01T00:00:00Z"))
    raw = stella.bundle(stella.submit("json:raw"))
    assert {row["key"]: bool(row["withdrawn"]) for row in lines(raw, "indexes/*.zst")} == {
        "GHSA-aaaa-aaaa-aaaa": True, "GHSA-bbbb-bbbb-bbbb": False,
    }  # fmt: skip
    manifest = json.loads((stella.bundle(stella.submit("trivy:db")) / "export.json").read_bytes())
    assert {content["path"]: content["records"] for content in manifest["contents"]}["trivy/db.bundle"] == 1
