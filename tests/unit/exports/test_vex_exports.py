"""VEX in bundles: raw documents, their index, the consensus; policies; and documents of the consensus."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from stellaops.bundles.vex import cyclonedx
from stellaops.exports.export_vex import KINDS
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import unpack

APP = "pkg:npm/app"
LEFT = "pkg:npm/left@1.0.0"
CVE = "CVE-2026-1000"


def statement(
    status: str, product: str = APP, *, at: str = "2026-02-01T00:00:00Z", **more: Any
) -> dict[str, Any]:
    parts = more.pop("parts", [LEFT])
    named: dict[str, Any] = {"@id": product}
    if parts:
        named["subcomponents"] = [{"@id": part} for part in parts]
    name = more.pop("name", CVE)
    return {"vulnerability": {"name": name}, "products": [named], "status": status, "timestamp": at, **more}


def openvex(author: str, *statements: Mapping[str, Any], role: str = "supplier") -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": f"https://example.org/{author}",
        "author": author,
        "role": role,
        "timestamp": "2026-01-01T00:00:00Z",
        "version": 1,
        "statements": list(statements),
    }


def take(stella: Stella, folder: Path, source: str, **documents: Mapping[str, Any]) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return stella("excititor", "import", str(folder), "--source", source)


NOT_IN_PATH = {"justification": "vulnerable_code_not_in_execute_path", "impact_statement": "never called"}
ADVISORY = osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.5.0")), aliases=[CVE])
DOCUMENTS = {
    "supplier": openvex(
        "Acme",
        statement("not_affected", **NOT_IN_PATH),
        statement("affected", f"{APP}@2.0.0", action_statement="upgrade"),
    ),
    "researcher": openvex("Rita", statement("affected", at="2026-03-01T00:00:00Z"), role="researcher"),
    "alias": openvex(
        "Acme",
        statement(
            "fixed", "pkg:oci/web?repository_url=example.org/web", name="GHSA-aaaa-aaaa-aaaa", parts=[]
        ),
    ),
    "platform": openvex(
        "Acme", statement("under_investigation", "cpe:/o:acme:os:8", parts=["pkg:rpm/acme/left@1"])
    ),
}


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    store = Stella(tmp_path / "data")
    store.take(tmp_path / "advisories", "ghsa", ADVISORY)
    take(store, tmp_path / "vex", "hub", **DOCUMENTS)
    return store


def lines(bundle: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(bundle.glob(pattern)):
        for line in zstd.decompress(path.read_bytes()).splitlines():
            yield json.loads(line)


# ---- json:raw


def test_vex_travels_as_it_came_with_an_index_and_its_consensus(stella: Stella) -> None:
    run = stella.submit("json:raw")
    bundle = stella.bundle(run)
    assert {line["key"]: line["document"] for line in lines(bundle, "data/raw/vex/*.zst")} == {
        f"{name}.json": document for name, document in DOCUMENTS.items()
    }
    assert [line["key"] for line in lines(bundle, "data/raw/advisories/*.zst")] == ["GHSA-aaaa-aaaa-aaaa"]
    index = {line["key"]: line for line in lines(bundle, "indexes/vex.index.jsonl.zst")}
    assert index["supplier.json"]["vulnerabilities"] == [CVE]
    states = list(lines(bundle, "data/consensus/vex_consensus.jsonl.zst"))
    assert [state["key"] for state in states] == sorted(state["key"] for state in states)
    app = next(state for state in states if state["product"] == APP)
    assert (app["status"], app["conflict"], [voice["issuer"] for voice in app["voices"]]) == (
        "not_affected", True, ["Acme", "Rita"],
    )  # fmt: skip
    web = next(state for state in states if state["package"] == "pkg:oci/web")
    assert (web["vulnerability"], web["aliases"], web["status"]) == (CVE, ["GHSA-aaaa-aaaa-aaaa"], "fixed")
    assert stella("export", "verify", run["runId"])["verdict"] == "ok"


def test_the_consensus_of_a_bundle_is_that_of_the_store(stella: Stella) -> None:
    bundle = stella.bundle(stella.submit("json:raw"))
    told = stella("excititor", "consensus", CVE)["products"]
    held = {state["digest"] for state in lines(bundle, "data/consensus/*.zst")}
    assert {state["consensusRevision"] for state in told} == held


@pytest.mark.parametrize(
    "path",
    ["data/raw/vex/00000.jsonl.zst", "indexes/vex.index.jsonl.zst", "data/consensus/vex_consensus.jsonl.zst"],
)
def test_a_changed_or_missing_file_of_vex_is_found(path: str, stella: Stella, tmp_path: Path) -> None:
    run = stella.submit("json:raw")
    for number, change in enumerate((lambda data: data[:-1] + bytes((data[-1] ^ 1,)), None)):
        target = tmp_path / f"copy{number}"
        stella("export", "download", run["runId"], "--to", str(target))
        file = target / path
        if change is None:
            file.unlink()
        else:
            file.write_bytes(change(file.read_bytes()))
        assert stella.ask("export", "verify", str(target)).code == 6


def test_what_a_profile_includes_is_all_that_travels(stella: Stella, tmp_path: Path) -> None:
    for include, there in (
        ("advisories", {"advisories"}),
        ("vex", {"vex"}),
        ("vex, advisories", {"advisories", "vex"}),
    ):
        name = include.replace(", ", "-")
        document = (
            "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\n"
            f"metadata: {{name: only-{name}}}\nspec: {{kind: json, variant: raw, include: [{include}]}}\n"
        )
        (tmp_path / f"{name}.yaml").write_text(document, encoding="utf-8")
        stella("export", "profile", "create", str(tmp_path / f"{name}.yaml"))
        bundle = stella.bundle(stella.submit(f"only-{name}"))
        assert {path.name for path in (bundle / "data" / "raw").iterdir()} == there
        assert (bundle / "data" / "consensus").exists() is ("vex" in there)


def test_selectors_choose_vex_by_source_id_and_package(stella: Stella) -> None:
    for chosen, keys in (
        ("sources=hub", set(DOCUMENTS)),
        (f"ids={CVE}", {"supplier", "researcher", "platform"}),
        ("packages=pkg:oci/web", {"alias"}),
        ("sources=ghsa", set()),
    ):
        bundle = stella.bundle(stella.submit("json:raw", "--selectors", chosen))
        assert {line["key"] for line in lines(bundle, "data/raw/vex/*.zst")} == {
            f"{key}.json" for key in keys
        }


def test_an_older_snapshot_gives_the_same_bytes_after_more_vex(stella: Stella, tmp_path: Path) -> None:
    first = stella.submit("json:policy")
    take(
        stella,
        tmp_path / "more",
        "other",
        more=openvex("Zoe", statement("affected", at="2026-06-01T00:00:00Z")),
    )
    assert stella.submit("json:policy")["exportId"] != first["exportId"]
    again = stella("export", "run", "replay", first["runId"])
    assert (again["exportId"], again["rerunHash"]) == (first["exportId"], first["rerunHash"])


def test_the_order_of_import_changes_nothing(stella: Stella, tmp_path: Path) -> None:
    other = Stella(tmp_path / "other")
    take(other, tmp_path / "vex", "hub", **DOCUMENTS)
    other.take(tmp_path / "advisories", "ghsa", ADVISORY)
    runs = [each.submit("json:policy") for each in (stella, other)]
    assert runs[0]["exportId"] == runs[1]["exportId"]
    for kind in KINDS:
        files = []
        for place in (stella, other):
            target = place.data_dir.parent / f"{place.data_dir.name}-{kind}"
            more = ("--base-url", "https://vex.example.org") if kind == "vex-repository" else ()
            files.append(place("excititor", "export", "--kind", kind, "--to", str(target), *more)["sha256"])
        assert files[0] == files[1]


# ---- documents


def written(stella: Stella, kind: str, tmp_path: Path, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    target = tmp_path / f"out.{kind}.json"
    report = stella("excititor", "export", "--kind", kind, "--to", str(target), *more)
    return report, json.loads(target.read_bytes())


def test_openvex_has_what_its_specification_demands(stella: Stella, tmp_path: Path) -> None:
    report, document = written(stella, "openvex", tmp_path)
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert {"@id", "author", "timestamp", "version", "statements"} <= document.keys()
    assert report["statements"] == len(document["statements"])
    for told in document["statements"]:
        assert told["vulnerability"]["name"] == CVE
        assert told["products"]
        assert all(product["@id"] for product in told["products"])
        if told["status"] == "not_affected":
            assert {"justification", "impact_statement"} & told.keys()
        if told["status"] == "affected":
            assert told["action_statement"]
    # What is said of one version comes before what is said of all, and is not older.
    app = [told for told in document["statements"] if told["products"][0]["@id"].startswith(APP)]
    assert [told["products"][0]["@id"] for told in app] == [f"{APP}@2.0.0", APP]
    assert app[0]["timestamp"] >= app[1]["timestamp"]


def test_csaf_has_what_the_vex_profile_demands(stella: Stella, tmp_path: Path) -> None:
    _, document = written(stella, "csaf", tmp_path)
    head = document["document"]
    assert (head["category"], head["csaf_version"], head["tracking"]["status"]) == (
        "csaf_vex",
        "2.0",
        "final",
    )
    assert set(head["publisher"]) == {"category", "name", "namespace"}
    tree = document["product_tree"]
    defined = {product["product_id"] for product in tree["full_product_names"]}
    for relationship in tree["relationships"]:
        assert {relationship["product_reference"], relationship["relates_to_product_reference"]} <= defined
    defined |= {each["full_product_name"]["product_id"] for each in tree["relationships"]}
    (told,) = document["vulnerabilities"]
    assert told["cve"] == CVE
    assert told["notes"]
    placed = [product for products in told["product_status"].values() for product in products]
    assert set(placed) <= defined
    assert len(placed) == len(set(placed))
    explained = {
        p for part in ("flags", "threats") for each in told.get(part, ()) for p in each["product_ids"]
    }
    assert set(told["product_status"].get("known_not_affected", ())) <= explained
    acted = {product for each in told["remediations"] for product in each["product_ids"]}
    assert set(told["product_status"]["known_affected"]) <= acted


def test_csaf_names_a_vulnerability_without_a_cve_by_its_ids(stella: Stella, tmp_path: Path) -> None:
    take(
        stella, tmp_path / "more", "more", go=openvex("Acme", statement("fixed", name="GO-2026-1", parts=[]))
    )
    report, document = written(stella, "csaf", tmp_path, "--vulnerability", "GO-2026-1")
    (told,) = document["vulnerabilities"]
    assert "cve" not in told
    assert told["ids"] == [{"system_name": "GO", "text": "GO-2026-1"}]
    assert (report["vulnerabilities"], report["leftOut"]) == (1, 0)


def test_a_broad_verdict_that_a_narrower_one_contradicts_stands_in_no_csaf(
    stella: Stella, tmp_path: Path
) -> None:
    report, document = written(stella, "csaf", tmp_path, "--product", APP)
    assert report["leftOut"] == 1
    assert set(document["vulnerabilities"][0]["product_status"]) == {"known_affected"}


def test_cyclonedx_refers_to_its_own_components(stella: Stella, tmp_path: Path) -> None:
    _, document = written(stella, "cyclonedx", tmp_path)
    refs, pending = list[str](), list(document["components"])
    while pending:
        one = pending.pop()
        refs.append(one["bom-ref"])
        pending.extend(one.get("components", ()))
    assert len(refs) == len(set(refs))
    for told in document["vulnerabilities"]:
        assert {affected["ref"] for affected in told["affects"]} <= set(refs)
        assert told["analysis"]["state"] in {"exploitable", "in_triage", "resolved", "not_affected"}


def test_cyclonedx_is_what_its_schema_accepts(stella: Stella, tmp_path: Path) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="needs cyclonedx-python-lib[json-validation]"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    _, document = written(stella, "cyclonedx", tmp_path)
    checker = validation.JsonStrictValidator(schema.SchemaVersion.V1_5)
    assert checker.validate_str(json.dumps(document)) is None
    del document["vulnerabilities"][0]["affects"][0]["ref"]
    assert checker.validate_str(json.dumps(document)) is not None


def test_a_cyclonedx_document_about_a_bill_links_into_it(stella: Stella, tmp_path: Path) -> None:
    serial = "11111111-2222-4333-8444-555555555555"
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 3,
        "metadata": {
            "component": {"type": "application", "name": "app", "bom-ref": "root", "purl": f"{APP}@1.0.0"}
        },
        "components": [
            {"type": "library", "name": "left", "bom-ref": "l 1", "purl": LEFT},
            {"type": "library", "name": "other", "bom-ref": "o", "purl": "pkg:npm/other@1.0.0"},
        ],
    }
    file = tmp_path / "bill.json"
    file.write_text(json.dumps(bill), encoding="utf-8")
    _, document = written(stella, "cyclonedx", tmp_path, "--sbom", str(file))
    refs = {affected["ref"] for told in document["vulnerabilities"] for affected in told["affects"]}
    assert refs == {f"urn:cdx:{serial}/3#l%201"}
    file.write_text("{}", encoding="utf-8")
    words = ("excititor", "export", "--kind", "cyclonedx", "--to", str(tmp_path / "x"), "--sbom", str(file))
    stella.refused(2, cyclonedx.NotLinkable.code, *words)
    assert not (tmp_path / "x").exists()


def test_a_repository_has_a_document_a_package_and_an_index_that_finds_it(
    stella: Stella, tmp_path: Path
) -> None:
    words = ("excititor", "export", "--kind", "vex-repository", "--to", str(tmp_path / "srv"))
    report = stella(*words, "--base-url", "https://vex.example.org/")
    assert (report["packages"], report["leftOut"]) == (2, 1)
    manifest = json.loads((tmp_path / "srv" / ".well-known" / "vex-repository.json").read_bytes())
    (version,) = manifest["versions"]
    assert version["spec_version"] == "0.1"
    assert version["locations"] == [{"url": "https://vex.example.org/vex-repository.tar.gz"}]
    packed = (tmp_path / "srv" / "vex-repository.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        members = {each.name: each for each in archive.getmembers()}
        held = {name: json.load(archive.extractfile(name) or io.BytesIO()) for name in members}
    assert all((each.mtime, each.uid, each.gid) == (0, 0, 0) for each in members.values())
    index = held.pop("index.json")
    assert {each["id"]: each["location"] for each in index["packages"]} == {
        APP: "pkg/npm/app/vex.json",
        "pkg:oci/web?repository_url=example.org%2Fweb": "pkg/oci/web/example.org/web/repository.vex.json",
    }
    assert set(held) == {each["location"] for each in index["packages"]}
    assert all(document["statements"] for document in held.values())


def test_options_that_belong_to_another_kind_are_mistakes(stella: Stella, tmp_path: Path) -> None:
    start = ("excititor", "export", "--to", str(tmp_path / "x"), "--kind")
    stella.refused(2, "ERR_USAGE", *start, "vex-repository")
    stella.refused(2, "ERR_USAGE", *start, "openvex", "--base-url", "https://example.org")
    stella.refused(2, "ERR_USAGE", *start, "csaf", "--sbom", __file__)
    interval = ("--base-url", "https://example.org", "--update-interval", "a day")
    stella.refused(2, "ERR_USAGE", *start, "vex-repository", *interval)
    stella.refused(2, "ERR_EXPORT_EMPTY", *start, "openvex", "--product", "pkg:npm/none")
    stella.refused(2, "ERR_EXPORT_SNAPSHOT_UNKNOWN", *start, "openvex", "--snapshot", "4711")
    assert not (tmp_path / "x").exists()


# ---- policies


POLICY = """\
apiVersion: stellaops.io/policy.v1
kind: PolicyOverlay
metadata: {name: ours}
spec:
  severityOverrides:
    - {id: worse, reason: it is exposed, match: {vulnerabilities: [GHSA-aaaa-aaaa-aaaa]}, severity: CRITICAL}
  ignoreRules:
    - {id: not-used, reason: never called, match: {vulnerabilities: [CVE-2026-2000], packages: [pkg:npm/left]}}
    - {id: one-version, reason: patched by us, match: {packages: ["pkg:npm/left@1.0.0"]}}
  privateAdvisories:
    - id: mine
      reason: found by ourselves
      advisory:
        id: ACME-2026-1
        affected:
          - package: {ecosystem: npm, name: left}
            ranges: [{type: ECOSYSTEM, events: [{introduced: "0"}, {fixed: "3.0.0"}]}]
  vexIssuerWeights:
    - {id: trust-rita, reason: she knows, issuer: Rita, weight: 900}
"""


def profile(stella: Stella, tmp_path: Path, name: str, kind: str, mode: str) -> str:
    family, _, variant = kind.partition(":")
    (tmp_path / f"{name}.yaml").write_text(
        "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\n"
        f"metadata: {{name: {name}}}\n"
        f"spec: {{kind: {family}, variant: {variant}, policySnapshotMode: {mode}, smoke: 'off'}}\n"
        if family == "trivy"
        else "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\n"
        f"metadata: {{name: {name}}}\nspec: {{kind: {family}, variant: {variant}, policySnapshotMode: {mode}}}\n",
        encoding="utf-8",
    )
    stella("export", "profile", "create", str(tmp_path / f"{name}.yaml"))
    return name


def test_without_a_policy_the_snapshot_is_empty(stella: Stella) -> None:
    run = stella.submit("json:policy")
    bundle = stella.bundle(run)
    snapshot = json.loads((bundle / "data" / "policy" / "snapshot.json").read_bytes())
    assert snapshot["rules"] == []
    manifest = json.loads((bundle / "export.json").read_bytes())
    assert manifest["policySnapshot"] == run["policySnapshot"]
    checks = {check["name"]: check for check in stella("export", "verify", run["runId"])["checks"]}
    assert checks["policy"]["status"] == "ok"


def test_a_profile_that_demands_a_policy_takes_the_newest_or_the_one_that_is_named(
    stella: Stella, tmp_path: Path
) -> None:
    demanding = profile(stella, tmp_path, "demanding", "json:policy", "required")
    stella.refused(
        2, "ERR_EXPORT_POLICY_SNAPSHOT_REQUIRED", "export", "run", "submit", "--profile", demanding
    )
    assert stella("export", "run", "list", "--latest")[0]["errorCode"] == "policy"
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    stella("policy", "apply", str(tmp_path / "policy.yaml"))
    taken = stella("policy", "snapshot")
    run = stella.submit(demanding)
    assert run["policySnapshot"] == taken["digest"]
    body = (stella.bundle(run) / "data" / "policy" / "snapshot.json").read_bytes()
    assert len(json.loads(body)["rules"]) == 5
    assert stella.submit(demanding, "--policy-snapshot", taken["digest"])["exportId"] == run["exportId"]
    app = next(
        state for state in lines(stella.bundle(run), "data/consensus/*.zst") if state["product"] == APP
    )
    assert app["status"] == "affected"
    words = ("--profile", "json:raw", "--policy-snapshot", taken["digest"])
    stella.refused(2, "ERR_EXPORT_POLICY_NOT_APPLIED", "export", "run", "submit", *words)
    stella.refused(2, "ERR_EXPORT_POLICY_NOT_APPLIED", "export", "plan", *words)


def test_a_plan_names_the_policy_that_it_would_apply(stella: Stella, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    stella("policy", "apply", str(tmp_path / "policy.yaml"))
    empty = stella("export", "plan", "--profile", "json:policy")["policySnapshot"]
    taken = stella("policy", "snapshot")["digest"]
    assert empty != taken
    planned = ("export", "plan", "--profile", "json:policy")
    assert stella(*planned)["policySnapshot"] == taken
    assert stella(*planned, "--policy-snapshot", "none")["policySnapshot"] == empty
    assert stella(*planned, "--policy-snapshot", taken[:20])["policySnapshot"] == taken
    assert stella("export", "plan", "--profile", "json:raw")["policySnapshot"] is None
    stella.refused(4, "ERR_POLICY_SNAPSHOT_NOT_FOUND", *planned, "--policy-snapshot", "f" * 64)


def test_findings_of_the_tenants_bills_are_evaluated(stella: Stella, tmp_path: Path) -> None:
    bill = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "app", "purl": f"{APP}@1.0.0"}},
        "components": [{"type": "library", "name": "left", "version": "1.0.0", "purl": LEFT}],
    }  # fmt: skip
    (tmp_path / "bill.json").write_text(json.dumps(bill), encoding="utf-8")
    stella("evidence", "sbom", "import", str(tmp_path / "bill.json"))
    run = stella.submit("json:policy")
    (line,) = lines(stella.bundle(run), "data/policy/evaluations.jsonl.zst")
    found = line["finding"]
    assert (found["component"], found["vulnerability"], found["status"]) == (LEFT, CVE, "suppressed")
    assert stella("export", "verify", run["runId"])["verdict"] == "ok"


def database(stella: Stella, run: Mapping[str, Any], into: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    from stellaops.bundles.trivy.bolt.reader import BoltReader  # noqa: PLC0415

    into.mkdir()
    data = unpack(stella.bundle(run) / "trivy" / "db.bundle", into).read_bytes()
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, bucket in BoltReader(data).buckets():
        if name in (b"data-source", b"vulnerability"):
            found |= {(name.decode(), bytes(k).decode()): json.loads(bytes(v)) for k, v in bucket.items()}
            continue
        for package_name, entries in bucket.buckets():
            found |= {
                (name.decode(), package_name.decode(), bytes(k).decode()): json.loads(bytes(v))
                for k, v in entries.items()
            }
    return found


def test_a_policy_is_the_last_stage_of_a_database_only_when_the_profile_asks(
    stella: Stella, tmp_path: Path
) -> None:
    two = osv("GHSA-bbbb-bbbb-bbbb", package("npm", "left", *until("2.0.0")), aliases=["CVE-2026-2000"])
    stella.take(tmp_path / "advisories", "ghsa", two)
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    stella("policy", "apply", str(tmp_path / "policy.yaml"))
    stella("policy", "snapshot")
    plain = stella.submit("trivy:db")
    with_policy = stella.submit(profile(stella, tmp_path, "with-policy", "trivy:db", "optional"))
    bucket = "npm::GitHub Security Advisory npm"
    before, after = (
        database(stella, plain, tmp_path / "before"),
        database(stella, with_policy, tmp_path / "after"),
    )
    assert plain["policySnapshot"] is None
    assert {key for key in before if key[0] == bucket} == {
        (bucket, "left", CVE), (bucket, "left", "CVE-2026-2000"),
    }  # fmt: skip
    assert {key for key in after if key[0] == bucket} == {
        (bucket, "left", CVE),
        (bucket, "left", "ACME-2026-1"),
    }
    assert {key[0] for key in after} == {key[0] for key in before}
    told = after["vulnerability", CVE]
    assert (told["Severity"], told["VendorSeverity"]["ghsa"]) == ("CRITICAL", 4)
    assert before["vulnerability", CVE].get("Severity") != "CRITICAL"
    assert any("one-version" in warning for warning in with_policy["warnings"])


def bill_of(stella: Stella, folder: Path, name: str, *purls: str) -> None:
    """Import a bill of materials of an application and its parts."""
    wire = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "purl": f"pkg:oci/{name}@1"}},
        "components": [{"type": "library", "name": "part", "version": purl.rpartition("@")[2], "purl": purl}
                       for purl in purls],
    }  # fmt: skip
    file = folder / f"{name}.cdx.json"
    file.write_text(json.dumps(wire), encoding="utf-8")
    stella("evidence", "sbom", "import", str(file))


def evaluations(stella: Stella, *arguments: str) -> list[tuple[str, str, str]]:
    root = stella.bundle(stella.submit("json:policy", *arguments))
    told = (line["finding"] for line in lines(root, "data/policy/evaluations.jsonl.zst"))
    return [(found["sbom"], found["vulnerability"], found["status"]) for found in told]


def test_evaluations_are_of_what_the_export_selects(stella: Stella, tmp_path: Path) -> None:
    bill_of(stella, tmp_path, "web", LEFT)
    whole = evaluations(stella)
    assert whole == [("pkg:oci/web@1", CVE, "open")]
    assert evaluations(stella, "--selectors", "sources=hub", "--allow-empty") == []
    assert evaluations(stella, "--selectors", "sources=ghsa") == whole
    # What is not selected changes nothing, whatever it says.
    take(stella, tmp_path / "other", "other", one=openvex(
        "Maker", statement("not_affected", products=[{"@id": LEFT}], justification="component_not_present"),
        role="supplier",
    ))  # fmt: skip
    assert evaluations(stella, "--selectors", "sources=ghsa,sources=hub") == whole
    assert evaluations(stella) == [("pkg:oci/web@1", CVE, "suppressed")]


def test_equal_selections_of_unlike_stores_are_the_same_export(stella: Stella, tmp_path: Path) -> None:
    other = Stella(tmp_path / "other-data")
    other.take(tmp_path / "advisories-2", "ghsa", ADVISORY)
    take(
        other,
        tmp_path / "vex-2",
        "noise",
        one=openvex("Zoe", statement("not_affected", products=[{"@id": LEFT}])),
    )
    for each in (stella, other):
        bill_of(each, tmp_path, "web", LEFT)
    runs = [each.submit("json:policy", "--selectors", "sources=ghsa") for each in (stella, other)]
    assert runs[0]["exportId"] == runs[1]["exportId"]


def test_another_bill_of_materials_is_another_export(stella: Stella, tmp_path: Path) -> None:
    first = stella.submit("json:policy")
    assert evaluations(stella) == []
    bill_of(stella, tmp_path, "web", LEFT)
    assert [vulnerability for _, vulnerability, _ in evaluations(stella)] == [CVE]
    assert stella.submit("json:policy")["snapshot"]["digest"] != first["snapshot"]["digest"]
