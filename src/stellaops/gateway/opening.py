"""Pairs a mirror host with what it works with: settings, shared store, authority. No store of the service is opened."""

from __future__ import annotations

import logging
from pathlib import Path

from stellaops.adapters.settings.load import load_mirror_host, settings_file
from stellaops.adapters.settings.mirrors import SIDES, MirrorHost
from stellaops.adapters.sql.address import parse_address
from stellaops.adapters.sql.gateway_store import MemoryStore, SqlGatewayStore
from stellaops.adapters.tokens.remote_keys import RemoteAccess
from stellaops.bootstrap import now
from stellaops.core.errors import StellaError
from stellaops.gateway.budgets import BudgetStore
from stellaops.gateway.host import Host, Parts

_LOG = logging.getLogger("stellaops.gateway")


def open_host(part: str, data_dir: Path, *, log: int = 1) -> Host:
    """A mirror host by the settings.

    Args:
        part: `gateway`, or one side.
        data_dir: where budgets and counts are kept if the settings name no other place.
        log: descriptor of the access log; -1 for none.

    Raises:
        StellaError: the settings, or a file that they name, cannot be used.
    """
    settings = load_mirror_host()
    authority = settings.authority(part)
    parts = Parts(
        load_mirror_host,
        SIDES if part == "gateway" else (part,),
        _store(settings, data_dir),
        RemoteAccess(authority, now) if authority is not None else None,
        log,
        settings_file(),
    )
    for name in settings.unknown:
        _LOG.warning(
            "%s means nothing here", name.replace(".", "__").upper(), extra={"event": "mirror.settings"}
        )
    return Host(parts)


def _store(settings: MirrorHost, data_dir: Path) -> BudgetStore:
    """The store that is named; else a file in the data directory, or memory where that cannot be written."""
    if settings.state is not None:
        return SqlGatewayStore(parse_address(settings.state, settings.state_password_file))
    place = data_dir / "gateway" / "state.db"
    try:
        return SqlGatewayStore(parse_address(str(place)))
    except (StellaError, OSError) as error:
        text = "budgets and counts stay in memory, each process for itself: %s; set GATEWAY__STATEFILE"
        _LOG.warning(text, error, extra={"event": "mirror.state_in_memory"})
        return MemoryStore()
