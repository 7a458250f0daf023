from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import content, files_manifest, layout, manifest, provenance, rendering
from stellaops.bundles.content import Content, RowSetDigest, RowsOutOfOrder, SnapshotDigest
from stellaops.bundles.files_manifest import BadFilesManifest, Base, FileEntry
from stellaops.bundles.manifest import BadManifest, ExportManifest, Profile, Source
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest

SCHEMAS = Path(__file__).parents[3] / "schemas"
DAY = datetime(2026, 1, 2, tzinfo=UTC)
TOOLS = {"libraries": {"zstd": "1.5.7"}}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=8)
PATHS = st.from_regex(r"[a-z]{1,6}(/[a-z0-9][a-z0-9._-]{0,6}){0,2}", fullmatch=True)
DIGESTS = st.binary(max_size=4).map(digests.sha256)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
INSTANTS = st.datetimes(datetime(2, 1, 1), datetime(2200, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    sources = draw(st.lists(st.builds(Source, TEXT, TEXT, TEXT, st.none() | INSTANTS),
                            unique_by=lambda each: each.name, max_size=4))  # fmt: skip
    return {
        "tenant": draw(TEXT),
        "profile": draw(st.builds(Profile, TEXT, TEXT, TEXT)),
        "selectors": draw(st.dictionaries(KEYS, VALUES, max_size=3)),
        "generated_at": max((each.updated_at for each in sources if each.updated_at), default=timestamps.EPOCH),
        "snapshot": draw(DIGESTS),
        "sources": sources,
        "policy_snapshot": draw(st.none() | DIGESTS),
        "projections": draw(st.dictionaries(KEYS, st.integers(0, 99), max_size=2)),
        "contents": draw(st.lists(st.builds(Content, PATHS, DIGESTS, st.integers(0, 2**40), TEXT),
                                  unique_by=lambda each: each.path, max_size=4)),
    }  # fmt: skip


def state(**changed: Any) -> dict[str, Any]:
    return {
        "tenant": "acme",
        "profile": Profile("json", "raw", "json:raw"),
        "selectors": {"sources": ["osv"]},
        "generated_at": DAY,
        "snapshot": digests.sha256(b"snapshot"),
        "sources": [Source("osv", "ghsa", "CC-BY-4.0", DAY), Source("kev", "kev", "CC0-1.0", None)],
        "policy_snapshot": None,
        "projections": {"index": 1},
        "contents": [Content("data/raw/advisories", digests.sha256(b"rows"), 7, layout.ROW_SET_TYPE)],
    } | changed


def whole(**changed: Any) -> ExportManifest:
    return manifest.build(**state(**changed))


class TestExportManifest:
    @given(given=states(), seed=st.randoms(use_true_random=False))
    def test_what_is_built_is_read_back_and_order_does_not_matter(
        self, given: dict[str, Any], seed: Any
    ) -> None:
        built = manifest.build(**given)
        assert manifest.parse(built.data) == built
        assert canonical_json.encode(json.loads(built.data)) == built.data
        assert (built.true_export_id(), built.true_rerun_hash()) == (built.export_id, built.rerun_hash)
        for name in ("sources", "contents"):
            seed.shuffle(given[name])
        given["selectors"] = dict(reversed(given["selectors"].items()))
        assert manifest.build(**given).data == built.data

    @given(given=states())
    def test_what_is_built_fits_the_published_schema(self, given: dict[str, Any]) -> None:
        schema = json.loads((SCHEMAS / "export-manifest.schema.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(json.loads(manifest.build(**given).data))

    def test_any_change_of_the_state_changes_the_id(self) -> None:
        ids = [
            whole().export_id,
            whole(tenant="other").export_id,
            whole(profile=Profile("json", "raw", "mine")).export_id,
            whole(selectors={}).export_id,
            whole(snapshot=digests.sha256(b"")).export_id,
            whole(policy_snapshot=digests.sha256(b"")).export_id,
            whole(projections={"index": 2}).export_id,
            whole(contents=[]).export_id,
            whole(sources=[Source("osv", "ghsa", "CC-BY-4.0", DAY)]).export_id,
        ]
        assert len(set(ids)) == len(ids)
        assert all(len(each) == 26 and each.islower() for each in ids)

    def test_the_rerun_hash_is_of_the_contents_alone(self) -> None:
        assert whole().rerun_hash == whole(tenant="other", projections={}).rerun_hash
        assert whole().rerun_hash != whole(contents=[]).rerun_hash

    @pytest.mark.parametrize("changed", [
        {"tenant": ""}, {"generated_at": DAY + timedelta(1)}, {"snapshot": "sha256:00"}, {"policy_snapshot": "x"},
        {"contents": [Content("../x", digests.sha256(b""), 0, "x")]}, {"selectors": {"x": 1.5}},
        {"contents": [Content("x", digests.sha256(b""), -1, "x")]}, {"selectors": {"\U0001F600": 1}},
        {"contents": [Content("x", digests.sha256(b""), 0, "x")] * 2}, {"sources": []},
        {"projections": {"x": "1"}}, {"profile": Profile("json", "", "x")},
    ])  # fmt: skip
    def test_a_state_that_breaks_a_rule_is_not_written(self, changed: dict[str, Any]) -> None:
        with pytest.raises(BadManifest):
            whole(**changed)

    def test_without_any_stated_instant_it_is_of_1970(self) -> None:
        built = whole(sources=[Source("kev", "kev", "", None)], generated_at=timestamps.EPOCH)
        assert b'"generatedAt":"1970-01-01T00:00:00Z"' in built.data

    @pytest.mark.parametrize(("old", "new"), [
        (b'"version":"1.1.0"', b'"version":"1.2.0"'), (b"v1alpha2", b"v1alpha3"), (b'"records":7', b'"records":7.0'),
        (b'"records":7', b'"records":"7"'), (b'"records":7', b'"records":true'), (b'"policySnapshot":null,', b""),
        (b'"records":7', b'"recordz":7'), (b'"contents":', b'"contents": '), (b'"contents":', b'"a":1,"contents":'),
        (b"2026-01-02T00:00:00Z", b"2026-01-02T00:00:00.0Z"), (b"2026-01-02T00:00:00Z", b"2026-01-02"),
        (b'"acme"', b"null"), (b"sha256:", b"SHA256:"),
    ])  # fmt: skip
    def test_anything_else_is_not_read(self, old: bytes, new: bytes) -> None:
        data = whole().data
        assert old in data
        with pytest.raises(BadManifest):
            manifest.parse(data.replace(old, new))

    def test_a_newer_patch_version_is_read(self) -> None:
        assert manifest.parse(whole().data.replace(b'"1.1.0"', b'"1.1.12"')).tenant == "acme"


class TestFilesManifest:
    FILE = FileEntry("export.json", digests.sha256(b"x"), 1, "none")

    @given(
        paths=st.lists(PATHS, unique_by=str.lower, max_size=6),
        base=st.none() | st.just(Base("a" * 26, "b" * 26)),
    )
    def test_what_is_built_is_read_back_and_fits_the_schema(
        self, paths: list[str], base: Base | None
    ) -> None:
        files = [
            FileEntry(path, digests.sha256(path.encode()), len(path), layout.codec(path)) for path in paths
        ]
        try:
            built = files_manifest.build("json:raw", "a" * 26, files, TOOLS, base)
        except BadFilesManifest:
            assert any(other.startswith(f"{path}/") for path in paths for other in paths)
            return
        assert files_manifest.parse(built.data) == built
        assert (
            files_manifest.build("json:raw", "a" * 26, reversed(files), TOOLS, base).archive_id
            == built.archive_id
        )
        schema = json.loads((SCHEMAS / "export-manifest.files.schema.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(json.loads(built.data))

    @pytest.mark.parametrize("path", ["", "/x", "../x", "x/../y", "x//y", "x/", "./x", "C:\\x", "x\ny", "é", ".x",
                                      "-x", "files.json", "provenance.json", "signatures/x", "Signatures/x",
                                      "a" * 300])  # fmt: skip
    def test_a_path_that_must_not_be_listed_is_refused(self, path: str) -> None:
        with pytest.raises(BadFilesManifest):
            files_manifest.build("json:raw", "a" * 26, [dataclasses.replace(self.FILE, path=path)], TOOLS)

    @pytest.mark.parametrize("paths", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b/c", "a/b")])
    def test_paths_that_collide_are_refused(self, paths: tuple[str, str]) -> None:
        files = [dataclasses.replace(self.FILE, path=path) for path in paths]
        with pytest.raises(BadFilesManifest):
            files_manifest.build("json:raw", "a" * 26, files, TOOLS)

    def test_a_wrong_codec_size_or_digest_is_refused(self) -> None:
        for wrong in (
            dataclasses.replace(self.FILE, codec="zstd"),
            dataclasses.replace(self.FILE, bytes=-1),
            dataclasses.replace(self.FILE, digest=Digest("sha256:x")),
        ):
            with pytest.raises(BadFilesManifest):
                files_manifest.build("json:raw", "a" * 26, [wrong], TOOLS)


class TestRendering:
    @given(given=states())
    def test_the_yaml_is_the_same_value(self, given: dict[str, Any]) -> None:
        built = manifest.build(**given)
        assert yaml.safe_load(rendering.manifest_yaml(built)) == json.loads(built.data)

    @given(given=states())
    def test_the_readme_is_plain_ascii_and_keeps_its_tables(self, given: dict[str, Any]) -> None:
        text = rendering.readme(manifest.build(**given)).decode("ascii")
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in rows} <= {3, 5}
        assert len([line for line in rows if line.count("|") == 5]) == 4 + len(given["sources"]) + len(
            given["contents"]
        )

    def test_the_readme_speaks_of_trivy_only_where_there_is_a_database(self) -> None:
        database = Content(layout.TRIVY_DB, digests.sha256(b""), 1, layout.TRIVY_DB_TYPE)
        assert b"rivy" not in rendering.readme(whole())
        text = rendering.readme(whole(contents=[database])).decode()
        for words in ("--skip-db-update", "NextUpdate", "signatures/trivy-db.sig", "2026-01-02T00:00:00Z"):
            assert words in text


class TestProvenance:
    FILES = files_manifest.build("json:raw", "a" * 26, [TestFilesManifest.FILE], TOOLS)

    def test_it_names_what_was_made_of_what(self) -> None:
        built = whole(policy_snapshot=digests.sha256(b"policy"))
        statement = json.loads(provenance.build(built, self.FILES))
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        assert [(each["name"], "sha256:" + each["digest"]["sha256"]) for each in statement["subject"]] == [
            ("export.json", digests.sha256(built.data)),
            ("files.json", digests.sha256(self.FILES.data)),
        ]
        definition = statement["predicate"]["buildDefinition"]
        assert [each["name"] for each in definition["resolvedDependencies"]] == [
            "snapshot", "policy", "source/kev", "source/osv",
        ]  # fmt: skip
        assert definition["internalParameters"]["toolchain"] == TOOLS
        details = statement["predicate"]["runDetails"]
        assert details["metadata"] == {"invocationId": built.export_id}

    def test_the_environment_stands_where_the_contract_says(self) -> None:
        recipients: dict[str, Any] = {"encryption": {"recipients": []}}
        statement = json.loads(provenance.build(whole(), self.FILES, recipients))
        assert statement["predicate"]["buildDefinition"]["internalParameters"]["environment"] == recipients

    @given(given=states())
    def test_any_state_has_a_provenance(self, given: dict[str, Any]) -> None:
        statement = provenance.build(manifest.build(**given), self.FILES)
        assert canonical_json.encode(json.loads(statement)) == statement


ROWS = st.lists(
    st.tuples(TEXT | st.just(""), TEXT, TEXT, st.binary(max_size=9)),
    unique_by=lambda row: row[:3],
    max_size=8,
)


class TestContent:
    @given(rows=ROWS)
    def test_a_row_set_digest_is_over_its_sorted_rows(self, rows: list[tuple[str, str, str, bytes]]) -> None:
        digest = RowSetDigest()
        expected = b""
        for owner, source, key, line in sorted(rows):
            digest.add(owner, source, key, line)
            fields = [json.dumps(each, ensure_ascii=False)[1:-1] for each in (owner, source, key)]
            expected += "\t".join([*fields, digests.sha256(line)]).encode() + b"\n"
        assert digest.digest() == digests.sha256(expected)
        assert digest.records == len(rows)

    @given(rows=ROWS.filter(lambda rows: len(rows) > 1), place=st.integers(0))
    def test_rows_out_of_order_or_twice_are_refused(
        self, rows: list[tuple[str, str, str, bytes]], place: int
    ) -> None:
        rows.sort()
        digest = SnapshotDigest()
        for owner, source, key, line in rows:
            digest.add(owner, source, key, digests.sha256(line))
        owner, source, key, line = rows[place % len(rows)]
        with pytest.raises(RowsOutOfOrder):
            digest.add(owner, source, key, digests.sha256(line))

    def test_a_tab_in_a_key_is_not_a_border(self) -> None:
        first, second = SnapshotDigest(), SnapshotDigest()
        first.add("", "a\tb", "c", digests.sha256(b""))
        second.add("", "a", "b\tc", digests.sha256(b""))
        assert first.digest() != second.digest()

    def test_an_archives_digest_is_over_its_members(self) -> None:
        one, two = digests.sha256(b"1"), digests.sha256(b"2")
        expected = digests.sha256(f"metadata.json\t{two}\ntrivy.db\t{one}\n".encode())
        assert content.members_digest({"trivy.db": one, "metadata.json": two}) == expected


class TestLayout:
    def test_every_signed_file_has_signatures_of_its_own(self) -> None:
        assert layout.expected_signatures(["export.json", "files.json", "README.md", "trivy/db.bundle"]) == {
            f"signatures/{name}"
            for name in ("export.sig", "export.sigstore.json", "files.sig", "files.sigstore.json",
                         "trivy-db.sig", "trivy-db.sigstore.json")
        }  # fmt: skip
        assert layout.expected_signatures(["provenance.json"]) == {"signatures/provenance.sigstore.json"}

    def test_contents_find_their_files(self) -> None:
        paths = {"data/raw/advisories/00000.jsonl.zst", "data/raw/vex/00000.jsonl.zst", "trivy/db.bundle",
                 "indexes/advisories.index.jsonl.zst"}  # fmt: skip
        assert layout.files_of("data/raw/advisories", paths) == ("data/raw/advisories/00000.jsonl.zst",)
        assert layout.files_of("indexes/advisories", paths) == ("indexes/advisories.index.jsonl.zst",)
        assert layout.files_of("trivy/db.bundle", paths) == ("trivy/db.bundle",)
        assert layout.files_of("indexes/vex", paths) == ()
        assert [layout.codec(path) for path in sorted(paths)] == ["zstd", "zstd", "zstd", "gzip"]
