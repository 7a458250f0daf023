"""Mirror bundles as runs make them, and everything that they and bundles of rows can include."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.unit.cli.running import Stella, call, osv, package, until
from tests.unit.kit.small_mirror import unpacked

EVERYTHING = ["advisories", "vex", "sboms", "findings", "upstream", "normalized", "trivy", "vex-repository"]
BOM = {
    "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
    "metadata": {"component": {"type": "container", "name": "shop", "purl": "pkg:oci/shop@1"}},
    "components": [{"type": "library", "name": "left", "version": "0.9", "purl": "pkg:npm/left@0.9"}],
}  # fmt: skip
VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/1", "author": "Acme",
    "timestamp": "2026-01-01T00:00:00Z", "version": 1,
    "statements": [{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:npm/left@0.9"}],
                    "status": "not_affected", "justification": "component_not_present"}],
}  # fmt: skip


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    store = Stella(tmp_path / "data")
    store.take(
        tmp_path / "one",
        "ghsa",
        osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.0.0")), aliases=["CVE-2026-1000"]),
        osv("GHSA-bbbb-bbbb-bbbb", package("PyPI", "right", *until("2.0"))),
    )
    write(tmp_path / "vex" / "a.openvex.json", VEX)
    store("excititor", "import", str(tmp_path / "vex"), "--source", "acme")
    write(tmp_path / "sboms" / "a.cdx.json", BOM)
    write(tmp_path / "sboms" / "b.cdx.json", {**BOM, "version": 2})
    store("evidence", "sbom", "import", str(tmp_path / "sboms"))
    return store


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def profile(stella: Stella, include: list[str], kind: str = "mirror:full", **more: Any) -> str:
    """A stored profile; its name."""
    name = f"of-{'-'.join(include)}"[:60]
    first, _, variant = kind.partition(":")
    spec = {"kind": first, "variant": variant, "include": include, "smoke": "off", **more}
    write(
        stella.data_dir / "profile.json",
        {
            "apiVersion": "stellaops.io/export.v1",
            "kind": "ExportProfile",
            "metadata": {"name": name},
            "spec": spec,
        },
    )
    stella("export", "profile", "create", str(stella.data_dir / "profile.json"))
    return name


def archive_of(stella: Stella, run: dict[str, Any]) -> Path:
    return stella.bundle(run) / str(run["artifacts"][0]["path"]).rpartition("/")[2]


def unpack(archive: Path, target: Path) -> Path:
    """The bundle root inside, as stock tools unpack it."""
    target.mkdir()
    (target / "x.tar").write_bytes(unpacked(archive.read_bytes()))
    with tarfile.open(target / "x.tar") as tar:
        tar.extractall(target, filter="data")
    return target / "mirror"


def lines(root: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(root.glob(pattern)):
        for line in zstd.decompress(path.read_bytes()).splitlines():
            yield json.loads(line)


def contents(root: Path) -> list[str]:
    return [content["path"] for content in json.loads((root / "export.json").read_bytes())["contents"]]


def test_a_full_mirror_is_one_archive_with_its_signed_digest(stella: Stella, tmp_path: Path) -> None:
    run = stella.submit("mirror:full")
    names = sorted(path.name for path in stella.bundle(run).iterdir())
    archive = "mirror-20260102-full.tar.zst"
    assert names == [archive, f"{archive}.sha256", f"{archive}.sha256.sig"]
    assert [artifact["name"] for artifact in run["artifacts"]] == names[:2]
    assert run["signatures"] == names[2:]
    digest = hashlib.sha256((stella.bundle(run) / archive).read_bytes()).hexdigest()
    assert run["artifacts"][0]["sha256"] == f"sha256:{digest}"
    assert (stella.bundle(run) / names[1]).read_text() == f"{digest}  {archive}\n"
    root = unpack(stella.bundle(run) / archive, tmp_path / "unpacked")
    assert contents(root) == [
        "data/consensus/vex_consensus", "data/raw/advisories", "data/raw/vex", "indexes/advisories", "indexes/vex",
    ]  # fmt: skip


def test_the_head_of_the_archive_can_be_checked_before_the_rest_is_read(stella: Stella) -> None:
    run = stella.submit(profile(stella, EVERYTHING))
    plain = unpacked(archive_of(stella, run).read_bytes())
    (stella.data_dir / "x.tar").write_bytes(plain)
    with tarfile.open(stella.data_dir / "x.tar") as tar:
        members = tar.getmembers()
    names = [member.name.removeprefix("mirror/") for member in members]
    assert names[:2] == ["export.json", "files.json"]
    signatures = [name for name in names if name.startswith("signatures/")]
    assert names[2 : 2 + len(signatures)] == sorted(signatures)
    assert names[2 + len(signatures) :] == sorted(
        set(names) - set(signatures) - {"export.json", "files.json"}
    )
    told = {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members}
    assert told == {(0, 0, 0, "", 0o644)}
    assert {member.type for member in members} == {tarfile.REGTYPE}


def test_a_mirror_is_verified_as_a_run_as_a_file_and_as_what_was_downloaded(
    stella: Stella, tmp_path: Path
) -> None:
    run = stella.submit("mirror:full")
    stella("export", "download", run["runId"], "--to", str(tmp_path / "out"))
    for what in (run["runId"], str(archive_of(stella, run)), str(tmp_path / "out")):
        assert stella("export", "verify", what)["verdict"] == "ok"
    report = stella("mirror", "verify", str(tmp_path / "out"))
    assert (report["verdict"], report["exportId"]) == ("ok", run["exportId"])
    archive = tmp_path / "out" / archive_of(stella, run).name
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    answer = stella.ask("mirror", "verify", str(archive), "--format", "json")
    assert (answer.code, answer.value["verdict"]) == (6, "failed")
    assert stella.ask("mirror", "verify", str(tmp_path / "nowhere")).code == 4


def test_an_age_that_nothing_states_fails_where_one_is_demanded(stella: Stella) -> None:
    path = str(archive_of(stella, stella.submit("mirror:full")))
    assert stella("mirror", "verify", path)["verdict"] == "ok"
    assert stella.ask("mirror", "verify", path, "--max-age", "24h", "--at", "2026-01-03T00:00:00Z").code == 6
    assert stella.ask("mirror", "verify", path, "--max-age", "soon").code == 2


def test_the_table_ends_with_the_verdict(stella: Stella) -> None:
    path = archive_of(stella, stella.submit("mirror:full"))
    out = stella.ask("mirror", "verify", str(path), "--format", "table").out
    assert out.splitlines()[-1] == f"verdict ok: {path}"


def test_the_same_evidence_gives_the_same_archive(stella: Stella, tmp_path: Path) -> None:
    name = profile(stella, EVERYTHING)
    first = stella.submit(name)
    held = archive_of(stella, first).read_bytes()
    stella("export", "run", "delete", first["runId"])
    second = stella.submit(name)
    assert (second["exportId"], second["archiveId"]) == (first["exportId"], first["archiveId"])
    assert archive_of(stella, second).read_bytes() == held
    assert stella("export", "run", "replay", second["runId"])["exportId"] == first["exportId"]


def test_everything_that_can_be_included_is_in_its_place(stella: Stella, tmp_path: Path) -> None:
    run = stella.submit(profile(stella, EVERYTHING))
    assert stella("export", "verify", run["runId"])["verdict"] == "ok"
    root = unpack(archive_of(stella, run), tmp_path / "unpacked")
    subject = hashlib.sha256(b"pkg:oci/shop@1").hexdigest()
    bills = [f"data/raw/sboms/{subject}/{name}" for name in ("sbom-2.json", "sbom.json")]
    assert contents(root) == [
        "data/consensus/vex_consensus",
        "data/normalized/advisories", "data/normalized/vex",
        "data/policy/evaluations", "data/policy/snapshot.json",
        "data/raw/advisories", *bills, "data/raw/vex",
        "data/upstream/advisories", "data/upstream/sboms", "data/upstream/vex",
        "indexes/advisories", "indexes/findings", "indexes/sbom", "indexes/vex",
        "trivy/db.bundle", "trivy/sentinels.json",
        "vex-repository/vex-repository.tar.gz",
    ]  # fmt: skip
    index = list(lines(root, "indexes/sbom.index.jsonl.zst"))
    assert [(row["id"], row["path"]) for row in index] == [
        ("pkg:oci/shop@1", bills[1]),
        ("pkg:oci/shop@1", bills[0]),
    ]
    for row in index:
        assert row["digest"] == f"sha256:{hashlib.sha256((root / row['path']).read_bytes()).hexdigest()}"
    assert json.loads((root / bills[1]).read_bytes()) == BOM
    with tarfile.open(root / "vex-repository" / "vex-repository.tar.gz") as tar:
        assert tar.getnames() == ["index.json", "pkg/npm/left/vex.json"]


def test_upstream_is_byte_for_byte_what_was_imported(stella: Stella, tmp_path: Path) -> None:
    latin = tmp_path / "latin"
    write(latin / "x.json", osv("GHSA-cccc-cccc-cccc", package("npm", "other", *until("1"))))
    pretty = json.dumps(json.loads((latin / "x.json").read_text()), indent=3).encode()
    (latin / "x.json").write_bytes(pretty)
    stella("concelier", "import", str(latin), "--source", "other")
    run = stella.submit(profile(stella, ["advisories", "upstream"], "json:raw"))
    found = {row["key"]: row for row in lines(stella.bundle(run), "data/upstream/advisories/*")}
    assert found["GHSA-cccc-cccc-cccc"]["text"].encode() == pretty
    assert found["GHSA-cccc-cccc-cccc"]["rawDigest"] == f"sha256:{hashlib.sha256(pretty).hexdigest()}"
    raw = {row["key"]: row["rawDigest"] for row in lines(stella.bundle(run), "data/raw/advisories/*")}
    assert {key: row["rawDigest"] for key, row in found.items()} == raw


def test_findings_travel_with_their_index(stella: Stella) -> None:
    run = stella.submit(profile(stella, ["advisories", "findings"], "json:raw"))
    full = list(lines(stella.bundle(run), "data/policy/evaluations.jsonl.zst"))
    brief = list(lines(stella.bundle(run), "indexes/findings.index.jsonl.zst"))
    assert [(row["key"], row["digest"]) for row in brief] == [(row["key"], row["digest"]) for row in full]
    assert {(row["vulnerability"], row["status"]) for row in brief} == {("CVE-2026-1000", "suppressed")}
    # What they are made from is selected, and travels only where it is included.
    assert len(list(lines(stella.bundle(run), "indexes/sbom*"))) == 2
    assert not (stella.bundle(run) / "data" / "raw" / "sboms").exists()
    assert run["policySnapshot"] is not None


def test_bills_of_materials_are_their_tenants_alone_and_no_selector_of_advisories_narrows_them(
    stella: Stella,
) -> None:
    name = profile(stella, ["advisories", "sboms"], "json:raw")
    narrowed = stella.submit(
        name, "--selectors", "ecosystems=PyPI,severityAtLeast=critical,severityUnknown=keep"
    )
    assert len(list(lines(stella.bundle(narrowed), "indexes/sbom*"))) == 2
    assert len(list(lines(stella.bundle(narrowed), "indexes/advisories*"))) == 1
    other = stella.of_tenant("other")
    run = other.submit(profile(other, ["advisories", "sboms"], "json:raw"))
    assert list(lines(other.bundle(run), "indexes/sbom*")) == []
    assert len(list(lines(other.bundle(run), "indexes/advisories*"))) == 2


def test_a_bundle_for_scanners_has_their_databases_and_the_index_of_what_they_are_made_from(
    stella: Stella, tmp_path: Path
) -> None:
    run = stella.submit(profile(stella, ["trivy"]))
    root = unpack(archive_of(stella, run), tmp_path / "unpacked")
    assert contents(root) == ["indexes/advisories", "trivy/db.bundle", "trivy/sentinels.json"]
    assert (root / "signatures" / "trivy-db.sig").exists()
    same = stella.submit("trivy:db")
    assert (stella.bundle(same) / "trivy/db.bundle").read_bytes() == (root / "trivy/db.bundle").read_bytes()


def test_normalized_vex_and_advisories_are_of_one_form(stella: Stella) -> None:
    run = stella.submit(profile(stella, ["advisories", "vex", "normalized"], "json:raw"))
    advisories = [row["document"] for row in lines(stella.bundle(run), "data/normalized/advisories/*")]
    assert [each["id"] for each in advisories] == ["GHSA-aaaa-aaaa-aaaa", "GHSA-bbbb-bbbb-bbbb"]
    assert {each["schema_version"][:4] for each in advisories} == {"1.7."}
    (vex,) = [row["document"] for row in lines(stella.bundle(run), "data/normalized/vex/*")]
    assert vex["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert vex["statements"][0]["products"] == [{"@id": "pkg:npm/left@0.9"}]


def test_a_diff_of_mirrors_names_documents_and_bills(stella: Stella, tmp_path: Path) -> None:
    name = profile(stella, ["advisories", "sboms"])
    first = stella.submit(name)
    stella.take(tmp_path / "two", "ghsa", osv("GHSA-dddd-dddd-dddd", package("npm", "left", *until("3"))))
    write(tmp_path / "sboms" / "a.cdx.json", {**BOM, "version": 7})
    stella("evidence", "sbom", "import", str(tmp_path / "sboms"))
    second = stella.submit(name)
    found = stella("export", "diff", first["runId"], second["runId"])["changes"]
    subject = hashlib.sha256(b"pkg:oci/shop@1").hexdigest()
    assert {(each["change"], each["what"]) for each in found} == {
        ("added", "ghsa GHSA-dddd-dddd-dddd"), ("changed", "sboms@default pkg:oci/shop@1#a.cdx.json"),
        ("changed", f"data/raw/sboms/{subject}/sbom.json"),
    }  # fmt: skip


def test_a_rotation_signs_kept_archives_again(stella: Stella) -> None:
    run = stella.submit(profile(stella, ["advisories", "trivy"]))
    before = archive_of(stella, run).read_bytes()
    stella("authority", "key", "rotate")
    assert archive_of(stella, run).read_bytes() != before
    report = stella("export", "verify", run["runId"])
    assert (report["verdict"], report["exportId"]) == ("ok", run["exportId"])
    shown = stella("export", "run", "show", run["runId"])
    digest = hashlib.sha256(archive_of(stella, run).read_bytes()).hexdigest()
    assert shown["artifacts"][0]["sha256"] == f"sha256:{digest}"
    assert shown["archiveId"] == run["archiveId"]


def test_the_level_of_compression_changes_the_archive_and_not_the_export(stella: Stella) -> None:
    one = stella.submit(profile(stella, ["advisories"], compression={"level": 1}))
    archive = archive_of(stella, one).read_bytes()
    name = profile(stella, ["advisories", "vex"], compression={"level": 19})
    two = stella.submit(name)
    usual = stella.submit("mirror:full")
    assert archive != archive_of(stella, two).read_bytes()
    assert two["rerunHash"] == usual["rerunHash"]
    assert two["archiveId"] != usual["archiveId"]


@pytest.mark.parametrize(("spec", "told"), [
    ({"include": ["everything"]}, "'everything' is none of advisories, vex, sboms"),
    ({"include": ["normalized", "upstream"]}, "names no evidence"),
    ({"compression": {"level": 20}}, "must be 1 to 19"),
    ({"kind": "trivy", "variant": "db", "compression": {"level": 3}}, "is for json and mirror"),
    ({"kind": "trivy", "variant": "db", "include": ["vex"]}, "'vex' is none of advisories"),
])  # fmt: skip
def test_what_no_bundle_can_include_is_told(tmp_path: Path, spec: dict[str, Any], told: str) -> None:
    stella = Stella(tmp_path / "data")
    document = {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "x"},
        "spec": {"kind": "mirror", "variant": "full", **spec},
    }  # fmt: skip
    write(tmp_path / "x.json", document)
    answer = stella.refused(
        2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", str(tmp_path / "x.json")
    )
    assert told in answer


def test_the_mirror_command_needs_no_data_directory(stella: Stella, tmp_path: Path) -> None:
    run = stella.submit("mirror:full")
    stella("authority", "key", "export-public", "--to", str(tmp_path / "export-center.pub"))
    path, key = str(archive_of(stella, run)), str(tmp_path / "export-center.pub")
    answer = call(
        "--data-dir", str(tmp_path / "none"), "mirror", "verify", path, "--key", key, "--format", "json"
    )
    assert (answer.code, answer.value["verdict"]) == (0, "ok")
    assert not (tmp_path / "none").exists()


def test_bills_in_other_forms_keep_their_bytes_and_their_endings(stella: Stella, tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.5" version="1"><metadata><component '
        'type="application"><name>web</name><purl>pkg:npm/web@1</purl></component></metadata><components/></bom>'
    )
    tags = (
        "SPDXVersion: SPDX-2.3\nDocumentName: tool\nDocumentNamespace: https://example.org/tool\n\n"
        "PackageName: tool\nSPDXID: SPDXRef-tool\nPackageVersion: 1\n"
    )
    folder = tmp_path / "forms"
    folder.mkdir()
    (folder / "web.cdx.xml").write_text(xml)
    (folder / "tool.spdx").write_text(tags)
    stella("evidence", "sbom", "import", str(folder))
    run = stella.submit(profile(stella, ["sboms"]))
    root = unpack(archive_of(stella, run), tmp_path / "unpacked")
    held = {
        path.suffix: path.read_text() for path in root.glob("data/raw/sboms/*/*") if path.suffix != ".json"
    }
    assert held == {".xml": xml, ".spdx": tags}
    assert stella("export", "verify", run["runId"])["verdict"] == "ok"


def test_a_mirror_with_lists_of_artefacts_has_the_java_database_and_their_index(
    stella: Stella, tmp_path: Path
) -> None:
    sha1 = hashlib.sha1(b"one", usedforsecurity=False).hexdigest()
    (tmp_path / "central.csv").write_text(
        f"groupId,artifactId,version,packaging,sha1,lastModified\norg.a,one,1.0,jar,{sha1},\n"
    )
    stella("concelier", "import", str(tmp_path / "central.csv"), "--source", "central")
    run = stella.submit(profile(stella, ["advisories", "trivy"]))
    report = stella("export", "verify", run["runId"])
    skipped = {check["name"] for check in report["checks"] if check["status"] == "skipped"}
    assert not [name for name in skipped if name.startswith(("java-", "trivy-"))]
    root = unpack(archive_of(stella, run), tmp_path / "unpacked")
    assert contents(root) == [
        "data/raw/advisories", "indexes/advisories", "indexes/artefacts",
        "trivy/db.bundle", "trivy/java-db.bundle", "trivy/java-sentinels.json", "trivy/sentinels.json",
    ]  # fmt: skip
    assert [row["source"] for row in lines(root, "indexes/artefacts*")] == ["central"]
