"""Users of a domain, in an `htpasswd -B` file: bcrypt and nothing else.

A comment before a user says who has the credential, and until when it holds:

    # recipient: Edge team Lyon; issued: 2026-09-01; expires: 2026-12-01
    edge:$2y$10$…

All three are optional. A credential without `expires` holds until it is taken out of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt

from stellaops.core import timestamps
from stellaops.core.errors import InvalidInput, MissingPrerequisite

OLD = timedelta(days=90)
"""A credential that is older should be replaced."""

_HASH = re.compile(rb"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 16)  # a cost of 16 takes seconds a check
_LARGEST = 8 << 20
_BCRYPT_BYTES = 72  # what bcrypt looks at, of a password
_FIELDS = ("recipient", "issued", "expires")


class HtpasswdUnreadable(MissingPrerequisite):
    """The file with a domain's users cannot be read."""

    code = "ERR_HTPASSWD_UNREADABLE"
    hint = "Make the file with `htpasswd -B -C 10`, readable for the user that runs stella."


class BadHtpasswd(InvalidInput):
    """Lines of a file with a domain's users cannot be used; all are listed."""

    code = "ERR_HTPASSWD_INVALID"
    hint = "Make the entries anew with `htpasswd -B -C 10`; comments as `# expires: 2026-12-01`."


@dataclass(frozen=True, slots=True)
class Credential:
    """One user.

    Attributes:
        expires: from then on the password is refused.
    """

    user: str
    hash: bytes = field(repr=False)
    recipient: str | None = None
    issued: datetime | None = None
    expires: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it holds no more."""
        return self.expires is not None and now >= self.expires

    def is_old(self, now: datetime) -> bool:
        """Whether it should have been replaced."""
        return self.issued is not None and now - self.issued > OLD


def read(path: Path) -> Mapping[str, Credential]:
    """The users of a file, by name.

    Raises:
        HtpasswdUnreadable, BadHtpasswd: see there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise HtpasswdUnreadable(f"{path}: {error.strerror or error}") from error
    if len(data) > _LARGEST:
        raise HtpasswdUnreadable(f"{path} has more than {_LARGEST:,} bytes")
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Mapping[str, Credential]:
    """The users in the text of such a file.

    Args:
        name: what the file is called in errors.

    Raises:
        BadHtpasswd: see there; no line is repeated in it, for there are hashes in them.
    """
    found: dict[str, Credential] = {}
    problems: list[str] = []
    told: dict[str, str] = {}
    for number, line in enumerate(data.splitlines(), 1):
        text = line.strip()
        if text.startswith(b"#"):
            told |= _comment(text)
        elif text:
            try:
                credential = _credential(text, told)
                if credential.user in found:
                    raise ValueError("the user has an entry already")  # noqa: TRY301
                found[credential.user] = credential
            except ValueError as error:
                problems.append(f"line {number}: {error}")
            told = {}
    if problems:
        raise BadHtpasswd(f"{name}: {'; '.join(problems[:20])}", details=problems)
    return found


def _comment(line: bytes) -> dict[str, str]:
    told = {}
    for part in line.lstrip(b"# \t").decode("utf-8", "replace").split(";"):
        name, colon, value = part.partition(":")
        if colon and name.strip().lower() in _FIELDS:
            told[name.strip().lower()] = value.strip()
    return told


def _credential(line: bytes, told: Mapping[str, str]) -> Credential:
    name, _, hashed = line.partition(b":")
    shape = _HASH.fullmatch(hashed)
    if not name or shape is None:
        raise ValueError("not `user:` and a bcrypt hash")
    if int(shape[1]) not in _COSTS:
        raise ValueError(f"the cost of bcrypt is not from {_COSTS.start} to {_COSTS.stop - 1}")
    return Credential(
        name.decode("utf-8"), hashed, told.get("recipient"), _day(told, "issued"), _day(told, "expires")
    )


def _day(told: Mapping[str, str], name: str) -> datetime | None:
    text = told.get(name)
    if text is None:
        return None
    moment = timestamps.parse(text if "T" in text else f"{text}T00:00:00Z")
    if moment is None:
        raise ValueError(f"{name} is no date: write 2026-12-01")
    return moment.astimezone(UTC)


def holds(password: bytes, credential: Credential | None) -> bool:
    """Whether a password is a user's; as slow for a user that there is not."""
    hashed = credential.hash if credential else _NOBODY
    try:
        fits = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
    except ValueError:  # a NUL in it
        return False
    return fits and credential is not None


_NOBODY = b"$2b$10$CwTycUXWue0Thq9StjUM0uJ8ZC1bHd7DqmGe6LQh5uUyk0rmZz1l2"
