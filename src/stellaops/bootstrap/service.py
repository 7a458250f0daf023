"""What only services have: the queue, schedules, chores, what is measured."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.chores import SqlChores
from stellaops.adapters.sql.import_counts import SqlImportCounts
from stellaops.adapters.sql.losses import SqlLosses
from stellaops.adapters.sql.metering import SqlMetering
from stellaops.adapters.sql.schedules import SqlSchedules
from stellaops.adapters.sql.staging_rooms import SqlStagingRooms
from stellaops.adapters.sql.storage import database_bytes
from stellaops.adapters.telemetry.metrics import Watched
from stellaops.adapters.telemetry.upkeep import Places
from stellaops.bootstrap import clock
from stellaops.bootstrap.exports import Exports
from stellaops.bootstrap.extras import server_extra
from stellaops.exports.submit_run import SubmitTools

if TYPE_CHECKING:
    from stellaops.adapters.engine.dbos_queue import DbosQueue


class Service(Exports):
    """What only services have: the queue, schedules, chores, what is measured."""

    @cached_property
    def queue(self) -> DbosQueue:
        """The queue of runs. Only services ask for it: a local run needs none, and loads nothing of it."""
        with server_extra():
            from stellaops.adapters.engine.dbos_queue import DbosQueue  # noqa: PLC0415 - of the extra `server`
        engine = self.service_engine
        return DbosQueue(self.store_address(migrations.SERVICE), engine, self.limits)

    @property
    def submit_tools(self) -> SubmitTools:
        """What submissions to the queue work with."""
        return SubmitTools(
            self.runs, self.profiles, self.evidence, self.policies, self.limits, self.queue,
            clock.new_run_id, clock.now, self.storage,
        )  # fmt: skip

    @cached_property
    def losses(self) -> SqlLosses:
        """Attempts that were lost with their processes."""
        return SqlLosses(self.service_engine)

    @cached_property
    def staging_rooms(self) -> SqlStagingRooms:
        """The disks that bundles are built on."""
        return SqlStagingRooms(self.service_engine)

    @cached_property
    def chores(self) -> SqlChores:
        """What workers do by themselves now and then."""
        return SqlChores(self.service_engine)

    @cached_property
    def schedules(self) -> SqlSchedules:
        """What is run by itself."""
        return SqlSchedules(self.service_engine)

    @property
    def watched(self) -> Watched:
        """What metrics are made of."""
        databases = {
            "evidence": lambda: database_bytes(self.evidence_engine),
            "service": lambda: database_bytes(self.service_engine),
        }
        places = Places(
            self.storage, self.tenants.list, self.staging_rooms.all, databases, self.target_checks
        )
        metering, imports = SqlMetering(self.service_engine), SqlImportCounts(self.evidence_engine)
        return Watched(metering, imports, self.chores, self.queue.workers, places)
