"""What an evidence store promises to imports, whichever database it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from stellaops.adapters.sql.sources import SourceBusy
from stellaops.ingest.import_documents import SourceMismatch, UnknownDatabase, UnknownForm
from stellaops.ingest.ports import Member
from tests.contract.stores import NOON, Files, Interrupted, Store, folder_of, osv

A, B, C = "GHSA-aaaa-aaaa-aaaa", "GHSA-bbbb-bbbb-bbbb", "GHSA-cccc-cccc-cccc"
EARLY, LATE = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"


def counts(report: object) -> dict[str, object]:
    names = ("read", "added", "changed", "unchanged", "withdrawn", "vanished", "quarantined", "equal_keys")
    return {name: value for name in names if (value := getattr(report, name))}


def test_a_first_import_counts_everything_as_added_and_numbers_it(store: Store) -> None:
    report = store.take(folder_of([osv(A), osv(B)]))
    assert counts(report) == {"read": 2, "added": 2}
    assert (report.database, report.feed, report.sequence, report.resumed) == ("ghsa", "osv", 2, False)
    assert store.keys() == [A, B]


def test_the_same_input_again_changes_nothing_and_takes_no_sequence(store: Store) -> None:
    files = folder_of([osv(A), osv(B, withdrawn=EARLY)]) | {"broken.json": '{"id": 5, "affected": []}'}
    first = store.take(files)
    before = store.digest(), store.lines()
    again = store.take(files)
    assert counts(first) == {"read": 3, "added": 2, "quarantined": 1}
    assert counts(again) == {"read": 3, "unchanged": 2, "quarantined": 1}
    assert again.sequence == first.sequence == 2
    assert (store.digest(), store.lines()) == before
    assert len(store.quarantine.list(None)) == 1


def test_changed_documents_are_told_apart_from_unchanged_and_new_ones(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B)]))
    report = store.take(folder_of([osv(A), osv(B, summary="Another text"), osv(C)]))
    assert counts(report) == {"read": 3, "added": 1, "changed": 1, "unchanged": 1}
    assert report.sequence == 4


def test_a_document_newly_marked_as_withdrawn_counts_as_changed_and_withdrawn(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B)]))
    report = store.take(folder_of([osv(A, withdrawn=LATE), osv(B), osv(C, withdrawn=LATE)]))
    assert counts(report) == {"read": 3, "added": 1, "changed": 1, "unchanged": 1, "withdrawn": 1}
    assert store.status().withdrawn == 2
    rewritten = store.take(folder_of([osv(A, withdrawn=LATE, summary="Still withdrawn")]))
    assert counts(rewritten) == {"read": 1, "changed": 1}


def test_a_document_that_is_no_longer_withdrawn_is_a_change(store: Store) -> None:
    store.take(folder_of([osv(A, withdrawn=LATE)]))
    assert counts(store.take(folder_of([osv(A)]))) == {"read": 1, "changed": 1}
    assert store.status().withdrawn == 0


def test_without_prune_nothing_vanishes(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B)]))
    assert counts(store.take(folder_of([osv(A)]))) == {"read": 1, "unchanged": 1}
    assert store.keys() == [A, B]


def test_with_prune_what_is_gone_vanishes_once(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B), osv(C)]))
    gone = store.take(folder_of([osv(A)]), prune=True)
    assert counts(gone) == {"read": 1, "unchanged": 1, "vanished": 2}
    assert gone.sequence == 5
    assert store.keys() == [A]
    again = store.take(folder_of([osv(A)]), prune=True)
    assert counts(again) == {"read": 1, "unchanged": 1}
    assert again.sequence == 5
    assert store.status().vanished == 2


def test_prune_concerns_its_own_source_only(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B)]), "one")
    store.take(folder_of([osv(A), osv(B)]), "two")
    store.take(folder_of([osv(A)]), "one", prune=True)
    assert (store.keys("one"), store.keys("two")) == ([A], [A, B])


def test_a_vanished_document_that_returns_counts_as_added(store: Store) -> None:
    store.take(folder_of([osv(A), osv(B)]))
    store.take(folder_of([osv(A)]), prune=True)
    report = store.take(folder_of([osv(A), osv(B)]), prune=True)
    assert counts(report) == {"read": 2, "added": 1, "unchanged": 1}
    assert store.keys() == [A, B]


def test_a_known_document_that_arrives_broken_is_kept_even_with_prune(store: Store) -> None:
    files = folder_of([osv(A), osv(B)])
    store.take(files)
    broken = files | {f"{B}.json": '{"id": "GHSA-bbbb-bbbb-bbbb", "affected": '}
    report = store.take(broken, prune=True)
    assert counts(report) == {"read": 2, "unchanged": 1, "quarantined": 1}
    assert store.keys() == [A, B]
    healed = store.take(files, prune=True)
    assert counts(healed) == {"read": 2, "unchanged": 2}
    assert store.reasons() == []


def test_a_source_whose_every_document_arrives_broken_keeps_what_it_had(store: Store) -> None:
    store.take(folder_of([osv(A)]))
    report = store.take({f"{A}.json": "{"}, prune=True)
    assert counts(report) == {"read": 1, "quarantined": 1}
    assert store.keys() == [A]


def test_the_newest_stated_instant_wins_among_contents_of_one_key_in_any_order(store: Store) -> None:
    old, new = osv(A, modified=EARLY), osv(A, modified="2024-02-01T01:00:00+01:00", summary="Newer")
    for number, (first, second) in enumerate(((old, new), (new, old))):
        report = store.take({"x/1.json": first, "y/2.json": second}, f"s{number}")
        assert counts(report) == {"read": 2, "added": 1, "equal_keys": 1}
    assert [record.digest for record in store.records.find(A, "default")] == [
        store.records.find(A, "default")[0].digest
    ] * 2
    assert b"Newer" in store.records.find(A, "default")[0].body


def test_among_contents_of_one_instant_the_smaller_digest_wins_in_any_order(store: Store) -> None:
    texts = [osv(A, summary=f"Text {number}") for number in range(5)]
    store.take({f"{number}.json": text for number, text in enumerate(texts)}, "forward")
    store.take({f"{number}.json": text for number, text in enumerate(reversed(texts))}, "backward")
    forward, backward = sorted(store.records.find(A, "default"), key=lambda record: record.source)
    assert forward.digest == backward.digest
    singles = []
    for number, text in enumerate(texts):
        store.take({"x.json": text}, f"single{number}")
        singles.append(next(r for r in store.records.find(A, "default") if r.source == f"single{number}"))
    assert forward.digest == min(record.digest for record in singles)


def test_a_later_import_wins_over_an_earlier_one_whatever_it_states(store: Store) -> None:
    store.take(folder_of([osv(A, modified=LATE)]))
    report = store.take(folder_of([osv(A, modified=EARLY, summary="Rolled back")]))
    assert counts(report) == {"read": 1, "changed": 1}
    assert b"Rolled back" in store.one(A).body


def test_a_change_of_form_is_no_change_of_content_and_the_smallest_raw_digest_is_kept(store: Store) -> None:
    plain = b'{"id": "GHSA-aaaa-aaaa-aaaa", "affected": []}'
    spellings = [
        plain,
        plain + b"\n",
        plain.replace(b" ", b""),
        plain.replace(b'"affected"', b'"\\u0061ffected"'),
    ]
    kept = []
    for number, order in enumerate((spellings, spellings[::-1])):
        source = f"s{number}"
        first = store.take({"x.json": order[0]}, source)
        digest = next(r for r in store.records.find(A, "default") if r.source == source).digest
        for spelling in order[1:]:
            report = store.take({"x.json": spelling}, source)
            assert counts(report) == {"read": 1, "unchanged": 1}
        record = next(r for r in store.records.find(A, "default") if r.source == source)
        assert record.digest == digest
        assert first.added == 1
        kept.append(record.raw_digest)
        assert store.records.raw(source, A) in spellings
    assert kept[0] == kept[1] == min(kept)


def test_forms_of_one_document_inside_one_import_leave_the_smallest_raw_digest(store: Store) -> None:
    plain = b'{"id": "GHSA-aaaa-aaaa-aaaa", "affected": []}'
    store.take({"1.json": plain, "2.json": plain + b" "}, "forward")
    store.take({"1.json": plain + b" ", "2.json": plain}, "backward")
    forward, backward = store.records.find(A, "default")
    assert forward.raw_digest == backward.raw_digest


def test_raw_bytes_come_back_byte_for_byte(store: Store) -> None:
    raws = {
        A: b'{ "id":"GHSA-aaaa-aaaa-aaaa",\r\n\t"summary":"\\u00e9 \\/ \xc3\xa9", "affected":[] }\n\n',
        B: b'\xef\xbb\xbf{"id":"GHSA-bbbb-bbbb-bbbb","affected":[]}',
        C: b'{"affected":[],"id":"GHSA-cccc-cccc-cccc"}',
        "GHSA-dddd-dddd-dddd": b'{"id":"GHSA-dddd-dddd-dddd","affected":[],"affected":[],"n":12345678901234567890}',
    }
    store.take({f"{number}.json": raw for number, raw in enumerate(raws.values())})
    for key, raw in raws.items():
        assert store.records.raw("demo", key) == raw
    assert store.records.raw("demo", "GHSA-none") is None
    assert store.records.raw("other", A) is None


def test_many_documents_of_many_sizes_come_back_byte_for_byte(store: Store) -> None:
    raws = {
        f"X-{number:04}": f'{{"id": "X-{number:04}", "details": "{"z" * (number * number % 5000)}", "affected": []}}'
        for number in range(700)
    }
    store.take({f"{key}.json": raw for key, raw in raws.items()})
    assert {key: store.records.raw("demo", key) for key in raws} == {
        key: raw.encode() for key, raw in raws.items()
    }


def test_provenance_says_where_a_document_came_from(store: Store) -> None:
    store.take(Files({"a/one.json": osv(A)}, archive=b"the archive"))
    record = store.one(A)
    assert record.path == "a/one.json"
    assert record.container_url == "file:///in/all.zip"
    assert record.container_digest.startswith("sha256:")
    assert record.fetched_at == NOON
    assert record.licence == "CC-BY-4.0"
    assert (record.sequence_from, record.sequence_to) == (1, None)


def test_lines_and_elements_know_their_place_in_the_file(store: Store) -> None:
    lines = b'{"id": "X-1", "affected": []}\n\n  {"id": "X-2", "affected": []}\n'
    array = b' [ {"id": "Y-1", "affected": []},\n{"id": "Y-2", "affected": []} ]'
    store.take({"all.jsonl": lines, "list.json": array})
    for key, content in (("X-1", lines), ("X-2", lines), ("Y-1", array), ("Y-2", array)):
        record = store.one(key)
        raw = store.records.raw("demo", key)
        assert content[record.offset : record.offset + record.length] == raw
        assert raw is not None
        assert raw.startswith(b'{"id"')


def test_documents_are_found_by_id_alias_and_key(store: Store) -> None:
    store.take(
        folder_of([osv(A, aliases=["CVE-2024-1111", "PYSEC-2024-1"]), osv(B, aliases=["CVE-2024-1111"])])
    )
    assert [record.key for record in store.records.find("CVE-2024-1111", "default")] == [A, B]
    assert [record.key for record in store.records.find("PYSEC-2024-1", "default")] == [A]
    assert [record.key for record in store.records.find(B, "default")] == [B]
    assert store.records.find("CVE-1999-0001", "default") == []


def test_an_older_state_is_not_changed_by_later_imports(store: Store) -> None:
    states = [(0, store.digest(0), store.lines(0))]
    imports: list[tuple[dict[str, object], bool]] = [
        (folder_of([osv(A), osv(B)]), False),
        (folder_of([osv(A, summary="Changed"), osv(C)]), False),
        (folder_of([osv(B, withdrawn=LATE)]), True),
        (folder_of([osv(A), osv(B), osv(C)]), False),
    ]
    for files, prune in imports:
        report = store.take(files, prune=prune)
        states.append((report.sequence, store.digest(), store.lines()))
        for sequence, digest, lines in states:
            assert store.digest(sequence) == digest
            assert store.lines(sequence) == lines
    assert len({digest for _, digest, _ in states}) == 5


def test_every_sequence_between_two_imports_is_a_state_of_its_own(store: Store) -> None:
    store.take(folder_of([osv(f"X-{number}") for number in range(5)]))
    assert [len(store.lines(sequence)) for sequence in range(6)] == [0, 1, 2, 3, 4, 5]


class Watched(Files):
    """Inputs that know from where they were read last."""

    skipped = 0

    def members(self, skip: int = 0) -> Iterator[Member]:
        self.skipped = skip
        return super().members(skip)


def test_staged_work_shows_nothing_and_an_interrupted_import_goes_on(store: Store) -> None:
    documents = {f"X-{number:04}.json": {"id": f"X-{number:04}", "affected": []} for number in range(9000)}
    store.take(folder_of([osv(A)]), "other")
    with pytest.raises(KeyboardInterrupt):
        store.take(Interrupted(documents))
    assert (store.sequence, store.keys()) == (1, [])
    assert list(store.evidence.unfinished()) == ["demo"]
    files = Watched(documents)
    report = store.take(files)
    assert report.resumed
    assert 0 < files.skipped <= 8500
    assert counts(report) == {"read": 9000, "added": 9000}
    assert report.sequence == 9001
    assert list(store.evidence.unfinished()) == []
    again = store.take(files)
    assert (again.resumed, files.skipped, counts(again)) == (False, 0, {"read": 9000, "unchanged": 9000})


def test_other_inputs_give_up_an_interrupted_import(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.take(Interrupted({f"{n}.json": {"id": f"X-{n:04}", "affected": []} for n in range(9000)}))
    report = store.take(folder_of([osv("X-0001"), osv("X-9999")]))
    assert not report.resumed
    assert counts(report) == {"read": 2, "added": 2}
    assert store.keys() == ["X-0001", "X-9999"]


def test_a_source_is_held_by_one_import_at_a_time(store: Store) -> None:
    with store.sources.lock("demo"):
        with pytest.raises(SourceBusy, match="demo"):
            store.take(folder_of([osv(A)]))
        store.take(folder_of([osv(A)]), "other")
    assert store.take(folder_of([osv(A)])).added == 1


def test_a_source_keeps_its_database(store: Store) -> None:
    store.take(folder_of([osv(A)]))
    with pytest.raises(SourceMismatch, match="ghsa"):
        store.take(folder_of([osv(A)]), database="pypa")
    assert store.take(folder_of([osv("PYSEC-2024-1")])).database == "ghsa"


def test_an_unknown_database_or_form_is_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(UnknownDatabase, match="almalinux"):
        store.take(folder_of([osv(A)]), database="nonsense")
    for files in (
        {},
        {"LICENSE": "text"},
        {"a.json": {"some": "settings"}},
        {"a.json": "{"},
        {"b.json": b"[1, 2]"},
    ):
        with pytest.raises(UnknownForm, match="demo"):
            store.take(files)
    assert store.sources.status("default") == (0, [])


def test_a_known_source_needs_something_to_import_too(store: Store) -> None:
    store.take(folder_of([osv(A)]))
    with pytest.raises(UnknownForm):
        store.take({"README.md": "text"}, prune=True)
    assert store.keys() == [A]


def test_files_that_are_no_documents_are_ignored_without_quarantine(store: Store) -> None:
    report = store.take(
        folder_of([osv(A)])
        | {
            "LICENSE": "x",
            "index.json": "[]",
            "x.asc": "s",
            "list.json": [1, 2],
            ".hidden.json": "{",
            "o.json": {},
        }
    )
    assert counts(report) == {"read": 1, "added": 1}
    assert store.reasons() == []


def test_status_tells_the_newest_stated_instant_and_when_a_source_was_checked(store: Store) -> None:
    store.take(
        folder_of([osv(A, modified="2024-05-01T00:00:00.5+02:00"), osv(B, modified="2027-01-01T00:00:00Z")])
    )
    line = store.status()
    assert (line.documents, line.complete) == (2, True)
    assert line.updated_at is not None
    assert line.updated_at.isoformat() == "2024-04-30T22:00:00.500000+00:00"
    assert line.checked_at == NOON
    store.take(folder_of([osv(A)]), now=NOON + timedelta(days=1))
    assert store.status().checked_at == NOON + timedelta(days=1)


def test_what_documents_say_about_ids_can_be_asked_from_either_side(store: Store) -> None:
    store.take(
        {
            "a.json": osv("GHSA-1", aliases=["CVE-2024-1001"]),
            "b.json": osv("GHSA-2", aliases=["CVE-2024-1002"]),
        }
    )
    (by_cve,) = store.records.statements(["CVE-2024-1001"], "default")
    (by_id,) = store.records.statements(["GHSA-1"], "default")
    assert by_cve == by_id
    assert (by_cve.source, by_cve.key, by_cve.link.subject, by_cve.link.object) == (
        "demo", "GHSA-1", "CVE-2024-1001", "GHSA-1",
    )  # fmt: skip
    assert [found.key for found in store.records.find("CVE-2024-1002", "default")] == ["GHSA-2"]
    store.take({"a.json": osv("GHSA-1", aliases=[])})
    assert list(store.records.statements(["CVE-2024-1001"], "default")) == []
