"""htpasswd files: bcrypt alone, with recipients and dates in comments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import bcrypt
import pytest

from stellaops.adapters.files import htpasswd
from stellaops.adapters.files.htpasswd import BadHtpasswd, HtpasswdUnreadable

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).replace(b"$2b$", b"$2y$")  # as `htpasswd -B` writes it
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_user_holds_with_the_right_password_alone() -> None:
    users = htpasswd.parse(b"edge:" + HASH + b"\n", "file")
    assert htpasswd.holds(b"secret", users["edge"])
    assert not htpasswd.holds(b"Secret", users["edge"])
    assert not htpasswd.holds(b"sec\0ret", users["edge"])
    assert not htpasswd.holds(b"secret", None)


def test_what_bcrypt_does_not_look_at_changes_nothing() -> None:
    long = b"x" * 72
    users = htpasswd.parse(b"edge:" + bcrypt.hashpw(long, bcrypt.gensalt(4)), "file")
    assert htpasswd.holds(long + b"more", users["edge"])


def test_comments_say_who_has_a_credential_and_until_when() -> None:
    text = (
        b"# recipient: Edge Lyon; issued: 2026-07-01; expires: 2026-10-01\nold:" + HASH + b"\n\nother:" + HASH
    )
    users = htpasswd.parse(text, "file")
    assert users["old"].recipient == "Edge Lyon"
    assert users["old"].has_expired(NOW)
    assert users["old"].is_old(NOW)
    assert not users["other"].has_expired(NOW)
    assert not users["other"].is_old(NOW)


@pytest.mark.parametrize(
    "line",
    [
        b"edge:secret", b"edge:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", b"edge:$apr1$x$y", b":" + HASH, b"edge",
        b"edge:" + HASH[:-1], b"edge:" + HASH.replace(b"$04$", b"$19$"), b"# expires: soon\nedge:" + HASH,
        b"edge:" + HASH + b"\nedge:" + HASH, b"\xff:" + HASH,
    ],
    ids=range(10),
)  # fmt: skip
def test_other_lines_are_refused_and_never_repeated(line: bytes) -> None:
    with pytest.raises(BadHtpasswd) as caught:
        htpasswd.parse(line, "file")
    assert HASH.decode()[:20] not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(HtpasswdUnreadable, match="none"):
        htpasswd.read(tmp_path / "none")
