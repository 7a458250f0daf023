"""`trivy:java-db` from profile to bundle: what it selects, what it refuses, what it leaves alone."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.running import Stella, osv, package, until

HEADER = "groupId,artifactId,version,packaging,sha1,lastModified"


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def row(group: str, artifact: str, version: str = "1.0", modified: str = "") -> str:
    return f"{group},{artifact},{version},jar,{sha1(group + artifact + version)},{modified}"


ROWS = [row("org.a", "one"), row("org.a", "two"), row("org.b", "one", "2.0", "1767322800000")]


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def listed(stella: Stella, rows: Sequence[str] = ROWS, source: str = "central", *more: str) -> Any:
    file = stella.data_dir.parent / f"{source}.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return stella("concelier", "import", str(file), "--source", source, *more)


def artefacts(stella: Stella, run: Any) -> list[str]:
    """The artefacts of a run's database."""
    root = stella.bundle(run)
    with tarfile.open(root / "trivy" / "java-db.bundle", "r:gz") as members:
        assert members.getnames() == ["metadata.json", "trivy-java.db"]
        members.extractall(root.parent / "unpacked", filter="data")
    connection = sqlite3.connect(root.parent / "unpacked" / "trivy-java.db")
    found = connection.execute(
        "SELECT group_id || ':' || a.artifact_id || ':' || version FROM indices i "
        "JOIN artifacts a ON a.id = i.artifact_id ORDER BY 1"
    ).fetchall()
    connection.close()
    return [name for (name,) in found]


def test_every_tenant_has_the_profile_and_its_bundle_verifies(stella: Stella) -> None:
    listed(stella)
    run = stella.submit("trivy:java-db")
    assert artefacts(stella, run) == ["org.a:one:1.0", "org.a:two:1.0", "org.b:one:2.0"]
    verified = stella("export", "verify", run["runId"])
    assert verified["verdict"] == "ok"
    done = {check["name"]: check["status"] for check in verified["checks"]}
    assert {done[f"java-{name}"] for name in ("metadata", "database", "sentinels")} == {"ok"}
    assert {done[f"trivy-{name}"] for name in ("metadata", "database", "sentinels")} == {"skipped"}
    assert "signatures/trivy-java-db.sig" in run["signatures"]
    other = stella.of_tenant("acme").submit("trivy:java-db")
    assert artefacts(stella, other) == artefacts(stella, run)


def test_the_manifest_names_content_projection_and_tools(stella: Stella) -> None:
    listed(stella)
    root = stella.bundle(stella.submit("trivy:java-db"))
    manifest = json.loads((root / "export.json").read_bytes())
    assert manifest["profile"] == {"kind": "trivy", "name": "trivy:java-db", "variant": "java-db"}
    assert manifest["projections"] == {"java": 1}
    assert manifest["generatedAt"] == "2026-01-02T03:00:00Z"
    assert [(each["path"], each["records"]) for each in manifest["contents"]] == [
        ("trivy/java-db.bundle", 3),
        ("trivy/java-sentinels.json", 3),
    ]
    tools = json.loads((root / "files.json").read_bytes())["toolchain"]
    assert {"sqlite", "deflate", "gzip"} <= tools.keys()
    assert "trivy/java-db.bundle" in (root / "README.md").read_text(encoding="ascii")
    unpacked = gzip.decompress((root / "trivy" / "java-db.bundle").read_bytes())
    assert b'"NextUpdate":"2026-01-05T03:00:00Z"' in unpacked
    assert b'"Version":1' in unpacked


def test_artefacts_and_advisories_do_not_mix(stella: Stella, tmp_path: Path) -> None:
    affected = package("Maven", "org.a:one", *until("2.0"))
    stella.take(tmp_path / "osv", "demo", osv("GHSA-1", affected, aliases=["CVE-2026-0001"]))
    before = [stella.submit(profile)["exportId"] for profile in ("json:raw", "trivy:db")]
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "trivy:java-db")
    listed(stella)
    assert [stella.submit(profile)["exportId"] for profile in ("json:raw", "trivy:db")] == before
    run = stella.submit("trivy:java-db")
    manifest = json.loads((stella.bundle(run) / "export.json").read_bytes())
    assert [source["name"] for source in manifest["sources"]] == ["central"]
    words = ("export", "run", "submit", "--profile", "json:raw", "--selectors", "sources=central")
    stella.refused(2, "ERR_EXPORT_EMPTY", *words)


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ("packages=pkg:maven/org.a/one", ["org.a:one:1.0"]),
        ("sources=second", ["org.c:three:1.0"]),
        ("ecosystems=Maven,sources=central", ["org.a:one:1.0", "org.a:two:1.0", "org.b:one:2.0"]),
        (f"ids=org.a:two:1.0:jar:{sha1('org.atwo1.0')}", ["org.a:two:1.0"]),
    ],
)
def test_selectors_choose_artefacts(stella: Stella, selectors: str, expected: list[str]) -> None:
    listed(stella)
    listed(stella, [row("org.c", "three")], "second")
    assert artefacts(stella, stella.submit("trivy:java-db", "--selectors", selectors)) == expected
    words = ("export", "run", "submit", "--profile", "trivy:java-db", "--selectors", "ecosystems=npm")
    stella.refused(2, "ERR_EXPORT_EMPTY", *words)


def test_nothing_listed_is_an_empty_export_that_must_be_meant(stella: Stella) -> None:
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "trivy:java-db")
    run = stella.submit("trivy:java-db", "--allow-empty")
    assert artefacts(stella, run) == []
    assert run["warnings"] == ["no jar of the list can be told by its name alone: there is no sentinel"]


def test_what_two_sources_list_stands_once(stella: Stella) -> None:
    listed(stella)
    listed(stella, ROWS, "second")
    assert len(artefacts(stella, stella.submit("trivy:java-db"))) == 3


def test_a_pruned_artefact_leaves_the_database_and_the_old_snapshot_keeps_it(stella: Stella) -> None:
    first = listed(stella)
    report = listed(stella, ROWS[1:], "central", "--prune")
    assert report["vanished"] == 1
    assert artefacts(stella, stella.submit("trivy:java-db")) == ["org.a:two:1.0", "org.b:one:2.0"]
    old = stella.submit("trivy:java-db", "--snapshot", str(first["sequence"]))
    assert len(artefacts(stella, old)) == 3


def profile(**spec: Any) -> str:
    wire = {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": "mine"},
        "spec": {"kind": "trivy", "variant": "java-db", **spec},
    }
    return yaml.safe_dump(wire)


@pytest.mark.parametrize("version", [0, 2, 3])
def test_another_schema_than_1_is_refused(stella: Stella, tmp_path: Path, version: int) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(profile(schemaVersion=version), encoding="utf-8")
    stella.refused(2, "ERR_EXPORT_UNSUPPORTED_SCHEMA", "export", "profile", "create", str(file))


def test_a_profile_of_its_own_may_pin_the_schema_and_set_the_next_update(
    stella: Stella, tmp_path: Path
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(profile(schemaVersion=1, nextUpdate="7d"), encoding="utf-8")
    stella("export", "profile", "create", str(file))
    listed(stella)
    root = stella.bundle(stella.submit("mine"))
    assert b'"NextUpdate":"2026-01-09T03:00:00Z"' in gzip.decompress(
        (root / "trivy" / "java-db.bundle").read_bytes()
    )


def test_the_difference_of_two_exports_names_artefacts(stella: Stella) -> None:
    listed(stella)
    first = stella.submit("trivy:java-db")
    listed(stella, [*ROWS, row("org.c", "three")])
    second = stella.submit("trivy:java-db")
    changes = stella("export", "diff", first["runId"], second["runId"])["changes"]
    assert {name: changes[0][name] for name in ("content", "change", "what")} == {
        "content": "trivy/java-db.bundle",
        "change": "added",
        "what": f"org.c three 1.0 jar {sha1('org.cthree1.0')}",
    }


def test_two_stores_filled_from_unlike_lists_export_the_same_bytes(tmp_path: Path) -> None:
    """Another form, another order, another time zone: the digest of the source's rows is what counts."""
    one, two = Stella(tmp_path / "one" / "data"), Stella(tmp_path / "two" / "data")
    for each in (one, two):
        each.data_dir.parent.mkdir()
    listed(one)
    one("authority", "key", "create")
    listed(two, list(reversed(ROWS)))
    for name in ("keys", "tenants"):
        shutil.copytree(one.data_dir / name, two.data_dir / name)
    roots = [each.bundle(each.submit("trivy:java-db")) for each in (one, two)]
    files = [
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in roots
    ]
    assert files[0] == files[1]


def test_the_database_is_put_into_a_cache_beside_the_other(stella: Stella, tmp_path: Path) -> None:
    listed(stella)
    root = stella.bundle(stella.submit("trivy:java-db"))
    cache = tmp_path / "cache"
    (cache / "db").mkdir(parents=True)
    (cache / "db" / "trivy.db").write_bytes(b"the other one")
    done = stella("trivy", "import", str(root / "trivy" / "java-db.bundle"), "--cache-dir", str(cache))
    assert done["database"] == str(cache / "java-db" / "trivy-java.db")
    metadata = json.loads((cache / "java-db" / "metadata.json").read_bytes())
    assert metadata["Version"] == 1
    assert metadata["DownloadedAt"] > "2020"
    assert (cache / "db" / "trivy.db").read_bytes() == b"the other one"
    assert sorted(path.name for path in cache.iterdir()) == ["db", "java-db"]


def test_a_changed_database_is_not_put_into_a_cache(stella: Stella, tmp_path: Path) -> None:
    listed(stella)
    root = stella.bundle(stella.submit("trivy:java-db"))
    copied = tmp_path / "copied"
    shutil.copytree(root, copied)
    bundle = copied / "trivy" / "java-db.bundle"
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    stella.refused(
        6, "ERR_EXPORT_VERIFY", "trivy", "import", str(bundle), "--cache-dir", str(tmp_path / "cache")
    )
    assert not (tmp_path / "cache").exists()
    key = str(stella.data_dir / "tenants" / "default" / "export-center.pub")
    alone = Path(shutil.copyfile(root / "trivy" / "java-db.bundle", tmp_path / "alone.bundle"))
    signature = str(root / "signatures" / "trivy-java-db.sig")
    words = ("trivy", "import", str(alone), "--cache-dir", str(tmp_path / "cache"), "--key", key)
    stella(*words, "--signature", signature)
    assert (tmp_path / "cache" / "java-db" / "trivy-java.db").exists()
    other = str(root / "signatures" / "export.sig")
    stella.refused(6, "ERR_TRIVY_BUNDLE_NOT_TRUSTED", *words, "--signature", other)
