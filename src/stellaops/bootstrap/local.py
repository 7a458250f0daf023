"""All rooms together."""

from __future__ import annotations

from dataclasses import dataclass

from stellaops.bootstrap.ingest import Ingest
from stellaops.bootstrap.mirrors import Mirrors
from stellaops.bootstrap.notify import Notify
from stellaops.bootstrap.service import Service


@dataclass(frozen=True)
class Local(Service, Mirrors, Ingest, Notify):
    """Everything that works on one local data directory; each part is opened when it is first needed."""
