"""What every feed must do, whatever its form.

A feed registers its samples as a module of `tests.contract.feed_samples`; a feed without one fails here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stellaops.adapters.files.inputs import FileInputs
from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.databases import Database
from stellaops.advisories.documents import registry
from stellaops.advisories.documents.interface import Feed, Slice
from stellaops.advisories.documents.registry import FEEDS
from stellaops.advisories.index import DocumentId, index_row
from stellaops.bundles.trivy.buckets import bucket_named
from stellaops.bundles.trivy.constraints import misreading, problem
from stellaops.bundles.trivy.marks import ABOUT
from stellaops.bundles.trivy.projection import AdvisoryRow, project
from stellaops.core.digests import sha256
from stellaops.matching.versions.registry import scheme_of
from tests.contract.feed_samples import Samples, all_samples
from tests.contract.stores import NOON, Store
from tests.support.shared import require_shared
from tests.unit.cli.running import Stella

SAMPLES = all_samples()
EACH = pytest.mark.parametrize("samples", SAMPLES.values(), ids=list(SAMPLES))
FUZZED = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def feed_of(samples: Samples) -> Feed:
    return FEEDS[samples.feed]


def records(feed: Feed, path: str, content: bytes) -> Iterator[tuple[Slice, Canonical, Advisory]]:
    """The advisories of a file that must not be broken."""
    for piece in feed.records(path, content):
        canonical = feed.canonical(path, piece.raw)
        advisory = feed.read(canonical.parsed, piece.context)
        if advisory is not None:
            yield piece, canonical, advisory


def sampled(samples: Samples) -> Iterator[tuple[str, Slice, Canonical, Advisory]]:
    feed = feed_of(samples)
    for path, content in samples.files.items():
        for piece, canonical, advisory in records(feed, path, content):
            yield path, piece, canonical, advisory


def databases_of(feed: Feed) -> list[Database]:
    return [database for database in databases.DATABASES if feed.name in database.feeds]


def rows(advisory: Advisory, database: Database) -> Iterable[AdvisoryRow]:
    return project(advisory, database, fields.assess(advisory)).advisories


# ---- registration


def test_every_feed_has_samples_and_every_sample_a_feed() -> None:
    assert {samples.feed for samples in SAMPLES.values()} == set(FEEDS)
    for samples in SAMPLES.values():
        assert samples.files, samples.name
        assert samples.keys, samples.name
        assert samples.broken, samples.name


def test_every_feed_has_its_name_and_a_database_that_publishes_in_it() -> None:
    for name, feed in FEEDS.items():
        assert feed.name == name
        assert databases_of(feed), name
    assert {feed for database in databases.DATABASES for feed in database.feeds} == set(FEEDS)


# ---- what is taken


@EACH
def test_the_sample_imports_without_being_told_its_form(samples: Samples, store: Store) -> None:
    report = store.take(samples.files)
    assert report.feed == samples.feed
    assert report.database in {database.name for database in databases_of(feed_of(samples))}
    assert store.reasons() == []
    assert store.keys() == sorted(samples.keys)
    again = store.take(samples.files)
    assert (again.added, again.changed, again.vanished, again.quarantined) == (0, 0, 0, 0)
    assert again.sequence == report.sequence


@EACH
def test_what_is_broken_goes_to_quarantine_with_its_reason_and_stops_nothing(
    samples: Samples, store: Store
) -> None:
    broken = {path: content for path, (content, _) in samples.broken.items()}
    assert not broken.keys() & samples.files.keys()
    store.take({**samples.files, **broken}, feed=samples.feed)
    expected = {path: reason for path, (_, reason) in samples.broken.items()}
    assert dict(store.reasons()) == expected
    assert len(store.reasons()) == len(expected)
    assert set(samples.keys) <= set(store.keys())


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        pytest.param(samples, sentence, id=f"{name}: {sentence}")
        for name, samples in SAMPLES.items()
        for sentence in samples.quirks
    ],
)
def test_a_quirk_of_the_real_feed_is_survived(samples: Samples, sentence: str, store: Store) -> None:
    path, content, outcome = samples.quirks[sentence]
    if isinstance(outcome, str):
        store.take(samples.files, feed=samples.feed)
        store.take({path: content}, feed=samples.feed)
        assert store.reasons() == [(path, outcome)]
        assert set(samples.keys) <= set(store.keys())
    elif outcome:
        store.take({path: content}, feed=samples.feed)
        assert store.reasons() == []
        assert store.keys() == sorted(outcome)
    else:
        store.take({**samples.files, path: content}, feed=samples.feed)
        assert store.reasons() == []
        assert store.keys() == sorted(samples.keys)


# ---- whose a file is


@EACH
def test_a_feed_recognises_its_own_samples_and_no_other_feeds(samples: Samples) -> None:
    feed = feed_of(samples)
    for path, content in samples.files.items():
        assert feed.may_hold_documents(path), path
        assert feed.recognises(path, content), path
        assert registry.tell(path, content) is feed, path
    for other in SAMPLES.values():
        if other.feed != samples.feed:
            taken = [path for path, content in other.files.items() if feed.recognises(path, content)]
            assert taken == [], f"{samples.feed} takes files of {other.feed}"


@EACH
def test_what_comes_along_is_no_document_and_is_not_quarantined(samples: Samples, store: Store) -> None:
    feed = feed_of(samples)
    for path, content in ({**samples.no_documents, **_BY_THE_WAY}).items():
        assert not feed.recognises(path, content), path
    report = store.take({**samples.files, **samples.no_documents, **_BY_THE_WAY}, feed=samples.feed)
    assert store.reasons() == []
    assert report.ignored >= len({**samples.no_documents, **_BY_THE_WAY})
    assert store.keys() == sorted(samples.keys)


_BY_THE_WAY = {
    "LICENSE": b"Permission is hereby granted, free of charge, to any person\n",
    "README.md": b"# Advisories\n\nThis is where advisories are kept.\n",
    "logo.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ".gitignore": b"*.pyc\n",
}


# ---- what is stored, and what is made of it


@EACH
def test_a_record_is_an_exact_slice_of_its_file(samples: Samples) -> None:
    for path, piece, _, _ in sampled(samples):
        content = samples.files[path]
        assert piece.raw, path
        assert content[piece.offset : piece.offset + len(piece.raw)] == piece.raw, path


@EACH
def test_the_canonical_form_is_its_own_canonical_form_and_reads_the_same(samples: Samples) -> None:
    feed = feed_of(samples)
    for path, piece, canonical, advisory in sampled(samples):
        assert feed.canonical(path, piece.raw) == canonical
        if canonical.verbatim:
            assert canonical.body == piece.raw
            continue
        assert from_json(canonical.body) == Canonical(
            canonical.body, False, msgspec.json.decode(canonical.body)
        )
        # A rebuild of derived rows reads what is stored.
        assert feed.read(msgspec.json.decode(canonical.body), piece.context) == advisory


@EACH
def test_every_row_for_trivy_can_be_read_by_its_comparer(samples: Samples) -> None:
    for _, _, _, advisory in sampled(samples):
        for database in databases_of(feed_of(samples)):
            for row in rows(advisory, database):
                check_row(row)


def check_row(row: AdvisoryRow) -> None:
    """A row has constraints, or a version, that the comparer of its bucket reads as they are meant."""
    value = json.loads(row.value)
    if row.bucket == ABOUT:
        assert isinstance(value, dict)
        return
    bucket = bucket_named(row.bucket)
    assert row.package
    assert row.vulnerability
    if not bucket.language:
        if value.get("FixedVersion"):
            scheme_of(bucket.scheme).key(value["FixedVersion"])
        return
    lists = [value.get(name, []) for name in ("VulnerableVersions", "PatchedVersions", "UnaffectedVersions")]
    assert any(lists), row
    for constraint in (text for texts in lists for text in texts):
        assert problem(bucket.scheme, constraint) is None, row
        assert misreading(bucket.scheme, constraint) is None, row


# ---- hostile input


def take_in(feed: Feed, path: str, content: bytes) -> None:
    """Everything that an import does with a file; only `Malformed` may come of it."""
    recognised = feed.recognises(path, content)
    assert isinstance(recognised, bool)
    if feed.publishes_listings:
        feed.listing(path, content)
    if not feed.may_hold_documents(path):
        return
    with suppress(Malformed):
        for piece in feed.records(path, content):
            assert content[piece.offset : piece.offset + len(piece.raw)] == piece.raw
            with suppress(Malformed):
                use(feed, feed.canonical(path, piece.raw), piece.context)


def use(feed: Feed, canonical: Canonical, context: str) -> None:
    advisory = feed.read(canonical.parsed, context)
    if not canonical.verbatim:
        # What is derived may depend on the stored form alone, not on the order in which a document was written.
        assert feed.read(msgspec.json.decode(canonical.body), context) == advisory
    if advisory is None:
        return
    assert advisory.id
    assert advisory.id.isprintable()
    assessment = fields.assess(advisory)
    fields.stated_instant(advisory, NOON)
    index_row(advisory, DocumentId("demo", advisory.id, sha256(canonical.body)), assessment.highest)
    for database in databases_of(feed):
        for row in project(advisory, database, assessment).advisories:
            check_row(row)


@EACH
@FUZZED
@given(data=st.data())
def test_arbitrary_bytes_raise_only_our_errors(samples: Samples, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(samples.files)))
    take_in(feed_of(samples), path, data.draw(st.binary(max_size=200)))


@EACH
@FUZZED
@given(data=st.data())
def test_damaged_samples_raise_only_our_errors(samples: Samples, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(samples.files)))
    content = samples.files[path]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    take_in(feed_of(samples), path, content[:start] + data.draw(st.binary(max_size=8)) + content[end:])


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ("", " ", "0", "1.10", "~> 2.0, >= 2.0.1", "CVE-2024-1234", "null", "2024-01-01", ">=1,<2")
    )
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def damaged(value: Any, data: st.DataObject) -> Any:
    """A value with one of its parts replaced, whatever its type was; or without it."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        name = data.draw(st.sampled_from(sorted(value)))
        if not data.draw(st.integers(0, 7)):
            return {key: item for key, item in value.items() if key != name}
        return value | {name: damaged(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], damaged(value[place], data), *value[place + 1 :]]
    return data.draw(_VALUES)


@EACH
@FUZZED
@given(data=st.data())
def test_records_with_values_of_any_type_raise_only_our_errors(samples: Samples, data: st.DataObject) -> None:
    feed = feed_of(samples)
    read = list(sampled(samples))
    _, piece, canonical, _ = data.draw(st.sampled_from(read))
    value = canonical.parsed
    for _ in range(data.draw(st.integers(1, 3))):
        value = damaged(value, data)
    with suppress(Malformed):
        use(feed, from_json(json.dumps(value).encode()), piece.context)


@EACH
@FUZZED
@given(data=st.data())
def test_files_of_another_content_in_the_right_form_raise_only_our_errors(
    samples: Samples, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(samples.files)))
    content = samples.files[path]
    with suppress(Malformed):
        parsed = from_json(content).parsed
        take_in(feed_of(samples), path, json.dumps(damaged(parsed, data)).encode())
    take_in(feed_of(samples), path, json.dumps(data.draw(_VALUES)).encode())


# ---- the real folders


_LARGE = ("csaf", "cve")


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(each, id=name, marks=pytest.mark.slow if name in _LARGE else ())
        for name, each in SAMPLES.items()
        if each.shared is not None
    ],
)
def test_the_real_folder_imports_with_true_counts_and_again_without_change(
    samples: Samples, tmp_path: Path
) -> None:
    assert samples.shared is not None
    folder, least, quarantined = samples.shared
    stella = Stella(tmp_path / "data")
    arguments = ("concelier", "import", str(require_shared(f"data/advisories/{folder}")), "--source", "real")
    report = stella(*arguments)
    assert report["feed"] == samples.feed
    assert report["quarantined"] == quarantined
    assert {name: report[name] for name in samples.counts} == dict(samples.counts)
    (status,) = stella("concelier", "status")["sources"]
    assert status["documents"] >= least
    again = stella(*arguments)
    assert {name: again[name] for name in ("added", "changed", "withdrawn", "vanished")} == {
        "added": 0, "changed": 0, "withdrawn": 0, "vanished": 0,
    }  # fmt: skip
    assert again["sequence"] == report["sequence"]


@pytest.mark.slow
def test_every_real_file_is_recognised_by_one_feed_at_most() -> None:
    own = {samples.shared[0]: samples.feed for samples in SAMPLES.values() if samples.shared is not None}
    for folder in sorted(require_shared("data/advisories").iterdir()):
        for member in FileInputs([folder]).members():
            if member.problem:
                continue
            told = [name for name, feed in FEEDS.items() if feed.recognises(member.path, member.content)]
            assert len(told) <= 1, f"{folder.name}: {member.path}"
            assert told in ([], [own.get(folder.name, *told)]), f"{folder.name}: {member.path}"


# ---- a folder of no form

STRANGERS: dict[str, dict[str, str]] = {
    "an empty folder": {},
    "texts and pictures": {"notes.txt": "Nothing to see.\n", "README.md": "# Notes\n", "a.png": "\x89PNG"},
    "a project": {
        "package.json": '{"name": "left-pad", "version": "1.3.0", "dependencies": {}}',
        "docker-compose.yaml": "services:\n  web:\n    image: nginx\n",
        ".github/workflows/ci.yml": "on: push\njobs: {}\n",
    },
    "an SBOM": {"bom.json": '{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": []}'},
    "VEX": {
        "vex.json": '{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1",'
        ' "author": "Example", "timestamp": "2024-01-01T00:00:00Z", "version": 1, "statements":'
        ' [{"vulnerability": {"name": "CVE-2023-44487"}, "products": [], "status": "not_affected"}]}'
    },
    "values of no meaning": {"a.json": "[1, 2, 3]", "b.yaml": "- 1\n- 2\n", "c.json": '"text"', "d.csv": "a,b\n"},
}  # fmt: skip


ELSEWHERE = {"an SBOM": "`stella evidence sbom import`", "VEX": "`stella excititor import`"}


@pytest.mark.parametrize("what", STRANGERS)
def test_a_folder_in_no_known_form_is_refused_with_a_clear_error(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in STRANGERS[what].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    stella = Stella(tmp_path / "data")
    told = stella.refused(
        2, "ERR_IMPORT_UNKNOWN_FORM", "concelier", "import", str(folder), "--source", "strange"
    )
    assert "'strange'" in told
    assert ELSEWHERE.get(what, "--feed") in told.partition("\n→ ")[2]
    assert stella("concelier", "status")["sources"] == []


@pytest.mark.parametrize("feed", sorted(FEEDS))
def test_a_folder_in_no_known_form_is_refused_also_where_a_form_is_named(feed: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for texts in STRANGERS.values():
        for name, text in texts.items():
            (folder / name.replace("/", "_")).write_text(text, encoding="utf-8")
    arguments = ("concelier", "import", str(folder), "--source", "strange", "--feed", feed)
    Stella(tmp_path / "data").refused(2, "ERR_IMPORT_UNKNOWN_FORM", *arguments)


def test_a_real_folder_of_a_form_that_no_feed_has_is_refused(tmp_path: Path) -> None:
    folder = require_shared("data/advisories/nvd-overrides-subset")
    arguments = ("concelier", "import", str(folder), "--source", "overrides")
    Stella(tmp_path / "data").refused(2, "ERR_IMPORT_UNKNOWN_FORM", *arguments)
