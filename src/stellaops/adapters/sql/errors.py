"""What can be wrong with a store, in words of ours."""

from __future__ import annotations

from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotPermitted,
    NotTrusted,
)


class StoreFull(MissingPrerequisite):
    """No room on the disk of the store."""

    code = "ERR_STORE_FULL"
    hint = "Free room on the disk of the data directory, then run the same command again: it goes on where it was."


class StoreReadOnly(MissingPrerequisite):
    """The store cannot be written."""

    code = "ERR_STORE_READ_ONLY"
    hint = (
        "Give the user that runs stella write permission on the data directory, or choose another --data-dir."
    )


class StoreBusy(DependencyFailed):
    """Another process holds the store for longer than the waiting time."""

    code = "ERR_STORE_BUSY"
    hint = "Wait for the other stella process, then run the command again."


class StoreConflict(StoreBusy):
    """Another process did the same thing at the same moment, and came first."""

    code = "ERR_STORE_CONFLICT"
    hint = "Run the same command again."


class StoreDamaged(NotTrusted):
    """The store's file is not a sound database."""

    code = "ERR_STORE_DAMAGED"
    hint = "Restore the data directory from a backup, or move it away and import again."


class StoreUnreachable(DependencyFailed):
    """The database server does not answer, or ended the connection."""

    code = "ERR_STORE_UNREACHABLE"
    hint = "See that the server runs and that `store.evidence` and `store.service` name it; then run the command again."


class StoreLogin(NotPermitted):
    """The database server does not let us in."""

    code = "ERR_STORE_LOGIN"
    hint = (
        "Check the role in the address, and its password in `store.passwordFile` or in libpq's password file."
    )


class StoreTooNew(MissingPrerequisite):
    """The store was written by a later release."""

    code = "ERR_STORE_TOO_NEW"
    hint = "Use the release that wrote this store, or a later one."


class StoreNotMigrated(MissingPrerequisite):
    """A PostgreSQL store lacks schema steps of this release; they are taken on purpose only."""

    code = "ERR_STORE_NOT_MIGRATED"
    hint = "Run `stella db migrate`."


class CopyUnfinished(MissingPrerequisite):
    """The store is the target of a copy that has not ended."""

    code = "ERR_STORE_COPY_UNFINISHED"
    hint = "Run the same `stella db copy` again, which goes on; or remove the target and begin anew."


class BadStoreAddress(InvalidInput):
    """The address of a store cannot be used."""

    code = "ERR_STORE_ADDRESS"
    hint = "Write `postgresql://ROLE@HOST:PORT/DATABASE`, or the path of a SQLite file."


class DriverMissing(MissingPrerequisite):
    """The library that talks to PostgreSQL is not installed."""

    code = "ERR_STORE_DRIVER_MISSING"
    hint = "Install it: `pip install 'stellaops[postgresql]'`."
