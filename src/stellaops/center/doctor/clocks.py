"""Clocks: tokens, leases, freshness statements and schedules go by the time, on each machine and in the database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stellaops.adapters.sql.clock import database_time
from stellaops.bootstrap import Local
from stellaops.core import durations
from stellaops.ingest.doctor import Finding, Verdict

_SLIGHT = timedelta(seconds=2)
_MOST = timedelta(seconds=30)
_HINT = "Set the clocks of both machines by NTP (`timedatectl set-ntp true`): tokens and leases go by them."


def check_database(local: Local) -> Iterator[Finding]:
    """The clock of a database server against this machine's; nothing where the database is a file here."""
    told = database_time(local.service_engine)
    if told is not None:
        yield compare("database clock", told, datetime.now(UTC))


def check_file_system(directory: Path) -> Finding:
    """The clock of the disk against this machine's: a network file system has its server's."""
    if not directory.is_dir():
        return Finding("clock", Verdict.OK, f"{directory} is not there, so no clock can be compared with it")
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".doctor-") as file:
            written = datetime.fromtimestamp(Path(file.name).stat().st_mtime, UTC)
            return compare("clock", written, datetime.now(UTC))
    except OSError as error:
        hint = "Run as the user whom the data directory belongs to, or give the disk room."
        return Finding("clock", Verdict.FAILED, f"{directory} cannot be written: {error.strerror}", hint)


def compare(name: str, other: datetime, own: datetime) -> Finding:
    """What the difference of two clocks comes down to."""
    apart = abs(other - own)
    if apart <= _SLIGHT:
        return Finding(name, Verdict.OK, "agrees with this machine's within two seconds")
    told = durations.render(timedelta(seconds=int(apart.total_seconds())))
    verdict = Verdict.WARNING if apart <= _MOST else Verdict.FAILED
    return Finding(
        name, verdict, f"is {told} {'ahead of' if other > own else 'behind'} this machine's", _HINT
    )
