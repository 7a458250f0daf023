"""The databases: whether they answer, and are in this release's schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from stellaops.adapters.sql.administration import Stores, StoreStatus
from stellaops.core.errors import StellaError
from stellaops.ingest.doctor import Finding, Verdict


class Looked(Protocol):
    """A store that is looked at as a whole."""

    @property
    def name(self) -> str:
        """`evidence` or `service`."""
        ...

    @property
    def is_absent(self) -> bool:
        """Whether nothing is there."""
        ...

    def status(self) -> StoreStatus:
        """What is there."""
        ...


def check_stores(stores: Stores, *, serves: bool) -> Iterator[Finding]:
    """Both stores.

    Args:
        serves: whether this machine serves mirrors, which needs neither.
    """
    chosen = stores.chosen(())
    begun = any(not is_absent(store) for store in chosen)
    for store in chosen:
        yield check_store(store, serves=serves, begun=begun)


def is_absent(store: Looked) -> bool:
    """Whether there is nothing of a store to look into; what is wrong with it is a finding of its own."""
    try:
        return store.is_absent
    except StellaError:
        return True


def check_store(store: Looked, *, serves: bool, begun: bool) -> Finding:
    """One store.

    Args:
        serves: whether this machine serves mirrors, which needs none.
        begun: whether the other store is there: then this one comes with what first needs it.
    """
    name = f"{store.name} store"
    try:
        status = store.status()
    except StellaError as error:
        return Finding(name, Verdict.FAILED, error.what, error.advice)
    if not status.schema:
        if serves:
            return Finding(name, Verdict.OK, "none here; a mirror host needs none")
        if begun:
            return Finding(name, Verdict.OK, "not there yet; what first needs it makes it")
        hint = (
            "Check `stella config show`: is this the data directory? The first import or run makes the store."
        )
        return Finding(name, Verdict.WARNING, f"nothing is there yet: {status.address}", hint)
    if status.pending:
        hint = "Make a backup, then run `stella db migrate`."
        return Finding(name, Verdict.WARNING, f"not up to date: {', '.join(status.pending)}", hint)
    detail = f"{status.kind}, schema {status.schema}, {status.bytes >> 20} MiB: {status.address}"
    return Finding(name, Verdict.OK, detail)
