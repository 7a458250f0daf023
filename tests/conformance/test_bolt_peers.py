"""Other people's readers on the files of our bbolt writer: bbolt itself, and stock Trivy."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bolt_go
from stellaops.bundles.trivy.bolt.check import check
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.bolt.writer import BoltWriter, BucketHandle


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bbolt, as a program of ours in Go."""
    try:
        return bolt_go.build(tmp_path_factory.mktemp("peer"))
    except bolt_go.Unavailable as reason:
        # The peer comes from two optional Debian packages: what it finds is a bonus, in CI too.
        pytest.skip(str(reason))


def packages(writer: BoltWriter, count: int) -> Iterator[tuple[bytes, BucketHandle]]:
    for number in range(count):
        # From nothing through inline buckets of all sizes to some that need pages.
        rows = [(b"CVE-%06d" % n, b"{}" * (n * number % 500)) for n in range(number * number % 331)]
        yield b"package-%05d" % number, writer.leaf_bucket(rows)


def top_level(writer: BoltWriter) -> Iterator[tuple[bytes, BucketHandle]]:
    yield b"alpine", writer.bucket(packages(writer, 1))
    yield b"debian 12", writer.bucket(packages(writer, 3000))
    yield b"empty", writer.bucket([])
    yield b"long keys", writer.leaf_bucket((b"%05d" % n + b"k" * 32_763, b"v") for n in range(40))
    yield b"vulnerability", writer.leaf_bucket((b"CVE-%07d" % n, b"x" * (n % 3000)) for n in range(20_000))
    yield b"with a large value", writer.leaf_bucket([(b"a", b"1"), (b"b", b"2" * 5_000_000), (b"c", b"3")])


def write(path: Path, page_size: int = 4096) -> None:
    with path.open("wb") as out:
        writer = BoltWriter(out, page_size=page_size)
        writer.finish(top_level(writer))


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
def test_bbolt_checks_and_reads_what_we_write(peer: Path, tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "ours.db"
    write(path, page_size)
    report = bolt_go.ask(peer, "check", path)
    assert report["problems"] == []
    assert report["pageSize"] == page_size
    data = path.read_bytes()
    ours = check(data)
    assert ours.problems == ()
    assert (report["buckets"], report["entries"]) == (ours.buckets, ours.entries)
    assert report["digest"] == bolt_go.content_digest(BoltReader(data))


def test_bbolt_can_go_on_writing_into_our_file_and_we_read_the_result(peer: Path, tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    write(path)
    before = check(path.read_bytes())
    report = bolt_go.ask(peer, "touch", path)
    assert report["problems"] == []
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        after = check(data)
        assert after.problems == ()
        assert after.free_pages > 0
        assert (report["buckets"], report["entries"]) == (after.buckets, after.entries)
        assert after.buckets > before.buckets
        assert BoltReader(data).at(b"~ a bucket of the peer") is not None


def test_we_read_and_check_what_bbolt_writes(peer: Path, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    bolt_go.ask(peer, "write", path, "3", "200", "30", "200")
    data = path.read_bytes()
    report = bolt_go.ask(peer, "check", path)
    ours = check(data)
    assert ours.problems == ()
    assert (ours.buckets, ours.entries) == (603, 18_000)
    assert report["digest"] == bolt_go.content_digest(BoltReader(data))


def test_a_shared_page_is_a_problem_to_bbolt_and_to_us_alike(peer: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = BoltWriter(out)
    rows = [(b"%05d" % n, b"x" * 100) for n in range(2000)]
    writer.finish([(name, writer.leaf_bucket(rows)) for name in (b"a", b"b")])
    data = bytearray(out.getvalue())
    root = data.index(b"a", len(data) - 4096)
    data[root + 18 : root + 34] = data[root + 1 : root + 17]
    path = tmp_path / "shared.db"
    path.write_bytes(data)
    assert bolt_go.ask(peer, "check", path)["problems"]
    assert not check(bytes(data)).ok


# ---- stock Trivy


def trivy_database(directory: Path, name: bytes, packages_beside: int) -> bytes:
    """A cache directory of Trivy with one real finding for `requests` 2.19.0; the database."""

    def rows(writer: BoltWriter) -> Iterator[tuple[bytes, BucketHandle]]:
        advisory = {"PatchedVersions": ["2.20.0"], "VulnerableVersions": ["<2.20.0"]}
        for number in range(packages_beside):
            yield b"a-package-%05d" % number, writer.leaf_bucket([(b"CVE-2000-0001", as_json(advisory))])
        yield b"requests", writer.leaf_bucket([(b"CVE-2018-18074", as_json(advisory))], name=b"requests")

    source = {"ID": "ghsa", "Name": "A source", "URL": "https://advisories.example"}
    details = {
        "Title": "Credentials are sent over plain HTTP",
        "Severity": "CRITICAL",
        "VendorSeverity": {"ghsa": 3, "nvd": 4},
    }
    (directory / "db").mkdir(parents=True)
    with (directory / "db" / "trivy.db").open("wb") as out:
        writer = BoltWriter(out)
        writer.finish(
            [
                (b"data-source", writer.leaf_bucket([(name, as_json(source))])),
                (name, writer.bucket(rows(writer))),
                (b"vulnerability", writer.leaf_bucket([(b"CVE-2018-18074", as_json(details))])),
            ]
        )
    times = dict.fromkeys(("NextUpdate", "UpdatedAt", "DownloadedAt"), "2024-01-01T00:00:00Z")
    (directory / "db" / "metadata.json").write_bytes(as_json({"Version": 2, **times}))
    return (directory / "db" / "trivy.db").read_bytes()


def as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def scan(trivy: Path, no_network: tuple[str, ...], cache: Path, project: Path) -> list[dict[str, Any]]:
    command = [
        *no_network, str(trivy), "fs", "--scanners", "vuln", "--skip-db-update", "--offline-scan",
        "--skip-version-check", "--disable-telemetry", "--format", "json", "--quiet",
        "--cache-dir", str(cache), str(project),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = []
    for result in json.loads(done.stdout).get("Results", []):
        found += result.get("Vulnerabilities", [])
    return found


@pytest.mark.parametrize("packages_beside", [0, 20_000])
def test_stock_trivy_scans_with_a_database_of_ours(
    trivy: Path, no_network: tuple[str, ...], tmp_path: Path, packages_beside: int
) -> None:
    data = trivy_database(tmp_path / "cache", b"pip::Our Advisories", packages_beside)
    check(data).demand_ok()
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("requests==2.19.0\nflask==1.0\n", encoding="utf-8")
    (found,) = scan(trivy, no_network, tmp_path / "cache", project)
    assert (found["VulnerabilityID"], found["PkgName"]) == ("CVE-2018-18074", "requests")
    assert (found["FixedVersion"], found["Severity"], found["SeveritySource"]) == ("2.20.0", "HIGH", "ghsa")
    assert found["Title"] == "Credentials are sent over plain HTTP"
    assert found["DataSource"]["Name"] == "A source"
    (project / "requirements.txt").write_text("requests==2.20.0\n", encoding="utf-8")
    assert scan(trivy, no_network, tmp_path / "cache", project) == []
    after = hashlib.sha256((tmp_path / "cache" / "db" / "trivy.db").read_bytes()).digest()
    assert after == hashlib.sha256(data).digest()
