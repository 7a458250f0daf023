"""What every target of distribution does, the one in memory too: one suite for all drivers.

A driver adds its place to `PLACES`: a function that makes one for a test, and may ask `request` for fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stellaops.core.errors import StellaError
from stellaops.exports.errors import DistributionFailed
from tests.support import registry, s3
from tests.support.object_places import HttpPlace, ObjectPlace
from tests.support.registry import OciPlace
from tests.support.targets import (
    FakePlace,
    Place,
    contents,
    delivery,
    kept,
    signed_again,
    untold,
)

PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "fake": lambda request: FakePlace(),
    "http": lambda request: HttpPlace(request.getfixturevalue("tmp_path") / "place"),
    "http from a bucket": lambda request: HttpPlace(made(request), request.getfixturevalue("bucket")),
    "object": lambda request: ObjectPlace(made(request), request.getfixturevalue("bucket")),
    "oci": lambda request: OciPlace(request.getfixturevalue("oci_registry"), made(request)),
}


def made(request: pytest.FixtureRequest) -> Path:
    """A directory for a place."""
    directory: Path = request.getfixturevalue("tmp_path") / "place"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Bucket]:
    with s3.serving(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def oci_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Registry]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param](request)


@pytest.fixture
def moving(place: Place) -> Place:
    if not place.points:
        pytest.skip("this target has no names that move")
    return place


@pytest.fixture
def removing(moving: Place) -> Place:
    if not moving.removes:
        pytest.skip("this target removes nothing")
    return moving


def test_what_is_fetched_is_what_was_delivered(place: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    place.prepare(made)
    delivered = place.open().deliver(made, untold)
    (tmp_path / "back").mkdir()
    place.open().fetch(kept(made, delivered), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(made.root)


def test_a_bundle_that_is_there_is_not_sent_twice(place: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    place.prepare(made)
    first = place.open().deliver(made, untold)
    second = place.open().deliver(made, untold)
    assert second.reference == first.reference
    assert second.sent == 0
    if place.points:
        assert first.sent >= 70_000


def test_new_signatures_replace_the_old_ones(place: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    place.prepare(made)
    place.open().deliver(made, untold)
    again = signed_again(made)
    place.prepare(again)
    delivered = place.open().deliver(again, untold)
    (tmp_path / "back").mkdir()
    place.open().fetch(kept(again, delivered), tmp_path / "back")
    assert contents(tmp_path / "back")["signatures/export.sig"] == b"another signature"
    assert delivered.sent < 70_000, "the rows were there"


def test_bringing_a_bundle_moves_no_name_and_pointing_does(moving: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    moving.prepare(made)
    delivered = moving.open().deliver(made, untold)
    assert moving.open().newest(kept(made, delivered)) is None
    moving.open().point(made, delivered)
    assert moving.open().newest(kept(made, delivered)) == delivered.reference
    moving.open().point(made, delivered)
    assert moving.open().newest(kept(made, delivered)) == delivered.reference


def test_moving_names_never_go_back(moving: Place, tmp_path: Path) -> None:
    older, newer = delivery(tmp_path, 1), delivery(tmp_path, 2)
    for each in (older, newer):
        moving.prepare(each)
    target = moving.open()
    first, second = target.deliver(older, untold), target.deliver(newer, untold)
    target.point(newer, second)
    with suppress(DistributionFailed):
        moving.open().point(older, first)
    assert moving.open().newest(kept(older, first)) == second.reference != first.reference


def test_profiles_of_one_place_have_names_of_their_own(moving: Place, tmp_path: Path) -> None:
    one, other = delivery(tmp_path, 1), delivery(tmp_path, 1, profile="team:weekly.json_raw")
    for each in (one, other):
        moving.prepare(each)
    target = moving.open()
    first = target.deliver(one, untold)
    target.point(one, first)
    second = target.deliver(other, untold)
    assert target.newest(kept(other, second)) is None
    target.point(other, second)
    assert target.newest(kept(one, first)) == first.reference


def test_what_is_removed_is_gone_and_what_shares_files_with_it_is_whole(
    removing: Place, tmp_path: Path
) -> None:
    older, newer = delivery(tmp_path, 1), delivery(tmp_path, 2)
    target = removing.open()
    for each in (older, newer):
        removing.prepare(each)
    first, second = target.deliver(older, untold), target.deliver(newer, untold)
    target.point(newer, second)
    assert removing.open().remove(kept(older, first))
    assert removing.open().remove(kept(older, first)), "what is gone stays gone"
    (tmp_path / "none").mkdir()
    with pytest.raises(DistributionFailed):
        removing.open().fetch(kept(older, first), tmp_path / "none")
    (tmp_path / "back").mkdir()
    removing.open().fetch(kept(newer, second), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(newer.root)


def test_what_a_moving_name_stands_for_is_not_removed(removing: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    removing.prepare(made)
    delivered = removing.open().deliver(made, untold)
    removing.open().point(made, delivered)
    with suppress(StellaError):
        assert not removing.open().remove(kept(made, delivered))
    (tmp_path / "back").mkdir()
    removing.open().fetch(kept(made, delivered), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(made.root)


def test_fetching_what_was_never_brought_fails(place: Place, tmp_path: Path) -> None:
    there, absent = delivery(tmp_path, 1), delivery(tmp_path, 2)
    place.prepare(there)
    delivered = place.open().deliver(there, untold)
    wrong = kept(absent, delivered)
    reference = delivered.reference.replace(there.archive.archive_id, absent.archive.archive_id)
    if reference == delivered.reference:  # named by a digest
        head, _, digest = reference.rpartition(":")
        reference = f"{head}:{digest[::-1]}"
    wrong = type(wrong)(wrong.tenant, wrong.profile, wrong.kind, absent.archive, reference)
    (tmp_path / "none").mkdir()
    with pytest.raises(DistributionFailed):
        place.open().fetch(wrong, tmp_path / "none")


def test_a_probe_says_what_it_has_sent_and_leaves_nothing(place: Place) -> None:
    told = place.open().probe()
    assert set(told) == {"reference", "seconds", "remarks"}
    assert isinstance(told["reference"], str)
    assert told["seconds"] >= 0


def test_settings_that_a_target_does_not_know_are_named(place: Place) -> None:
    assert list(place.open().check({})) == []
    problems = place.open().check({"no-such-setting": True})
    assert len(problems) == 1
    assert "no-such-setting" in problems[0]


def test_progress_is_told_in_words_and_numbers(place: Place, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    place.prepare(made)
    told: list[tuple[str, Mapping[str, Any]]] = []
    place.open().deliver(made, lambda event, data: told.append((event, dict(data))))
    assert all(isinstance(value, str | int | float) for _, data in told for value in data.values())
