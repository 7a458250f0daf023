"""The audit log and the log of what is changed without a server, as a server's frame keeps them for requests."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from stellaops.adapters.sql.errors import StoreFull
from stellaops.adapters.telemetry.audit_events import say_change
from stellaops.authority.audit import AuditRecord, Change, Draft
from stellaops.bootstrap import Local, now
from stellaops.core.errors import (
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    NotPermitted,
    NotTrusted,
    QuotaExceeded,
    StellaError,
)
from stellaops.exports.errors import GateRefused
from stellaops.kit.disk import NoRoom

Tell = Callable[[Change], None]
INTERRUPTED = "ERR_INTERRUPTED"
"""The outcome of a change that whoever made it broke off."""
_REFUSALS = (InvalidInput, NotFound, NotPermitted, MissingPrerequisite, NotTrusted, QuotaExceeded)


class LocalAudit:
    """Notes changes as the work of whoever runs this process: called with a change, or around it as `noting`."""

    def __init__(self, local: Local, tenant: str) -> None:
        self._local, self._tenant = local, tenant

    def __call__(self, change: Change, outcome: str = "ok") -> None:
        """Write a change to the audit log, and say it in the log."""
        record = AuditRecord(now(), self._tenant, f"local:{_user()}", "local", change, outcome=outcome)
        self._local.audit.add(record)
        say_change(record)

    @contextmanager
    def noting(self, action: str, target: str = "") -> Iterator[Draft]:
        """Note what is done within; also where it ends with an error that leaves in doubt how far it came."""
        told = Draft(target)
        try:
            yield told
        except StellaError as error:
            if leaves_doubt(error):
                self._failed(told.final(action), error.code)
            raise
        except Exception:
            self._failed(told.final(action), StellaError.code)
            raise
        except KeyboardInterrupt:  # of several sources some may be imported
            self._failed(told.final(action), INTERRUPTED)
            raise
        if not told.none:
            self(told.final(action))

    def _failed(self, change: Change, code: str) -> None:
        with suppress(StellaError):  # the error that is under way says more than a store that is away, too
            self(change, code)


def leaves_doubt(error: StellaError | type[StellaError]) -> bool:
    """Whether a change that ends with this error may have come some way; a refusal changes nothing."""
    kind = error if isinstance(error, type) else type(error)
    if issubclass(kind, (NoRoom, StoreFull)):
        return True
    return not issubclass(kind, (*_REFUSALS, GateRefused))


def local_audit(local: Local, tenant: str) -> LocalAudit:
    """Writes changes to the audit log as the work of whoever runs this process."""
    return LocalAudit(local, tenant)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in many containers
        return f"uid {os.getuid()}"
