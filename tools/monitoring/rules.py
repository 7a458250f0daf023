"""Rules of alerts.

Numbers of the exporter come from one store, and each process of the API tells them: `max` comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.monitoring.settings import Bounds

FAILURES, VERIFY = "Export.Center.Failures", "Export.Center.Verify"
DISTRIBUTION, SIGNING, MIRRORS = "Export.Center.Distribution", "Export.Center.Signing", "Mirrors"
ROUTES = (FAILURES, VERIFY, DISTRIBUTION, SIGNING, MIRRORS)
"""Names of receivers; the first is for whatever names none."""
PAGE = "docs/operate/monitoring.md"
_CRITICAL, _WARNING = "critical", "warning"
_JOBS = "stellaops.*"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: of the alert; several rules may give the same.
        after: seconds for which the expression must hold.
        route: the receiver.
        summary, action: what happened, and what to do now; Prometheus fills in `{{ … }}`.
        aspect: tells rules of one name apart.
    """

    name: str
    expression: str
    after: float
    severity: str
    route: str
    summary: str
    action: str
    aspect: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            **({"for": duration(self.after)} if self.after else {}),
            "labels": {
                "severity": self.severity,
                "route": self.route,
                **({"aspect": self.aspect} if self.aspect else {}),
            },
            "annotations": {
                "summary": self.summary,
                "description": self.action,
                "runbook": f"{PAGE}#{self.name.lower()}",
            },
        }


def duration(seconds: float) -> str:
    """As PromQL has it: the largest unit that leaves no rest."""
    milliseconds = round(seconds * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def grown(metric: str, labels: str, window: float) -> str:
    """By how much a counter that outlives its processes has grown.

    `increase` would extrapolate, which turns three into more than three, and pass over a series that is born at one.
    A series that was not there counts from zero where the others were: not when Prometheus has just begun to look.
    """
    back = f"offset {duration(window)}"
    present = f"max by ({labels}) ({metric})"
    known = f"max(exporter_worker_concurrency {back})"
    return f"({present} - (max by ({labels}) ({metric} {back}) or (0 * {present} and on () {known})))"


def percentile(metric: str, labels: str, window: float, matching: str = "") -> str:
    """The 95th percentile of a histogram."""
    rate = f"rate({metric}_bucket{matching}[{duration(window)}])"
    return f"histogram_quantile(0.95, max by ({labels}, le) ({rate}))"


def alerts(bounds: Bounds) -> Iterator[Alert]:
    """All of them."""
    yield from _runs(bounds)
    yield from _service_levels(bounds)
    yield from _upkeep(bounds)
    yield from _mirrors(bounds)


def _runs(bounds: Bounds) -> Iterator[Alert]:
    labels, window = "profile, profile_kind, error_code, tenant", duration(bounds.failure_window)
    failed = grown("exporter_run_failures_total", labels, bounds.failure_window)
    yield Alert(
        "ExportCenterRunFailureSpike",
        f"sum by (profile, profile_kind) ({failed}) > {bounds.failures}",
        0,
        _CRITICAL,
        FAILURES,
        f"{{{{ $value }}}} runs of profile {{{{ $labels.profile }}}} have failed within {window}",
        "`stella export run list --status failed` and `stella export run show RUN` tell `errorCode` and the error; "
        "the table of failures says what to do for each code.",
    )
    checks = grown("exporter_verify_failures_total", "profile, profile_kind, check", bounds.verify_window)
    yield Alert(
        "ExportCenterVerifyFailure",
        f"{checks} > 0",
        0,
        _CRITICAL,
        VERIFY,
        "Check {{ $labels.check }} has failed for a bundle of profile {{ $labels.profile }}",
        "What failed in a run was not published. `stella export run show RUN`, `stella export verify RUN`.",
        "counted",
    )
    yield Alert(
        "ExportCenterVerifyFailure",
        "max by (profile, profile_kind, target, tenant) (exporter_target_sound) == 0",
        0,
        _CRITICAL,
        VERIFY,
        "What target {{ $labels.target }} has of profile {{ $labels.profile }} is not what was signed",
        "Users may be getting it. `stella export target verify` tells what is wrong, `stella export distribute RUN` "
        "brings a good bundle there.",
        "target",
    )
    by_code = 'exporter_run_failures_total{error_code="{code}"}'
    yield Alert(
        "ExportCenterSigningFailure",
        f"sum by (tenant) ({_of(by_code, 'signing', bounds)}) > 0",
        0,
        _CRITICAL,
        SIGNING,
        "{{ $value }} runs of tenant {{ $labels.tenant }} found no key service that signs",
        "`stella authority key test`; close submissions with `stella authority tenant set TENANT --max-active-runs 0` "
        "until the keys are back, then submit with `--priority catch-up`.",
    )
    yield Alert(
        "ExportCenterBaseMissing",
        f"sum by (profile, tenant) ({_of(by_code, 'base_missing', bounds)}) > 0",
        0,
        _WARNING,
        MIRRORS,
        "Profile {{ $labels.profile }} of tenant {{ $labels.tenant }} has lost the base of its deltas",
        "Run its full profile (`stella export run submit --profile mirror:full`), and tell who applies the deltas.",
    )


def _of(metric: str, code: str, bounds: Bounds) -> str:
    # The default tenant's series exist from the start; those of the others are born with their first failure.
    return grown(metric.replace("{code}", code), "profile, profile_kind, tenant", bounds.failure_window)


def _service_levels(bounds: Bounds) -> Iterator[Alert]:
    name, labels = "exporter_run_duration_seconds", "profile, profile_kind"
    for kind, matching, slo in (
        ("full", '{profile_kind!~".*:delta"}', bounds.slo_full),
        ("delta", '{profile_kind=~".*:delta"}', bounds.slo_delta),
    ):
        yield Alert(
            "ExportCenterRunSlow",
            f"{percentile(name, labels, bounds.slo_window, matching)} > {slo:g}",
            0,
            _WARNING,
            FAILURES,
            f"95 % of {kind} runs of profile {{{{ $labels.profile }}}} end only within "
            f"{{{{ $value | humanizeDuration }}}}, which should be {slo:g} s",
            "`durations` of `stella export run show RUN` tell which step takes long. More workers help where runs "
            "hinder each other.",
            kind,
        )
    push = percentile("exporter_distribution_push_seconds", f"{labels}, driver", bounds.slo_window)
    yield Alert(
        "ExportCenterPushSlow",
        f"{push} > {bounds.slo_push:g}",
        0,
        _WARNING,
        DISTRIBUTION,
        f"95 % of deliveries of profile {{{{ $labels.profile }}}} by {{{{ $labels.driver }}}} end only within "
        f"{{{{ $value | humanizeDuration }}}}, which should be {bounds.slo_push:g} s",
        "`stella export target test T` tells how long the target takes for little.",
    )
    unreached = grown("exporter_distribution_failures_total", f"{labels}, driver", bounds.failure_window)
    yield Alert(
        "ExportCenterDistributionFailure",
        f"{unreached} > 0",
        0,
        _WARNING,
        DISTRIBUTION,
        "{{ $value }} bundles of profile {{ $labels.profile }} did not reach their target by {{ $labels.driver }}",
        "The bundles are kept and can be downloaded. `stella export target test T`, then `stella export distribute "
        "RUN`; or change the profile's distribution to `http` while the target is away.",
    )


def _upkeep(bounds: Bounds) -> Iterator[Alert]:
    ready = "sum(max by (profile, profile_kind) (exporter_jobs_ready))"
    yield Alert(
        "ExportCenterWorkerLag",
        f"{ready} > {bounds.ready}",
        bounds.ready_for,
        _CRITICAL,
        FAILURES,
        "{{ $value }} runs wait for a worker",
        "`stella export workers list`, `stella export queue status`: begin workers where there are none, resume a "
        "queue that is paused, add workers where all slots are taken. A run says itself why it waits.",
    )
    yield Alert(
        "ExportCenterWorkerLag",
        f"({ready} > 0) and on () (max(exporter_worker_concurrency) == 0)",
        bounds.ready_for,
        _CRITICAL,
        FAILURES,
        "{{ $value }} runs wait, and there is no worker",
        "`stella export workers list`; begin workers: what waits is taken up at once.",
        "nobody",
    )
    told = grown('notify_deliveries_total{outcome="failed"}', "channel_kind", bounds.failure_window)
    yield Alert(
        "ExportCenterNotifyFailure",
        f"{told} > 0",
        0,
        _WARNING,
        FAILURES,
        "{{ $value }} notifications by {{ $labels.channel_kind }} were given up",
        "`stella notify deliveries` tells why; `stella notify channel test CHANNEL` tries a channel.",
    )
    age, last = duration(bounds.retention_age), "exporter_retention_last_success_timestamp_seconds"
    overdue = f"(time() - max({last} > 0)) > {bounds.retention_age:g}"
    never = f"max({last}) == 0 and on () max(exporter_worker_concurrency offset {age})"
    yield Alert(
        "ExportCenterRetentionStale",
        f"{overdue} or ({never})",
        bounds.retention_for,
        _WARNING,
        FAILURES,
        f"No pass of retention has ended as it should within {age}",
        "`stella export chores` tells why; `stella export retention run` is one by hand.",
    )
    stored = 'exporter_storage_bytes_total{store="artefacts"}'
    used = f"sum by (tenant) (max by (tenant, profile, profile_kind) ({stored}))"
    share = f"{bounds.storage_share:.0%}".replace("%", " %")
    yield Alert(
        "ExportCenterStorageHigh",
        f"{used} / max by (tenant) (exporter_storage_quota_bytes) > {bounds.storage_share:g}",
        bounds.storage_for,
        _WARNING,
        FAILURES,
        f"Tenant {{{{ $labels.tenant }}}} has used {{{{ $value | humanizePercentage }}}} of its storage, above {share}",
        "`stella export quotas`, `stella export retention run`, shorter retention in the profiles, or a larger bound.",
        "tenant",
    )
    free, size = (f"max by (host, place) (exporter_staging_{part}_bytes)" for part in ("free", "size"))
    yield Alert(
        "ExportCenterStorageHigh",
        f"1 - {free} / {size} > {bounds.storage_share:g}",
        bounds.storage_for,
        _WARNING,
        FAILURES,
        "{{ $value | humanizePercentage }} of the disk at {{ $labels.place }} of {{ $labels.host }} is used, where "
        "bundles are built",
        "Free room there, or have `dataDir` on a larger disk: runs that do not fit fail before they begin to build.",
        "disk",
    )


def _mirrors(bounds: Bounds) -> Iterator[Alert]:
    yield Alert(
        "MirrorBundleStale",
        f"max by (domain) (mirror_sync_lag_seconds) > {bounds.mirror_lag:g}",
        bounds.mirror_for,
        _CRITICAL,
        MIRRORS,
        "Domain {{ $labels.domain }} was last synced {{ $value | humanizeDuration }} ago",
        "Look at the last `stella mirror sync` of the host (its timer, its log), then at the publisher.",
    )
    yield Alert(
        "MirrorExportRootMissing",
        "min by (instance, side) (mirror_export_root_configured) == 0",
        bounds.mirror_for,
        _CRITICAL,
        MIRRORS,
        "{{ $labels.side }} at {{ $labels.instance }} has no directory of exports",
        "Set CONCELIER__MIRROR__EXPORTROOT or EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT and see that it is mounted.",
    )
    yield Alert(
        "StellaOpsDown",
        f'up{{job=~"{_JOBS}"}} == 0',
        bounds.down_for,
        _CRITICAL,
        FAILURES,
        "{{ $labels.job }} at {{ $labels.instance }} does not answer",
        "While nothing answers, no other alert can fire. Look at the process, its log and `/readyz`.",
    )


def rules(bounds: Bounds, pace: float | None = None) -> dict[str, Any]:
    """The file of rules.

    Args:
        pace: seconds between two evaluations; Prometheus' own when None.
    """
    found = list(alerts(bounds))
    interval: Mapping[str, str] = {} if pace is None else {"interval": duration(pace)}
    return {
        "groups": [
            {
                "name": name,
                **interval,
                "rules": [each.to_wire() for each in found if is_mirror(each) is mirror],
            }
            for name, mirror in (("export-center", False), ("mirrors", True))
        ]
    }


def is_mirror(alert: Alert) -> bool:
    """Whether a mirror host, which has no Export Center, is what it is about."""
    return alert.name.startswith("Mirror")
