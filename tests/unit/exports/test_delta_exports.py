"""Runs of `mirror:delta`: what they build on, when a full archive is made instead, and what they read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.bundles import layout
from stellaops.bundles.mirror import delta
from stellaops.exports.control_runs import replay_of
from stellaops.exports.errors import BaseMissing, InvalidProfile
from stellaops.exports.run import Chain, Run
from stellaops.exports.run_export import run_export
from stellaops.ingest.feeds import Side
from stellaops.kit.apply import apply_delta, restore
from stellaops.kit.delta import read_head
from stellaops.kit.verify import verify_bundle
from tests.contract.stores import folder_of, osv
from tests.contract.test_vex_store import vex
from tests.support.exporting import Sender


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    made = Sender(tmp_path / "data")
    made.take(documents(*range(5)), "one")
    yield made
    made.close()


def documents(*numbers: int, **more: Any) -> dict[str, object]:
    return folder_of([osv(f"GHSA-{number:04d}", **more) for number in numbers])


def chain_of(run: Run) -> Chain:
    assert run.chain is not None
    return run.chain


def files_in(sender: Sender, run: Run) -> set[str]:
    trust = sender.trust()
    return set(read_head(sender.archive(run), trust.keys).files.entries())


def test_deltas_stand_in_a_chain_since_the_full_archive(sender: Sender) -> None:
    full = sender.run("mirror:full")
    sender.take(documents(9), "one")
    one = sender.run("mirror:delta")
    sender.take(documents(8), "one")
    two = sender.run("mirror:delta", base="latest")
    assert [chain_of(run).number for run in (full, one, two)] == [0, 1, 2]
    assert (chain_of(one).base, chain_of(two).base) == (full.archive, one.archive)
    assert sender.archive(two).name.endswith("-delta-2.tar.zst")
    assert two.to_wire()["chain"]["base"]["archiveId"] == one.archive_id
    head = read_head(sender.archive(two), sender.trust().keys)
    assert (head.files.kind, head.manifest.profile.name) == ("mirror:delta", "mirror:full")
    assert head.files.base is not None
    assert head.files.base.archive_id == one.archive_id


def test_any_kept_base_may_be_named(sender: Sender) -> None:
    full = sender.run("mirror:full")
    sender.take(documents(9), "one")
    one = sender.run("mirror:delta")
    sender.take(documents(8), "one")
    for name in (full.export_id, full.archive_id, full.id):
        made = sender.run("mirror:delta", base=name)
        assert (chain_of(made).base, chain_of(made).number) == (full.archive, 1)
    assert chain_of(sender.run("mirror:delta", base=one.export_id)).base == one.archive


def test_a_delta_with_nothing_in_it_succeeds_and_says_so(sender: Sender) -> None:
    full = sender.run("mirror:full")
    empty = sender.run("mirror:delta")
    assert empty.export_id == full.export_id
    assert empty.archive_id != full.archive_id
    assert empty.warnings[0] == f"nothing has changed since export {full.export_id}: the delta is empty"
    assert files_in(sender, empty) == {layout.MANIFEST, layout.MANIFEST_YAML, layout.README}


def test_the_export_is_that_of_the_full_archive_of_the_state(sender: Sender, tmp_path: Path) -> None:
    full = sender.run("mirror:full")
    sender.take(documents(1, 9, summary="another"), "one")
    made, whole = sender.run("mirror:delta"), sender.run("mirror:full")
    assert made.export_id == whole.export_id
    assert verify_bundle(sender.archive(made), sender.trust().pems).verdict == "ok"
    restore([sender.archive(full)], tmp_path / "into", sender.trust())
    assert apply_delta(sender.archive(made), tmp_path / "into", sender.trust()).export_id == whole.export_id


def test_only_what_changed_is_read(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sender.take(
        {"v.json": vex(("CVE-2024-10001", "pkg:pypi/demo", "affected", "2025-01-01T00:00:00Z"))},
        "hub",
        Side.VEX,
    )
    sender.run("mirror:full")
    sender.take(documents(1, summary="another"), "one")

    def rows(*arguments: object) -> Iterator[Any]:
        raise AssertionError(f"all rows were read: {arguments}")
        yield  # it is asked for, and must not be read

    for name in ("raw_lines", "index_lines"):
        monkeypatch.setattr(SqlEvidence, name, rows)
    monkeypatch.delattr(SqlEvidence, "snapshot")
    made = sender.run("mirror:delta")
    monkeypatch.undo()
    assert chain_of(made).number == 1
    assert sender.run("mirror:full").export_id == made.export_id


def test_without_its_lists_a_delta_is_the_same(sender: Sender, tmp_path: Path) -> None:
    sender.take(
        {"v.json": vex(("CVE-2024-10001", "pkg:pypi/demo", "affected", "2025-01-01T00:00:00Z"))},
        "hub",
        Side.VEX,
    )
    sender.profile("all", include=["advisories", "vex", "upstream", "normalized"])
    sender.profile("all-delta", kind="mirror:delta", of="all")
    full = sender.run("all")
    sender.take(documents(1, summary="another"), "one")
    sender.take(
        {"v.json": vex(("CVE-2024-10001", "pkg:pypi/demo", "fixed", "2025-02-01T00:00:00Z"))}, "hub", Side.VEX
    )
    shutil.rmtree(sender.local.data_dir / "lists")
    made = sender.run("all-delta", base=full.export_id)
    assert files_in(sender, made) >= {
        delta.upserts_file(path)
        for path in (
            layout.RAW_ADVISORIES,
            layout.ADVISORIES_INDEX,
            layout.RAW_VEX,
            layout.CONSENSUS,
            "data/upstream/vex",
        )
    }
    again = sender.run("all-delta", base=full.export_id)
    assert again.archive_id == made.archive_id
    assert sender.run("all").export_id == made.export_id


def test_whole_files_travel_where_their_content_differs(sender: Sender, tmp_path: Path) -> None:
    sender.profile("scanners", include=["advisories", "trivy"], smoke="off")
    sender.profile("scanners-delta", kind="mirror:delta", of="scanners", smoke="off")
    full = sender.run("scanners")
    same = sender.run("scanners-delta")
    sender.take(documents(1, affected=[]), "one")
    other = sender.run("scanners-delta")
    assert layout.TRIVY_DB not in files_in(sender, same)
    assert layout.TRIVY_DB in files_in(sender, other)
    restore([sender.archive(run) for run in (full, same, other)], tmp_path / "into", sender.trust())
    assert verify_bundle(tmp_path / "into", sender.trust().pems).verdict == "ok"


def test_without_a_base_there_is_no_delta(sender: Sender) -> None:
    with pytest.raises(BaseMissing, match="no export yet"):
        sender.run("mirror:delta")
    full = sender.run("mirror:full")
    with pytest.raises(BaseMissing, match="no export nonsense"):
        sender.run("mirror:delta", base="nonsense")
    assert full.archive is not None
    sender.local.artefacts.delete(full.archive)
    with pytest.raises(BaseMissing, match="is not kept any more"):
        sender.run("mirror:delta")
    failed = sender.local.runs.list("default")[0]
    assert (failed.status, failed.error_code) == ("failed", "base_missing")


@pytest.mark.parametrize("allowed", [True, False])
def test_another_selection_needs_a_full_archive(sender: Sender, *, allowed: bool) -> None:
    sender.profile("mine", kind="mirror:delta", fullInstead="ifNeeded" if allowed else "never")
    sender.run("mirror:full")
    narrowed = {"ids": ["GHSA-0001", "GHSA-0002"]}
    if not allowed:
        with pytest.raises(BaseMissing, match="another selection"):
            sender.run("mine", selectors=narrowed)
        return
    made = sender.run("mine", selectors=narrowed)
    assert (chain_of(made).number, chain_of(made).base) == (0, None)
    assert made.warnings[0].startswith(
        "a full archive was made instead of a delta: the base has another selection"
    )
    assert sender.archive(made).name.endswith("-full.tar.zst")


def test_a_base_of_other_projections_needs_a_full_archive(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.run("mirror:full")
    monkeypatch.setattr(
        "stellaops.exports.building.plan_delta.unfit", lambda *_: "the base was made with other projections"
    )
    assert chain_of(sender.run("mirror:delta")).number == 0


def test_too_large_a_share_is_sent_as_a_full_archive(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stellaops.exports.building.plan_delta._SMALL_BYTES", 0)
    sender.profile("small", kind="mirror:delta", maxShare="1%")
    sender.run("mirror:full")
    sender.take(documents(*range(20, 30)), "one")
    large = sender.run("small")
    assert chain_of(large).number == 0
    assert "too large a share" in large.warnings[0]
    monkeypatch.setattr("stellaops.exports.building.plan_delta._SMALL_ROWS", 0)
    sender.take(documents(*range(40, 60)), "one")
    many = sender.run("small")
    assert chain_of(many).number == 0
    assert "too much has changed" in many.warnings[0]
    assert sender.run("mirror:full").archive_id == many.archive_id


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"kind": "mirror:delta", "selectors": {"ids": ["A"]}}, "spec.selectors is not for mirror:delta"),
        ({"kind": "mirror:delta", "include": ["vex"]}, "spec.include is not for mirror:delta"),
        ({"kind": "mirror:full", "of": "mine"}, "spec.of is not for mirror:full"),
        ({"kind": "mirror:full", "fullInstead": "never"}, "spec.fullInstead is not for mirror:full"),
        ({"kind": "mirror:delta", "maxShare": "half"}, "spec.maxShare"),
    ],
)
def test_a_delta_has_its_state_from_the_full_profile(
    sender: Sender, spec: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidProfile, match=problem):
        sender.profile("mine", **spec)


def test_a_delta_of_a_profile_that_makes_no_full_mirror_is_refused(sender: Sender) -> None:
    sender.profile("mine", kind="mirror:delta", of="json:raw")
    with pytest.raises(BaseMissing, match="no mirror:full"):
        sender.run("mine")


def test_the_same_delta_is_the_same_bytes(sender: Sender, tmp_path: Path) -> None:
    shutil.copytree(sender.local.data_dir, tmp_path / "copy")
    other = Sender(tmp_path / "copy")
    archives = []
    for each in (sender, other):
        each.run("mirror:full")
        each.take(documents(3, 4, 9, summary="another"), "one")
        archives.append(read_head(each.archive(each.run("mirror:delta")), each.trust().keys).files)
    other.close()
    assert archives[0].files == archives[1].files


def test_a_replay_builds_on_the_same_base(sender: Sender) -> None:
    sender.run("mirror:full")
    sender.take(documents(9), "one")
    one = sender.run("mirror:delta")
    sender.take(documents(8), "one")
    sender.run("mirror:delta")
    request = replay_of(one, "run-again", sender.local.profiles)
    again = run_export(request, sender.local.export_tools)
    assert (again.archive_id, again.chain) == (one.archive_id, one.chain)


def test_names_that_advisories_give_move_the_consensus_of_vex_alone(sender: Sender) -> None:
    sender.profile("vex-only", include=["vex"])
    sender.profile("vex-only-delta", kind="mirror:delta", of="vex-only")
    statement = ("GHSA-0077", "pkg:pypi/demo", "affected", "2025-01-01T00:00:00Z")
    sender.take({"v.json": vex(statement)}, "hub", Side.VEX)
    sender.run("vex-only")
    sender.take(documents(77, aliases=["CVE-2024-77"]), "one")
    made = sender.run("vex-only-delta")
    assert delta.upserts_file(layout.CONSENSUS) in files_in(sender, made)
    assert sender.run("vex-only").export_id == made.export_id


def test_a_damaged_list_is_made_again(sender: Sender) -> None:
    sender.run("mirror:full")
    sender.take(documents(1, summary="another"), "one")
    for path in (sender.local.data_dir / "lists").iterdir():
        data = bytearray(path.read_bytes())
        if len(data) > 200:
            data[20] ^= 1
            path.write_bytes(data)
    made = sender.run("mirror:delta")
    assert chain_of(made).number == 1
    assert sender.run("mirror:full").export_id == made.export_id
