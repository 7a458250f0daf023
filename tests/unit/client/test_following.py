"""Events of a run through broken connections; downloads that go on; whatever is wrong, nothing is put in place."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.adapters.files.workspace import TargetExists
from stellaops.client.connection import Connection
from stellaops.client.downloads import NothingToDownload, download, download_tar
from stellaops.client.errors import DownloadCorrupt, FollowLost, ServerAnswerUnusable, ServerUnreachable
from stellaops.client.events import Sent, follow, parse
from stellaops.core.errors import NotFound
from tests.unit.client.serving import Asked, Said, connection, problem, serving

KINDS = ["pending", "started", "progress", "progress", "progress", "verified", "succeeded"]


def stream(first: int, last: int) -> bytes:
    frames = [
        f"id: {n}\nevent: run.{KINDS[n - 1]}\ndata: {json.dumps({'runId': 'run-1', 'at': 'now', 'n': n})}\n\n"
        for n in range(first, last + 1)
    ]
    return b"retry: 2000\n\n: heartbeat\n\n" + "".join(frames).encode()


def told(connection: Connection, after: int = 0, **more: Any) -> list[int]:
    return [event["number"] for event in follow(connection, "run-1", after, **more)]


@given(st.lists(st.integers(1, 60), max_size=40), st.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_the_stream_is_cut(sizes: list[int], end: str) -> None:
    whole, pieces = stream(1, 7).replace(b"\n", end.encode()), list[bytes]()
    rest = whole
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    found = list(parse([*pieces, rest]))
    assert [(each.id, each.type) for each in found] == [(str(n), f"run.{KINDS[n - 1]}") for n in range(1, 8)]


def test_lines_of_data_are_joined_and_an_event_without_an_end_is_none() -> None:
    assert list(parse([b"data: a\ndata:b\nid: 4\n\nevent: x\ndata: lost\n"])) == [
        Sent("4", "message", "a\nb")
    ]


@pytest.mark.parametrize("cut", range(60, len(stream(1, 7)), 37))
def test_a_cut_stream_goes_on_after_the_last_event_that_came_whole(cut: int) -> None:
    def answer(asked: Asked) -> Said:
        after = int(asked.headers["last-event-id"])
        if after >= 7:
            return Said(204, b"")
        body = stream(after + 1, 7)
        return Said(body=body, endless=True, cut=cut if len(server.asked) == 1 else None)

    with serving(answer) as server:
        assert told(connection(server.url)) == [1, 2, 3, 4, 5, 6, 7]
    assert all(each.path == "/api/export/runs/run-1/events" for each in server.asked)


def test_a_server_that_restarts_is_waited_for_and_nothing_is_told_twice() -> None:
    answers = iter(
        [Said(body=stream(1, 3), endless=True), Said(502), Said(503), Said(body=stream(2, 7), endless=True)]
    )
    pauses, away = list[float](), list[float]()
    with serving(lambda asked: next(answers)) as server:
        assert told(connection(server.url, pauses), away=away.append) == [1, 2, 3, 4, 5, 6, 7]
    assert [each.headers["last-event-id"] for each in server.asked] == ["0", "3", "3", "3"]
    assert len(away) == 2
    assert pauses


def test_a_run_that_has_ended_and_has_no_more_events_is_the_end() -> None:
    with serving(lambda asked: Said(204, b"")) as server:
        assert told(connection(server.url), after=7) == []
    assert len(server.asked) == 1


def test_a_server_that_stays_away_is_told_when_patience_is_over() -> None:
    clock = iter(range(0, 1000, 40))
    with serving(lambda asked: Said(503)) as server, pytest.raises(FollowLost, match="run-1"):
        told(connection(server.url), patience=100, clock=lambda: float(next(clock)))


def test_a_run_that_is_not_there_is_no_reason_to_wait() -> None:
    with serving(lambda asked: problem(404, "ERR_EXPORT_RUN_NOT_FOUND")) as server, pytest.raises(NotFound):
        told(connection(server.url))
    assert len(server.asked) == 1


# ---- downloads

FILES = {"export.json": b"{}", "trivy/db.bundle": bytes(range(256)) * 4000, "signatures/export.sig": b"sig"}
ARCHIVE = "a" * 26


def run_of(files: dict[str, bytes] = FILES, **more: Any) -> dict[str, Any]:
    artifacts = [
        {"path": path, "sha256": f"sha256:{hashlib.sha256(data).hexdigest()}", "bytes": len(data)}
        for path, data in files.items()
        if not path.startswith("signatures/")
    ]
    signatures = [path for path in files if path.startswith("signatures/")]
    return {"runId": "run-1", "exportId": "b" * 26, "archiveId": ARCHIVE, "status": "succeeded",
            "artifacts": artifacts, "signatures": signatures, **more}  # fmt: skip


class Store:
    """Serves `files` with ranges; `cut` of the first answers about a path come only so far."""

    def __init__(self, files: dict[str, bytes], cuts: dict[str, list[int]] | None = None) -> None:
        self.files, self.cuts, self.sent = files, cuts or {}, 0

    def __call__(self, asked: Asked) -> Said:
        path = asked.path.removeprefix("/api/export/runs/run-1/artifacts/")
        data = self.files[path]
        start = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        etag = {"etag": f'"sha256:{hashlib.sha256(data).hexdigest()}"'}
        if start >= len(data):
            return Said(416, b"", etag)
        more = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        cut = self.cuts[path].pop(0) if self.cuts.get(path) else None
        self.sent += len(data) - start if cut is None else cut
        return Said(206 if start else 200, data[start:], etag | more, cut)


def fetched(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "place" / "bundle"
    left = [path.name for path in (tmp_path / "place").iterdir()] if (tmp_path / "place").exists() else []
    assert all(name == "bundle" or name.startswith(".bundle.download-") for name in left)


def test_a_bundle_comes_whole_and_a_broken_connection_costs_only_what_was_lost(target: Path) -> None:
    store, shown = Store(FILES, {"trivy/db.bundle": [300_000, 500_000]}), list[str]()
    with serving(store) as server:
        download(connection(server.url), run_of(), target, shown.append)
    assert fetched(target) == FILES
    assert store.sent == sum(map(len, FILES.values()))
    assert shown[-1].startswith("1.0 of 1.0")
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]


def test_a_download_that_was_given_up_goes_on_when_the_command_runs_again(target: Path) -> None:
    store = Store(FILES, {"trivy/db.bundle": [100_000] * 9})
    with serving(store) as server:
        with pytest.raises(ServerUnreachable):
            download(connection(server.url), run_of(), target, lambda text: None)
        assert not target.exists()
        store.sent = 0
        download(connection(server.url), run_of(), target, lambda text: None)
    assert fetched(target) == FILES
    assert store.sent < len(FILES["trivy/db.bundle"]) - 800_000


def test_a_file_with_another_digest_is_never_put_in_place(target: Path) -> None:
    damaged = FILES | {"trivy/db.bundle": FILES["trivy/db.bundle"][:-1] + b"!"}
    with serving(Store(damaged)) as server, pytest.raises(DownloadCorrupt):
        download(connection(server.url), run_of(), target, lambda text: None)
    assert not target.exists()


def test_what_was_begun_of_another_content_is_fetched_anew(target: Path) -> None:
    part = target.parent / f".bundle.download-{ARCHIVE}" / "trivy" / "db.bundle.part"
    part.parent.mkdir(parents=True)
    for junk in (b"x" * 1000, b"x" * 2_000_000):
        part.write_bytes(junk)
        with serving(Store(FILES)) as server:
            download(connection(server.url), run_of(), target, lambda text: None)
        assert fetched(target) == FILES
        part.parent.mkdir(parents=True)
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("path", ["../outside", "/etc/x", "a/../../x", "a\\b", ""])
def test_a_server_cannot_name_a_file_outside_the_bundle(target: Path, path: str) -> None:
    files = {path: b"x"}
    with serving(Store(files)) as server, pytest.raises(ServerAnswerUnusable):
        download(connection(server.url), run_of(files), target, lambda text: None)
    assert server.asked == []


def tar_with(*more: tarfile.TarInfo) -> bytes:
    """A whole bundle as a tar file, and members that do not belong there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, data in FILES.items():
            about = tarfile.TarInfo(f"run-1/{path}")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
        for each in more:
            tar.addfile(each)
    return packed.getvalue()


def strange(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, link
    return about


@pytest.mark.parametrize(
    "more",
    [
        strange("/etc/cron.d/x"),
        strange("run-1/../../x"),
        strange("export.json"),
        strange("run-1/data", tarfile.SYMTYPE, "/etc"),
        strange("run-1/data", tarfile.LNKTYPE, "elsewhere"),
        strange("run-1/data", tarfile.DIRTYPE),
    ],
    ids=lambda each: f"{each.name} {each.type.decode()}",
)
def test_a_tar_file_that_would_write_elsewhere_is_not_put_in_place(
    target: Path, more: tarfile.TarInfo
) -> None:
    file = target.with_name("bundle")
    with serving(lambda asked: Said(body=tar_with(more))) as server, pytest.raises(DownloadCorrupt):
        download_tar(connection(server.url), run_of(), file, lambda text: None)
    assert not file.exists()
    with serving(lambda asked: Said(body=tar_with())) as server:
        download_tar(connection(server.url), run_of(), file, lambda text: None)
    assert file.exists()


@pytest.mark.parametrize("cut", [100, 700_000, 1_028_096])
def test_a_tar_file_that_is_cut_off_is_not_put_in_place(target: Path, cut: int) -> None:
    whole = tar_with()
    assert cut < len(whole)
    with (
        serving(lambda asked: Said(body=whole, cut=cut)) as server,
        pytest.raises((DownloadCorrupt, ServerUnreachable)),
    ):
        download_tar(connection(server.url), run_of(), target, lambda text: None)
    assert not target.exists()


def test_a_target_with_something_in_it_and_a_run_without_a_bundle_are_refused(target: Path) -> None:
    with serving(Store(FILES)) as server:
        with pytest.raises(NothingToDownload):
            download(
                connection(server.url), run_of(status="failed", archiveId=None), target, lambda text: None
            )
        target.mkdir(parents=True)
        (target / "mine").write_text("mine")
        with pytest.raises(TargetExists):
            download(connection(server.url), run_of(), target, lambda text: None)
    assert server.asked == []
