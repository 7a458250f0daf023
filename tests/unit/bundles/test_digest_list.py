"""Lists of what content digests are taken over: written, amended, and found damaged."""

from __future__ import annotations

import hashlib
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles.content import SnapshotDigest
from stellaops.bundles.digest_list import (
    MAGIC,
    AmendedList,
    DamagedDigestList,
    DigestList,
    DigestListWriter,
    Place,
    place_and_digest,
)
from stellaops.core.digests import Digest, sha256

Rows = dict[Place, str]


def digest(text: str) -> str:
    return sha256(text.encode())


def written(rows: Rows) -> tuple[io.BytesIO, Digest]:
    """A list, and the digest as a snapshot of the rows has it."""
    out = io.BytesIO()
    writer = DigestListWriter(out)
    snapshot = SnapshotDigest(writer.add)
    for place, value in sorted(rows.items()):
        snapshot.add(*place, value)
    writer.close()
    return out, snapshot.digest()


def listed(rows: Rows) -> DigestList:
    return DigestList(*written(rows))


def amended(base: DigestList | None, changes: dict[Place, str | None]) -> tuple[list[str | None], DigestList]:
    out = io.BytesIO()
    amending = AmendedList(base, out)
    before = [amending.set(place, value) for place, value in sorted(changes.items())]
    found, records = amending.finish()
    result = DigestList(out, found)
    assert result.records == records
    return before, result


_texts = st.text(st.characters(codec="utf-8"), max_size=6)
_rows = st.dictionaries(st.tuples(_texts, _texts, _texts), st.sampled_from("abc").map(digest), max_size=12)


@given(
    _rows,
    st.dictionaries(st.tuples(_texts, _texts, _texts), st.one_of(st.none(), st.just(digest("new")))),
    st.data(),
)
def test_an_amended_list_is_the_list_of_the_amended_rows(
    rows: Rows, fresh: dict[Place, str | None], data: st.DataObject
) -> None:
    changes = dict(fresh)
    for place in data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True) if rows else st.just([])):
        changes[place] = data.draw(st.sampled_from([None, digest("other")]))
    before, result = amended(listed(rows), changes)
    assert before == [rows.get(place) for place in sorted(changes)]
    after = {place: value for place, value in {**rows, **changes}.items() if value is not None}
    assert result.digest == written(after)[1]
    assert list(result.lines()) == sorted(after.items())


@pytest.mark.parametrize("changed", [0, 1, 7, 400, 5000])
def test_many_blocks_are_amended_in_place(changed: int) -> None:
    chance = random.Random(changed)
    rows: Rows = {("", "s", f"K{number:06d}"): digest(str(number)) for number in range(5000)}
    changes: dict[Place, str | None] = {
        place: chance.choice([None, digest("other")]) for place in chance.sample(sorted(rows), changed)
    }
    changes |= {
        ("", "s", f"K{chance.randrange(5000):06d}-{number}"): digest("n") for number in range(changed)
    }
    base = listed(rows)
    assert len(base) > 10
    _, result = amended(base, changes)
    after = {place: value for place, value in {**rows, **changes}.items() if value is not None}
    assert list(result.lines()) == sorted(after.items())


def test_a_list_of_nothing_is_one() -> None:
    _, empty = amended(None, {})
    assert (empty.digest, list(empty.lines())) == (sha256(b""), [])
    _, one = amended(empty, {("", "s", "k"): digest("x")})
    assert list(one.lines()) == [(("", "s", "k"), digest("x"))]
    _, many = amended(None, {("", "s", f"{n:05d}"): digest("x") for n in range(3000)})
    assert many.records == 3000


def test_places_must_ascend() -> None:
    amending = AmendedList(None, io.BytesIO())
    amending.set(("", "b", "k"), digest("x"))
    with pytest.raises(ValueError, match="does not come after"):
        amending.set(("", "a", "k"), digest("x"))


def test_a_line_is_read_back() -> None:
    assert place_and_digest(b'\ta\\"\tb\\u0009\tsha256:00\n') == (("", 'a"', "b\t"), "sha256:00")


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty", "directory"])
def test_damage_is_found(damage: str) -> None:
    out, found = written({("", "s", f"K{number:06d}"): digest(str(number)) for number in range(2000)})
    data = bytearray(out.getvalue())
    if damage == "cut":
        del data[-1]
    elif damage == "flipped":
        data[100] ^= 1
    elif damage == "empty":
        data.clear()
    elif damage == "directory":
        data[-len(MAGIC) - 8 :] = (1 << 40).to_bytes(8, "big") + MAGIC
    else:
        found = Digest(f"sha256:{hashlib.sha256(b'another').hexdigest()}")
    with pytest.raises(DamagedDigestList):
        amended(DigestList(io.BytesIO(bytes(data)), found), {("", "s", "K000000"): None})
