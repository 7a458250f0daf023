"""Stock Trivy recognises jars by our Java database as the list says, and reports what our other database knows."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from stellaops.adapters.scanners.trivy import StockTrivy
from stellaops.bundles.trivy.java_db import JavaSentinel
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import Finding, findings, packages, scan

HEADER = "groupId,artifactId,version,packaging,sha1"


def jar(path: Path, text: str, **files: str) -> str:
    """A jar without any word on what it is; its SHA-1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("org/demo/Demo.class", text)
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def stella(tmp_path: Path, trivy: Path) -> Stella:
    del trivy
    return Stella(tmp_path / "data")


def databases(stella: Stella, cache: Path, rows: Sequence[str]) -> Path:
    """A cache with the Java database of some rows, and a vulnerability database about `org.demo:demo-lib`."""
    listed = cache.parent / "list.csv"
    listed.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    stella("concelier", "import", str(listed), "--source", "central")
    affected = package("Maven", "org.demo:demo-lib", *until("2.0.0"))
    stella.take(cache.parent / "osv", "demo", osv("GHSA-aaaa-bbbb-cccc", affected, aliases=["CVE-2026-0001"]))
    for profile, name in (("trivy:java-db", "java-db.bundle"), ("trivy:db", "db.bundle")):
        root = stella.bundle(stella.submit(profile))
        stella("trivy", "import", str(root / "trivy" / name), "--cache-dir", str(cache))
    return cache


def look(trivy: Path, no_network: tuple[str, ...], cache: Path, target: Path) -> dict[str, object]:
    return scan(no_network, trivy, cache, target, "--list-all-pkgs", "--scanners", "vuln", kind="rootfs")


def test_a_jar_that_does_not_name_itself_is_recognised_by_its_digest_and_its_vulnerability_reported(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    digest = jar(tmp_path / "target" / "renamed.jar", "the code of demo-lib 1.2.3")
    jar(tmp_path / "target" / "stranger.jar", "what no list knows")
    rows = [f"org.demo,demo-lib,1.2.3,jar,{digest.upper()}", f"org.demo,demo-lib,2.0.0,jar,{sha1('2.0.0')}"]
    cache = databases(stella, tmp_path / "cache", rows)
    report = look(trivy, no_network, cache, tmp_path / "target")
    assert packages(report) == {("org.demo:demo-lib", "1.2.3")}
    assert findings(report) == {Finding("org.demo:demo-lib", "1.2.3", "CVE-2026-0001")}


def test_without_the_list_nothing_is_recognised(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    jar(tmp_path / "target" / "renamed.jar", "the code of demo-lib 1.2.3")
    cache = databases(stella, tmp_path / "cache", [f"org.demo,other,1.0,jar,{sha1('other')}"])
    report = look(trivy, no_network, cache, tmp_path / "target")
    assert (packages(report), findings(report)) == (set(), set())


def test_a_jar_inside_a_war_is_recognised(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    digest = jar(tmp_path / "inner.jar", "the code of demo-lib 1.0")
    (tmp_path / "target").mkdir()
    with zipfile.ZipFile(tmp_path / "target" / "app.war", "w") as war:
        war.write(tmp_path / "inner.jar", "WEB-INF/lib/inner.jar")
    cache = databases(stella, tmp_path / "cache", [f"org.demo,demo-lib,1.0,jar,{digest}"])
    report = look(trivy, no_network, cache, tmp_path / "target")
    assert findings(report) == {Finding("org.demo:demo-lib", "1.0", "CVE-2026-0001")}


def test_a_digest_under_several_coordinates_is_the_first_of_them(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    digest = jar(tmp_path / "target" / "x.jar", "relocated")
    rows = [f"org.zz,demo-lib,1.0,jar,{digest}", f"org.demo,demo-lib,1.0,jar,{digest}"]
    cache = databases(stella, tmp_path / "cache", rows)
    assert packages(look(trivy, no_network, cache, tmp_path / "target")) == {("org.demo:demo-lib", "1.0")}


def test_a_name_is_looked_up_where_the_digest_is_not_listed_and_the_most_frequent_group_has_it(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    jar(tmp_path / "target" / "demo-lib-1.2.3.jar", "built again by somebody")
    rows = [
        *(f"org.demo,demo-lib,{version},jar,{sha1(version)}" for version in ("1.2.3", "1.2.4", "1.2.5")),
        f"com.fork,demo-lib,1.2.3,jar,{sha1('fork')}",
    ]
    cache = databases(stella, tmp_path / "cache", rows)
    assert packages(look(trivy, no_network, cache, tmp_path / "target")) == {("org.demo:demo-lib", "1.2.3")}


def test_a_manifest_is_believed_where_the_list_has_the_artefact(
    stella: Stella, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    words = "Manifest-Version: 1.0\nImplementation-Title: demo-lib\nImplementation-Version: 1.9\n"
    manifest = f"{words}Implementation-Vendor-Id: org.demo\n"
    jar(tmp_path / "target" / "x.jar", "with a manifest", **{"META-INF__MANIFEST.MF": manifest})
    cache = databases(stella, tmp_path / "cache", [f"org.demo,demo-lib,1.0,jar,{sha1('1.0')}"])
    assert packages(look(trivy, no_network, cache, tmp_path / "target")) == {("org.demo:demo-lib", "1.9")}


def test_the_smoke_scan_passes_for_a_list_and_finds_what_is_missing(
    stella: Stella, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    del no_network
    listed = tmp_path / "list.csv"
    rows = [f"org.g{number},lib-{number},1.{number},jar,{sha1(str(number))}" for number in range(40)]
    listed.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    stella("concelier", "import", str(listed), "--source", "central")
    run = stella.submit("trivy:java-db")
    assert run["warnings"] == []
    assert run["durations"]["smoke"] > 0.05  # a process was run
    bundle = stella.bundle(run) / "trivy" / "java-db.bundle"
    assert stella("trivy", "smoke", str(bundle))["sentinels"] == 8
    absent = [JavaSentinel("org.g1", "lib-1", "1.1"), JavaSentinel("org.g1", "lib-1", "9.9")]
    told = StockTrivy().unrecognised(bundle, absent, tmp_path)
    assert told == ["lib-1-9.9.jar was not recognised as of org.g1"]
