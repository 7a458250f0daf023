"""Series about what is kept: bytes by store, bounds of tenants, room to build on, what targets were found to have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric

from stellaops.adapters.sql.staging_rooms import StagingRoom
from stellaops.authority.tenants import DEFAULT_TENANT, Tenant
from stellaops.exports.distribution.verify_targets import OK, SKIPPED, TargetChecks
from stellaops.exports.profile import KINDS
from stellaops.exports.retention.storage import ARTEFACTS, Storage

_OWN = ["profile", "profile_kind"]


@dataclass(frozen=True, slots=True)
class Places:
    """What is kept, where, and how much room there is.

    Attributes:
        databases: bytes that each store takes, by its name.
    """

    storage: Storage
    tenants: Callable[[], Sequence[Tenant]]
    rooms: Callable[[], Sequence[StagingRoom]]
    databases: Mapping[str, Callable[[], int]]
    checks: TargetChecks


def upkeep(places: Places) -> Iterator[Metric]:
    """All of them."""
    yield from _stored(places)
    yield _bounds(places.tenants())
    yield from _rooms(places.rooms())
    yield from _targets(places.checks)


def _stored(places: Places) -> Iterator[Metric]:
    # The name ends as a counter's does, and the value goes down when bundles go: it is a gauge.
    labels = ["store", "tenant", *_OWN]
    sizes = GaugeMetricFamily(
        "exporter_storage_bytes_total", "Bytes of kept bundles, and of databases", labels=labels
    )
    bundles = GaugeMetricFamily("exporter_storage_bundles", "Kept bundles", labels=labels)
    found = {(ARTEFACTS, DEFAULT_TENANT, kind, kind): (0, 0) for kind in KINDS}
    for each in places.storage.stored():
        found[each.store, each.tenant, each.profile, each.kind] = (each.bytes, each.bundles)
    for key, (size, number) in sorted(found.items()):
        sizes.add_metric(key, size)
        bundles.add_metric(key, number)
    for name, size_of in sorted(places.databases.items()):
        sizes.add_metric([name, "", "", ""], size_of())
    yield sizes
    yield bundles


def _bounds(tenants: Sequence[Tenant]) -> Metric:
    family = GaugeMetricFamily(
        "exporter_storage_quota_bytes",
        "What a tenant's kept bundles may take, where there is a bound",
        labels=["tenant"],
    )
    for tenant in tenants:
        if tenant.max_storage is not None:
            family.add_metric([tenant.id], tenant.max_storage)
    return family


def _rooms(rooms: Sequence[StagingRoom]) -> Iterator[Metric]:
    labels = ["host", "place"]
    size = GaugeMetricFamily(
        "exporter_staging_size_bytes", "The disk that bundles are built on", labels=labels
    )
    free = GaugeMetricFamily("exporter_staging_free_bytes", "What is free on it", labels=labels)
    used = GaugeMetricFamily("exporter_staging_used_bytes", "What lies in its staging places", labels=labels)
    for room in rooms:
        for family, value in ((size, room.size), (free, room.free), (used, room.staged)):
            family.add_metric([room.host, room.place], value)
    yield from (size, free, used)


def _targets(checks: TargetChecks) -> Iterator[Metric]:
    labels = ["target", "driver", "tenant", *_OWN]
    times = GaugeMetricFamily(
        "exporter_target_last_sound_timestamp_seconds",
        "When a bundle at a target was last found sound",
        labels=labels,
    )
    states = GaugeMetricFamily(
        "exporter_target_sound", "1 where the newest bundle at a target was last found sound", labels=labels
    )
    for check, sound_at in checks.all():
        key = [check.target, check.driver, check.tenant, check.profile, check.kind]
        times.add_metric(key, sound_at.timestamp() if sound_at else 0.0)
        if check.status != SKIPPED:  # nothing can be said of the bundle then
            states.add_metric(key, float(check.status == OK))
    yield times
    yield states
