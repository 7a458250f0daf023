"""Whatever is listed, the database answers by digest as the list says, and its bytes depend on the list alone."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy.java_db import JavaRow

WORDS = st.text(min_size=1, max_size=6)
ROWS: st.SearchStrategy[JavaRow] = st.tuples(
    st.sampled_from(("org.a", "org.b", "é\t\U0001f600")) | WORDS,
    st.sampled_from(("lib", "core")) | WORDS,
    st.sampled_from(("1.0", "2.0-SNAPSHOT")) | WORDS,
    st.sampled_from(java_db.ARCHIVE_TYPES),
    st.integers(0, 30).map(lambda number: number.to_bytes(20, "big")) | st.binary(min_size=20, max_size=20),
)


@settings(max_examples=60)
@given(st.sets(ROWS, max_size=60))
def test_every_digest_is_answered_by_the_first_artefact_that_has_it(listed: set[JavaRow]) -> None:
    rows = sorted(listed)
    first: dict[bytes, JavaRow] = {}
    for row in rows:
        first.setdefault(row[4], row)
    with tempfile.TemporaryDirectory() as directory:
        one, two = Path(directory) / "one", Path(directory) / "two"
        measured = java_db.write_database(one, rows)
        assert java_db.write_database(two, iter(rows)) == measured
        assert one.read_bytes() == two.read_bytes()
        assert java_db.database_problems(one) == []
        with closing(java_db.open_database(one)) as connection:
            assert list(java_db.rows_of(connection)) == sorted(first.values())
            assert java_db.sentinel_problems(connection, java_db.choose_sentinels(connection)) == []
            for digest, row in first.items():
                answer = connection.execute(
                    "SELECT a.group_id, a.artifact_id, i.version, i.archive_type, i.sha1 FROM indices i "
                    "JOIN artifacts a ON a.id = i.artifact_id WHERE i.sha1 = ?",
                    (digest,),
                ).fetchall()
                assert answer == [row]
    assert measured.rows == len(first)
