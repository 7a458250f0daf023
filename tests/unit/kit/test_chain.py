"""A directory with a full archive and its deltas, verified as the chain that they must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stellaops.kit.chain import verify_path
from stellaops.kit.report import Report
from tests.support.mirrors import STRANGER, Archive, State, delta_of, full, key_pem

FIRST = State(
    {("a", f"K{number:03d}"): f"text {number}" for number in range(40)} | {("b", "X"): "x"}, rules=2
)
SECOND = replace(FIRST, documents={**FIRST.documents, ("a", "K003"): "other", ("c", "NEW"): "new"})
THIRD = replace(SECOND, documents={k: v for k, v in SECOND.documents.items() if k[0] != "b"}, rules=3)


def sent(place: Path) -> tuple[Archive, Archive, Archive]:
    """Names that do not sort in the order of the chain."""
    whole = full(FIRST, place, name="mirror-20260103-full.tar.zst")
    one = delta_of(whole, SECOND, place, name="mirror-20260102-delta-1.tar.zst")
    return whole, one, delta_of(one, THIRD, place, name="mirror-20260101-delta-2.tar.zst")


def verified(place: Path) -> tuple[str, dict[str, str]]:
    report: Report = verify_path(place, [key_pem()])
    return report.verdict, {check.name: check.detail for check in report.checks if check.status == "failed"}


def test_a_full_archive_and_its_deltas_are_a_chain(tmp_path: Path) -> None:
    _, _, last = sent(tmp_path)
    report = verify_path(tmp_path, [key_pem()])
    assert (report.verdict, report.export_id) == ("ok", last.export_id)
    assert [check.id for check in report.checks] == [f"V{n:02}" for n in range(1, len(report.checks) + 1)]
    assert report.checks[-1].detail == "2 deltas lead from the full archive to the last export"


def test_of_a_delta_only_what_it_carries_whole_is_counted(tmp_path: Path) -> None:
    whole, one, two = sent(tmp_path)
    told = {}
    for each in (whole, one, two):
        checks = verify_path(each.path, [key_pem()]).checks
        (found,) = (check for check in checks if check.name == "records")
        told[each.path.name] = (found.status, found.detail)
    assert told == {
        whole.path.name: ("ok", "84 records in 3 contents"),
        one.path.name: (
            "skipped",
            "the delta carries no content whole; rows are counted in what it leads to",
        ),
        two.path.name: (
            "ok",
            "3 records in 1 content that the delta carries whole; rows are counted in what it leads to",
        ),
    }
    (records,) = (check for check in verify_path(tmp_path, [key_pem()]).checks if check.name == "records")
    assert records.status == "ok"


def test_a_link_that_is_missing_is_found(tmp_path: Path) -> None:
    _, one, _ = sent(tmp_path)
    one.path.unlink()
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert "builds on archive" in failed["chain"]


def test_deltas_without_their_full_archive_are_no_chain(tmp_path: Path) -> None:
    whole, _, _ = sent(tmp_path)
    whole.path.unlink()
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert "a full archive must come first" in failed["chain"]


def test_a_delta_that_leads_elsewhere_is_found(tmp_path: Path) -> None:
    """It is signed, and each of its lines is in its form; only its base is not what it thinks."""
    whole, one, two = sent(tmp_path)
    one.path.unlink()
    two.path.unlink()
    delta_of(Archive(whole.path, SECOND, whole.sealed), SECOND, tmp_path)
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert "export.json states" in failed["chain"]


def test_a_delta_that_lacks_a_file_is_found(tmp_path: Path) -> None:
    whole, one, two = sent(tmp_path)
    one.path.unlink()
    two.path.unlink()
    same = replace(FIRST, rules=9)
    delta_of(Archive(whole.path, same, whole.sealed), same, tmp_path)
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert "the delta does not carry it" in failed["chain"]


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    _, one, _ = sent(tmp_path)
    data = bytearray(one.path.read_bytes())
    data[-20] ^= 1
    one.path.write_bytes(data)
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert all(detail.startswith(one.path.name) for detail in failed.values())


def test_a_strangers_archive_ends_it(tmp_path: Path) -> None:
    whole, _, _ = sent(tmp_path)
    delta_of(whole, THIRD, tmp_path, STRANGER, name="mirror-20260109-delta-1.tar.zst")
    verdict, failed = verified(tmp_path)
    assert verdict == "failed"
    assert "no trusted key" in failed["signer"]
