"""Deltas of any changes, cut at any points: in order they give the full state, in any other order nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.kit import target
from stellaops.kit.apply import ApplyRefused, Trust, apply_delta, restore
from tests.support.mirrors import Archive, State, delta_of, full, key_pem

TRUST = Trust([key_pem()])
KEYS = ("K1", "K2", "Ä", 'with "quotes" and \\', "tab\there", "K2.1", "\U0001f600", "￿")

_documents = st.dictionaries(
    st.tuples(st.sampled_from(("a", "a-b", "b")), st.sampled_from(KEYS)),
    st.sampled_from(("x", "y", "z")),
    max_size=9,
)
_states = st.lists(st.builds(State, _documents, st.sampled_from((None, 1, 2))), min_size=2, max_size=5)


@contextmanager
def sent(states: Sequence[State]) -> Iterator[tuple[Path, list[Archive]]]:
    """A full archive of the first state, and a delta to each of the others."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        archives = [full(states[0], place / "0")]
        for number, state in enumerate(states[1:], 1):
            archives.append(delta_of(archives[-1], state, place / str(number)))
        yield place, archives


def files(into: Path) -> dict[str, bytes]:
    current = into / target.CURRENT
    return {
        str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()
    }


@settings(max_examples=25)
@given(states=_states)
def test_in_order_they_give_the_full_state(states: list[State]) -> None:
    with sent(states) as (place, archives):
        restore([archives[0].path], place / "one", TRUST)
        for archive in archives[1:]:
            assert apply_delta(archive.path, place / "one", TRUST).export_id == archive.export_id
        restore([full(states[-1], place / "fresh").path], place / "other", TRUST)
        assert files(place / "one") == files(place / "other")


@settings(max_examples=15)
@given(states=_states, data=st.data())
def test_in_any_other_order_they_are_refused(states: list[State], data: st.DataObject) -> None:
    with sent(states) as (place, archives):
        done = data.draw(st.integers(0, len(archives) - 1), label="applied")
        restore([archive.path for archive in archives[: done + 1]], place / "into", TRUST)
        before, state = files(place / "into"), (place / "into" / target.STATE).read_bytes()
        for number, archive in enumerate(archives):
            if number == done + 1:
                continue
            try:
                apply_delta(archive.path, place / "into", TRUST)
            except ApplyRefused:
                assert files(place / "into") == before
                assert (place / "into" / target.STATE).read_bytes() == state
            else:
                raise AssertionError(f"archive {number} was applied after archive {done}")


@settings(max_examples=8)
@given(states=st.lists(st.builds(State, _documents), min_size=3, max_size=3))
def test_a_restore_takes_no_order_but_the_chains(states: list[State]) -> None:
    with sent(states) as (place, archives):
        for number, order in enumerate(permutations(archives)):
            into = place / f"into-{number}"
            wrong = list(order) != archives
            try:
                restore([archive.path for archive in order], into, TRUST)
            except ApplyRefused:
                assert wrong
                assert not into.exists()
            else:
                assert not wrong
