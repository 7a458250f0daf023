"""Applying deltas and restoring: what comes out, and that whatever is refused leaves the target as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stellaops.bundles import layout
from stellaops.bundles.jsonl import shards
from stellaops.bundles.manifest import Profile
from stellaops.kit import target
from stellaops.kit.apply import ApplyRefused, Trust, apply_delta, restore
from stellaops.kit.verify import verify_bundle
from stellaops.signing import ecdsa_p256
from tests.support.mirrors import STRANGER, Archive, State, delta_of, full, key_pem

TRUST = Trust([key_pem()])
FIRST = State(
    {("a", f"K{number:03d}"): f"text {number}" for number in range(40)} | {("b", "X"): "x"}, rules=2
)
SECOND = replace(FIRST, documents={**FIRST.documents, ("a", "K003"): "other", ("c", "NEW"): "new"})
THIRD = replace(SECOND, documents={k: v for k, v in SECOND.documents.items() if k[0] != "b"}, rules=3)


class Chain:
    """A full archive and two deltas, and a directory to apply them to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.full = full(FIRST, place / "0")
        self.one = delta_of(self.full, SECOND, place / "1")
        self.two = delta_of(self.one, THIRD, place / "2")
        self.into = place / "into"


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def tree(into: Path) -> dict[str, bytes]:
    """Everything that a reader can see, with the links."""
    seen = {}
    for path in sorted(into.rglob("*")):
        name = path.relative_to(into).as_posix()
        if not name.startswith(".apply"):
            seen[name] = (
                str(path.readlink()).encode()
                if path.is_symlink()
                else path.read_bytes()
                if path.is_file()
                else b""
            )
    return seen


def in_force(into: Path) -> dict[str, bytes]:
    current = into / target.CURRENT
    return {
        path.relative_to(current).as_posix(): path.read_bytes()
        for path in current.rglob("*")
        if path.is_file()
    }


def untouched(into: Path, refused: Callable[[], object], match: str) -> None:
    before = tree(into)
    with pytest.raises(ApplyRefused, match=match):
        refused()
    assert tree(into) == before


def test_a_base_and_its_deltas_give_the_files_of_the_full_archive(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    apply_delta(chain.one.path, chain.into, TRUST)
    done = apply_delta(chain.two.path, chain.into, TRUST)
    fresh = full(THIRD, chain.place / "fresh")
    restore([fresh.path], chain.place / "other", TRUST)
    assert done.export_id == fresh.export_id
    assert in_force(chain.into) == in_force(chain.place / "other")
    assert verify_bundle(chain.into, TRUST.pems).verdict == "ok"


def test_a_restore_takes_a_full_archive_and_its_deltas_at_once(chain: Chain) -> None:
    done = restore([chain.full.path, chain.one.path, chain.two.path], chain.into, TRUST)
    assert done.applied == (chain.full.archive_id, chain.one.archive_id, chain.two.archive_id)
    assert json.loads((chain.into / target.STATE).read_bytes())["archiveId"] == chain.two.archive_id
    assert [line.split()[:2] for line in (chain.into / target.LOG).read_text().splitlines()] == [
        [each.export_id, each.archive_id] for each in (chain.full, chain.one, chain.two)
    ]


def test_what_stays_is_linked_and_not_written_again(chain: Chain) -> None:
    restore([chain.full.path, chain.one.path], chain.into, TRUST)
    policy = chain.into / target.CURRENT / layout.POLICY_SNAPSHOT
    assert policy.stat().st_nlink == 2
    assert (chain.into / target.CURRENT / "indexes" / "advisories.index.jsonl.zst").stat().st_nlink == 1


def test_a_delta_with_nothing_in_it_moves_the_chain_on(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    empty = delta_of(chain.full, FIRST, chain.place / "empty")
    before = in_force(chain.into)
    assert not apply_delta(empty.path, chain.into, TRUST).changed
    assert in_force(chain.into) == before
    after = delta_of(empty, SECOND, chain.place / "after")
    assert apply_delta(after.path, chain.into, TRUST).changed
    untouched(chain.into, lambda: apply_delta(chain.one.path, chain.into, TRUST), "builds on archive")


def test_a_state_may_come_back(chain: Chain) -> None:
    back = delta_of(chain.one, FIRST, chain.place / "back")
    again = delta_of(back, SECOND, chain.place / "again")
    restore([chain.full.path, chain.one.path, back.path, again.path], chain.into, TRUST)
    assert (chain.into / target.CURRENT).readlink().name == chain.one.export_id
    assert verify_bundle(chain.into, TRUST.pems).verdict == "ok"
    untouched(chain.into, lambda: apply_delta(back.path, chain.into, TRUST), "builds on archive")


def test_two_generations_are_kept(chain: Chain) -> None:
    restore([chain.full.path, chain.one.path, chain.two.path], chain.into, TRUST)
    with target.opened(chain.into):
        pass
    kept = {path.name for path in (chain.into / target.GENERATIONS).iterdir()}
    assert kept == {chain.one.export_id, chain.two.export_id}


def test_nothing_is_applied_out_of_order_or_twice(chain: Chain) -> None:
    with pytest.raises(ApplyRefused, match="nothing was applied"):
        apply_delta(chain.one.path, chain.into, TRUST)
    assert not chain.into.exists()
    restore([chain.full.path], chain.into, TRUST)
    untouched(chain.into, lambda: apply_delta(chain.two.path, chain.into, TRUST), "builds on archive")
    untouched(chain.into, lambda: apply_delta(chain.full.path, chain.into, TRUST), "no delta")
    apply_delta(chain.one.path, chain.into, TRUST)
    untouched(chain.into, lambda: apply_delta(chain.one.path, chain.into, TRUST), "applied last")


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ((1, 0), "must come first"),
        ((0, 2), "builds on archive"),
        ((0, 1, 1), "builds on archive"),
        ((0, 0), "is no delta"),
        ((0, 2, 1), "builds on archive"),
        ((), "no archive was named"),
    ],
)
def test_a_restore_wants_a_chain(chain: Chain, order: tuple[int, ...], reason: str) -> None:
    restore([chain.full.path, chain.one.path], chain.into, TRUST)
    archives = (chain.full, chain.one, chain.two)
    untouched(chain.into, lambda: restore([archives[n].path for n in order], chain.into, TRUST), reason)


@pytest.mark.parametrize(
    "other",
    [
        replace(SECOND, tenant="another"),
        replace(SECOND, profile=Profile("mirror", "full", "another")),
    ],
)
def test_another_tenants_or_profiles_archive_is_refused(chain: Chain, other: State) -> None:
    restore([chain.full.path], chain.into, TRUST)
    foreign = delta_of(chain.full, other, chain.place / "foreign")
    untouched(chain.into, lambda: apply_delta(foreign.path, chain.into, TRUST), "another")
    whole = full(other, chain.place / "whole")
    untouched(chain.into, lambda: restore([whole.path], chain.into, TRUST), "another")
    untouched(chain.into, lambda: restore([chain.full.path, foreign.path], chain.into, TRUST), "another")


def test_only_a_trusted_key_that_is_not_revoked_is_believed(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    forged = delta_of(chain.full, SECOND, chain.place / "forged", STRANGER)
    untouched(chain.into, lambda: apply_delta(forged.path, chain.into, TRUST), "no trusted key")
    key_id = ecdsa_p256.load_public_key(key_pem()).key_id
    revoked = Trust([key_pem()], revoked={key_id})
    untouched(chain.into, lambda: apply_delta(chain.one.path, chain.into, revoked), "revoked")


def test_a_delta_that_does_not_give_what_it_states_is_refused(chain: Chain) -> None:
    """The signer is trusted, and wrong: the base it thinks of is not the one in force."""
    restore([chain.full.path], chain.into, TRUST)
    same = Archive(chain.full.path, SECOND, chain.full.sealed)
    liar = delta_of(same, SECOND, chain.place / "liar")
    untouched(chain.into, lambda: apply_delta(liar.path, chain.into, TRUST), "does not verify")
    more = replace(FIRST, documents={**FIRST.documents, ("z", "Z"): "never there"})
    liar = delta_of(Archive(chain.full.path, more, chain.full.sealed), SECOND, chain.place / "liar")
    untouched(chain.into, lambda: apply_delta(liar.path, chain.into, TRUST), "is removed, but is not there")


def test_a_flipped_byte_anywhere_in_a_delta_is_found(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    data = chain.one.path.read_bytes()
    before = tree(chain.into)
    for place in range(0, len(data), 211):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        chain.one.path.write_bytes(broken)
        with pytest.raises(ApplyRefused):
            apply_delta(chain.one.path, chain.into, TRUST)
        assert tree(chain.into) == before, place


def test_a_damaged_base_is_found_before_anything_changes(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    shard = chain.into / target.CURRENT / layout.shard(layout.RAW_ADVISORIES, 0)
    shard.write_bytes(shard.read_bytes()[:-1])
    untouched(chain.into, lambda: apply_delta(chain.one.path, chain.into, TRUST), "zstd data is")
    restore([chain.full.path], chain.into, TRUST)
    assert verify_bundle(chain.into, TRUST.pems).verdict == "ok"
    apply_delta(chain.one.path, chain.into, TRUST)


def test_a_directory_with_something_else_in_it_is_left_alone(chain: Chain) -> None:
    chain.into.mkdir()
    (chain.into / "thesis.txt").write_text("mine")
    with pytest.raises(target.TargetUnusable):
        restore([chain.full.path], chain.into, TRUST)
    assert tree(chain.into) == {"thesis.txt": b"mine"}


def test_an_interrupted_restore_goes_on_where_it_was(chain: Chain) -> None:
    archives = [chain.full.path, chain.one.path, chain.two.path]

    seen: list[str] = []

    def progress(step: str) -> None:
        seen.append(step)
        if seen.count("merging") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(archives, chain.into, TRUST, progress)
    assert (chain.into / target.CURRENT).readlink().name == chain.one.export_id
    assert restore(archives, chain.into, TRUST).applied == (chain.two.archive_id,)
    # A whole restore that is asked for again begins from the beginning: perhaps the tree is damaged.
    assert len(restore(archives, chain.into, TRUST).applied) == 3


def test_a_switch_that_was_noted_is_taken_to_its_end(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    restore([chain.full.path], chain.into, TRUST)
    monkeypatch.setattr(target.Target, "finish_switch", lambda self: None)
    apply_delta(chain.one.path, chain.into, TRUST)
    assert (chain.into / target.CURRENT).readlink().name == chain.full.export_id
    monkeypatch.undo()
    apply_delta(chain.two.path, chain.into, TRUST)
    assert (chain.into / target.CURRENT).readlink().name == chain.two.export_id
    assert len((chain.into / target.LOG).read_text().splitlines()) == 3


def test_a_second_process_waits_outside(chain: Chain) -> None:
    restore([chain.full.path], chain.into, TRUST)
    with target.opened(chain.into), pytest.raises(target.TargetBusy):
        apply_delta(chain.one.path, chain.into, TRUST)


def many(numbers: range, **changed: str) -> State:
    """A state of several shards."""
    documents = {("a", f"K{number:05d}"): f"text {number}" for number in numbers}
    return State({**documents, **{("a", key): text for key, text in changed.items()}})


def test_shards_come_out_as_a_full_archive_cuts_them(tmp_path: Path) -> None:
    first = many(range(1000))
    cutting = [key for _, key in first.documents if shards.cuts(key)]
    assert cutting, "some key of the range must begin a shard"
    gone = {place: text for place, text in first.documents.items() if place[1] != cutting[0]}
    more = next(f"N{number}" for number in range(100_000) if shards.cuts(f"N{number}"))
    states = [
        many(range(1000), K00001="other"),
        State(gone),
        first,
        many(range(1000), **{more: "begins a shard", f"{more}-1": "is in it"}),
        many(range(100)),
        State({}),
        first,
    ]
    last = full(first, tmp_path / "0")
    restore([last.path], tmp_path / "into", TRUST)
    for number, state in enumerate(states, 1):
        last = delta_of(last, state, tmp_path / str(number))
        apply_delta(last.path, tmp_path / "into", TRUST)
        restore([full(state, tmp_path / f"{number}-full").path], tmp_path / "other", TRUST)
        assert in_force(tmp_path / "into") == in_force(tmp_path / "other"), number


def test_shards_that_stay_are_linked(tmp_path: Path) -> None:
    first = full(many(range(1000)), tmp_path / "0")
    restore([first.path], tmp_path / "into", TRUST)
    apply_delta(
        delta_of(first, many(range(1000), K00001="other"), tmp_path / "1").path, tmp_path / "into", TRUST
    )
    held = sorted((tmp_path / "into" / target.CURRENT / layout.RAW_ADVISORIES).iterdir())
    assert len(held) > 1
    assert [path.stat().st_nlink for path in held] == [1, *[2] * (len(held) - 1)]
