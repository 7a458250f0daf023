"""A whole bundle as one tar file: over the API, by the commands here and over a server."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stellaops.api.artifacts import _pieces
from stellaops.exports.bundle_tar import BundleTar, Member, bundle_tar
from stellaops.exports.errors import ArtefactMissing
from stellaops.exports.run import Run
from tests.support.api import Api, api, serving
from tests.unit.cli.running import call


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Run]]:
    with api(tmp_path_factory.mktemp("tar")) as found:
        found.service.fill(20)
        yield found, found.finished_run()


def tar_of(house: tuple[Api, Run], run: Run | None = None) -> BundleTar:
    asked, own = house
    return bundle_tar(run or own, asked.local.artefacts, asked.local.statements)


def test_it_holds_what_a_download_lays_out_and_verifies(house: tuple[Api, Run], tmp_path: Path) -> None:
    asked, run = house
    answer = asked.get(f"/api/export/runs/{run.id}/bundle.tar")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-disposition"] == f'attachment; filename="{run.id}.tar"'
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path, filter="data")
    assert names[:2] == [f"{run.id}/export.json", f"{run.id}/files.json"]
    words = ("--data-dir", str(asked.local.data_dir))
    assert call(*words, "export", "download", run.id, "--to", str(tmp_path / "laid")).code == 0
    laid = {
        path.relative_to(tmp_path / "laid"): path for path in (tmp_path / "laid").rglob("*") if path.is_file()
    }
    got = {
        path.relative_to(tmp_path / run.id): path for path in (tmp_path / run.id).rglob("*") if path.is_file()
    }
    assert got.keys() == laid.keys()
    assert all(got[each].read_bytes() == laid[each].read_bytes() for each in laid)
    key = tmp_path / "key.pub"
    key.write_text(asked.get("/tenants/default/export-center.pub").text)
    assert call("export", "verify", str(tmp_path / run.id), "--key", str(key)).code == 0


def test_it_is_the_same_each_time_and_comes_in_pieces(house: tuple[Api, Run]) -> None:
    found = tar_of(house)
    pieces = list(found.pieces())
    assert b"".join(pieces) == b"".join(tar_of(house).pieces())
    assert sum(map(len, pieces)) == found.size
    assert max(map(len, pieces)) <= 4 << 20


def test_who_may_not_download_or_sees_not_all_gets_none(house: tuple[Api, Run]) -> None:
    asked, run = house
    path = f"/api/export/runs/{run.id}/bundle.tar"
    assert asked.get(path, scopes=("export:read",)).status_code == 403
    assert asked.get(path, tenants=("other",)).status_code == 404
    assert asked.get("/api/export/runs/run-20200101t000000-00000000/bundle.tar").status_code == 404
    link = asked.post(f"/api/export/runs/{run.id}/links", {"path": "export.json"}).json()["links"][0]["url"]
    parts = urlsplit(link)
    assert asked.client.get(f"{parts.path}?{parts.query}").status_code == 200
    assert asked.client.get(f"{path}?{parts.query}").status_code in (400, 401)
    for runs, status in (([run.id], 200), (["run-20200101t000000-00000000"], 404)):
        token = asked.post("/api/export/download-tokens", {"runs": runs}).json()["downloadToken"]
        told = {"authorization": f"Bearer {token}"}
        assert asked.client.get(path, headers=told).status_code == status


def test_a_file_that_is_damaged_where_it_lies_ends_the_stream(house: tuple[Api, Run]) -> None:
    _, run = house
    first = run.artifacts[0]
    wrong = replace(run, artifacts=(replace(first, sha256="sha256:" + "0" * 64), *run.artifacts[1:]))
    with pytest.raises(ArtefactMissing, match=first.path):
        list(tar_of(house, wrong).pieces())
    short = Member("a", 10, None, lambda: iter((b"12345",)))
    with pytest.raises(ArtefactMissing, match="a is not"):
        list(BundleTar("run", (short,)).pieces())


def test_files_that_fill_their_blocks_end_no_stream() -> None:
    sizes = {"a": 512, "b": 0, "c": 1024, "d": 3}
    members = [Member(path, size, None, partial(_read, size)) for path, size in sizes.items()]
    found = BundleTar("run", tuple(members))
    assert all(found.pieces())

    async def streamed() -> bytes:
        return b"".join([piece async for piece in _pieces(found.pieces())])

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(streamed()))) as tar:
        assert {each.name: each.size for each in tar} == {f"run/{path}": size for path, size in sizes.items()}


def _read(size: int) -> Iterator[bytes]:
    yield b"x" * size
    yield b""


def test_long_names_and_sizes_beyond_the_old_format_are_written(tmp_path: Path) -> None:
    long = "data/" + "x" * 150 + "/y"
    found = BundleTar("run", (Member(long, 3, None, lambda: iter((b"abc",))),))
    raw = b"".join(found.pieces())
    assert len(raw) == found.size
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert tar.getnames() == [f"run/{long}"]
    huge = BundleTar("run", (Member("big", 9 << 30, None, lambda: iter(())),))
    assert huge.size > 9 << 30


def test_the_command_writes_one_file_here_and_over_a_server(
    house: tuple[Api, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, run = house
    here, there = tmp_path / "here.tar", tmp_path / "there.tar"
    words = ("--data-dir", str(asked.local.data_dir))
    assert call(*words, "export", "download", run.id, "--tar", str(here)).code == 0
    with serving(asked.service) as process:
        monkeypatch.setenv("STELLA_TOKEN", asked.token())
        answer = call("--server", process.url, "export", "download", run.id, "--tar", str(there))
        assert answer.code == 0, answer.err
        again = call("--server", process.url, "export", "download", run.id, "--tar", str(there))
    assert here.read_bytes() == there.read_bytes()
    assert again.code != 0
    assert "exists" in again.err
    both = call(*words, "export", "download", run.id, "--tar", str(here), "--to", str(tmp_path / "x"))
    assert both.code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.tar", "there.tar"]
