"""The driver `http`, where it is more than the contract of all targets: what is missing here is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stellaops.adapters.objects.directory import DirectoryArtefacts
from stellaops.exports.errors import DistributionFailed
from stellaops.exports.run import Archive
from tests.support.object_places import HttpPlace
from tests.support.targets import delivery, kept, untold


@pytest.fixture
def place(tmp_path: Path) -> HttpPlace:
    return HttpPlace(tmp_path / "place")


def test_a_bundle_that_was_never_published_or_lost_a_file_is_not_there(
    place: HttpPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    with pytest.raises(DistributionFailed, match="lacks 5 files") as refused:
        place.open().deliver(made, untold)
    assert not refused.value.again
    place.prepare(made)
    lost = place.directory / "kept" / "export-1" / "archive-1" / "files.json"
    lost.unlink()
    with pytest.raises(DistributionFailed, match=r"lacks 1 files, such as files\.json") as refused:
        place.open().deliver(made, untold)
    assert "run replay" in refused.value.advice


@pytest.mark.parametrize(
    "reference",
    ["", "artefacts:", "artefacts:x", "artefacts:/", "artefacts:a/b/c", "artefacts:../kept", "s3://a/b"],
)
def test_what_names_no_bundle_is_not_there(reference: str, place: HttpPlace, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    place.prepare(made)
    delivered = place.open().deliver(made, untold)
    (tmp_path / "none").mkdir()
    with pytest.raises(DistributionFailed):
        place.open().fetch(replace(kept(made, delivered), reference=reference), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_a_probe_leaves_no_bundle_and_no_scratch_even_when_the_store_refuses(
    place: HttpPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.open().probe()["remarks"] == []
    assert list((tmp_path / "place" / "scratch").iterdir()) == []

    def wrong(store: DirectoryArtefacts, archive: Archive, path: str) -> list[bytes]:
        return [b"something else"]

    monkeypatch.setattr(DirectoryArtefacts, "read", wrong)
    with pytest.raises(DistributionFailed, match="not what is read"):
        place.open().probe()
    assert list((tmp_path / "place").rglob("probe*")) == []
