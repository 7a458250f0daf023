"""The Java database: the same bytes for the same rows, the tables that Trivy asks, one artefact for each digest."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy.java_db import BadJavaDatabase, JavaRow, JavaSentinel, Measured


def sha1(text: str) -> bytes:
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def row(
    group: str, artifact: str = "a", version: str = "1.0", kind: str = "jar", digest: str = ""
) -> JavaRow:
    return group, artifact, version, kind, sha1(digest or f"{group}:{artifact}:{version}:{kind}")


def written(path: Path, *rows: JavaRow) -> Measured:
    return java_db.write_database(path, rows)


def held(path: Path) -> list[JavaRow]:
    with closing(java_db.open_database(path)) as connection:
        return list(java_db.rows_of(connection))


def test_the_rows_stand_in_the_tables_of_trivys_own_builder(tmp_path: Path) -> None:
    rows = [
        row("org.a", "x", "1"),
        row("org.a", "x", "2"),
        row("org.a", "y", "1", "aar"),
        row("org.b", "x", "1"),
    ]
    path = tmp_path / "trivy-java.db"
    assert written(path, *rows).rows == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM artifacts").fetchall() == [
            (1, "org.a", "x"), (2, "org.a", "y"), (3, "org.b", "x"),
        ]  # fmt: skip
        assert connection.execute("SELECT * FROM indices").fetchall() == [
            (1, "1", rows[0][4], "jar"), (1, "2", rows[1][4], "jar"), (2, "1", rows[2][4], "aar"),
            (3, "1", rows[3][4], "jar"),
        ]  # fmt: skip
        names = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        }
        assert names == {"artifacts_idx", "indices_artifact_idx", "indices_sha1_idx"}
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM indices WHERE sha1 = x'00'").fetchall()
        assert "indices_sha1_idx" in plan[0][3]
    assert java_db.database_problems(path) == []


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [row(f"org.g{number:03}", "a", f"{number}") for number in range(500)]
    assert written(tmp_path / "1", *rows) == written(tmp_path / "2", *rows)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_header_tells_nothing_of_the_library(tmp_path: Path) -> None:
    written(tmp_path / "db", row("org.a"))
    header = (tmp_path / "db").read_bytes()[:100]
    assert header[96:100] == bytes(4)
    assert header[24:28] == header[92:96] == b"\0\0\0\1"
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_of_several_artefacts_with_one_digest_the_first_stays(tmp_path: Path) -> None:
    rows = [
        row("commons-io", "commons-io", "1.3.2", digest="same"),
        row("org.apache.commons", "commons-io", "1.3.2", digest="same"),
        row("org.apache.commons", "commons-io", "1.4"),
        row("org.zz", "copy", "1", digest="same"),
    ]
    measured = written(tmp_path / "db", *rows)
    assert held(tmp_path / "db") == [rows[0], rows[2]]
    assert measured.rows == 2
    assert java_db.database_problems(tmp_path / "db") == []  # no artefact without a row stays behind
    with closing(java_db.open_database(tmp_path / "db")) as connection:
        assert java_db.measure(connection) == measured


def test_several_files_of_one_version_are_all_found(tmp_path: Path) -> None:
    rows = sorted(row("org.a", digest=name) for name in ("plain", "jdk8", "native"))
    assert written(tmp_path / "db", *rows).rows == 3


def test_an_empty_list_gives_an_empty_database(tmp_path: Path) -> None:
    measured = written(tmp_path / "db")
    assert measured == Measured(0, measured.digest)
    assert java_db.database_problems(tmp_path / "db") == []
    assert held(tmp_path / "db") == []


def test_the_digest_is_over_tab_separated_rows_with_escapes(tmp_path: Path) -> None:
    odd = ("org.a", 'q"', "1\t0", "jar", b"\1" * 20)
    line = 'org.a\tq\\"\t1\\t0\tjar\t' + "01" * 20 + "\n"
    assert written(tmp_path / "db", odd).digest == f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"


def test_rows_that_are_not_in_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadJavaDatabase, match="does not come after"):
        written(tmp_path / "db", row("org.a", version="2"), row("org.a", version="1"))


def test_sentinels_are_jars_that_their_name_alone_tells(tmp_path: Path) -> None:
    rows = sorted(
        [
            row("org.a", "good-lib", "1.0"),
            row("org.a", "shared", "1.0"), row("org.b", "shared", "1.0"),
            row("org.a", "android", "1.0", "aar"),
            row("org.a", "wordy", "v1"),
            row("org.a", "odd-2", "3-4"),
        ]
    )  # fmt: skip
    written(tmp_path / "db", *rows)
    with closing(java_db.open_database(tmp_path / "db")) as connection:
        chosen = java_db.choose_sentinels(connection)
        assert chosen == [JavaSentinel("org.a", "good-lib", "1.0")]
        assert java_db.sentinel_problems(connection, chosen) == []
        assert java_db.sentinel_problems(connection, [JavaSentinel("org.b", "shared", "1.0")])
    assert java_db.read_sentinels(java_db.write_sentinels(chosen)) == tuple(chosen)


def test_few_sentinels_stand_for_many_artefacts(tmp_path: Path) -> None:
    written(tmp_path / "db", *sorted(row("org.a", f"lib{number}") for number in range(300)))
    with closing(java_db.open_database(tmp_path / "db")) as connection:
        assert len(java_db.choose_sentinels(connection)) == 8
