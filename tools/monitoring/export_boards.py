"""The two dashboards of the Export Center."""

from __future__ import annotations

from tools.monitoring.grafana import Dashboard, Panel, Query, Variable
from tools.monitoring.rules import percentile
from tools.monitoring.settings import Bounds

_OWN = 'profile=~"$profile"'
_PROFILE = Variable("profile", "exporter_run_bytes_total")


def _most(labels: str, metric: str) -> str:
    """Numbers of the store, which every process of the API tells."""
    return f"max by ({labels}) ({metric})"


def _in_an_hour(labels: str, inner: str, metric: str) -> str:
    return f"sum by ({labels}) (max by ({inner}) (increase({metric}[1h])))"


def run_health(bounds: Bounds) -> Dashboard:
    """`Export Center / Run Health`."""
    return Dashboard(
        "stella-run-health",
        "Export Center / Run Health",
        "How runs go: how many, how long, what fails, what waits.",
        (_PROFILE,),
        (
            ("Runs", _throughput()),
            ("Queue and workers", _queue(bounds)),
            ("Durations against service levels", _durations(bounds)),
            ("What came in", _imports()),
        ),
    )


def _throughput() -> tuple[Panel, ...]:
    count, own = f"exporter_run_duration_seconds_count{{{_OWN}}}", "profile, profile_kind"
    failed, inner = f"exporter_run_failures_total{{{_OWN}}}", "profile, profile_kind, error_code, tenant"
    return (
        Panel(
            "Runs by profile",
            "Runs that succeeded within the last hour.",
            (Query(_in_an_hour("profile", own, count), "{{profile}}"),),
            stacked=True,
        ),
        Panel(
            "Failures by error code",
            "Runs that failed within the last hour, by the code that the table of failures is about.",
            (Query(f"{_in_an_hour('error_code', inner, failed)} > 0", "{{error_code}}"),),
            stacked=True,
        ),
        Panel(
            "Failures by class",
            "Adapters, signing and distribution within the last day, as the daily checklist asks.",
            tuple(
                Query(
                    f'sum(max by ({inner}) (increase({failed[:-1]},error_code=~"{codes}"}}[1d])))',
                    name,
                )
                for name, codes in (
                    ("adapter", "adapter|unsupported_schema|verify"),
                    ("signing", "signing"),
                    ("distribution", "distribution"),
                )
            ),
            kind="stat",
        ),
        Panel(
            "Failures by profile",
            "Within the last 15 minutes: more than three of one profile are an alert.",
            (
                Query(
                    f"sum by (profile) (max by ({inner}) (increase({failed}[15m])))",
                    "{{profile}}",
                ),
            ),
            limit=3,
        ),
        Panel(
            "Bytes of finished bundles",
            "A second, over the last hour.",
            (
                Query(
                    f"sum by (profile) (max by ({own}) (rate(exporter_run_bytes_total{{{_OWN}}}[1h])))",
                    "{{profile}}",
                ),
            ),
            unit="Bps",
            stacked=True,
        ),
        Panel(
            "Alerts",
            "What fires now.",
            (
                Query(
                    'count by (alertname, severity) (ALERTS{alertname=~"ExportCenter.*|StellaOpsDown",'
                    'alertstate="firing"})',
                    "{{alertname}}",
                ),
            ),
            kind="table",
        ),
    )


def _queue(bounds: Bounds) -> tuple[Panel, ...]:
    own = "profile, profile_kind"
    return (
        Panel(
            "Queue depth",
            f"Runs that wait. More than {bounds.ready} for ten minutes are an alert: workers are too few, or gone.",
            (
                Query(f"sum({_most(own, 'exporter_jobs_ready')})", "all"),
                Query(
                    f"sum by (profile) ({_most(own, f'exporter_jobs_ready{{{_OWN}}}')}) > 0", "{{profile}}"
                ),
            ),
            limit=bounds.ready,
        ),
        Panel(
            "Worker concurrency",
            "Slots of all workers that are alive, and runs that are worked on; a full bundle takes three slots.",
            (
                Query("max(exporter_worker_concurrency)", "slots"),
                Query(f"sum({_most(own, 'exporter_jobs_running')})", "running"),
            ),
        ),
        Panel(
            "Chores",
            "Seconds since retention and the verification at targets last ended as they should.",
            (
                Query(
                    "time() - (max by (chore) (exporter_chore_last_success_timestamp_seconds) > 0)",
                    "{{chore}}",
                ),
            ),
            unit="s",
            kind="stat",
        ),
        Panel(
            "Notifications",
            "What channels took, did not take at once, and did not take at all, within an hour.",
            (
                Query(
                    _in_an_hour("outcome", "channel_kind, outcome", "notify_deliveries_total"),
                    "{{outcome}}",
                ),
            ),
            stacked=True,
        ),
    )


def _durations(bounds: Bounds) -> tuple[Panel, ...]:
    panels = []
    for title, matching, slo in (
        ("Full runs", f'{{{_OWN},profile_kind!~".*:delta"}}', bounds.slo_full),
        ("Delta runs", f'{{{_OWN},profile_kind=~".*:delta"}}', bounds.slo_delta),
    ):
        name, labels = "exporter_run_duration_seconds", "profile, profile_kind"
        panels.append(
            Panel(
                f"{title}: 95th percentile",
                f"Over the last hour; {slo:g} s are the service level.",
                (Query(percentile(name, labels, bounds.slo_window, matching), "{{profile}}"),),
                unit="s",
                limit=slo,
            )
        )
        good = f'exporter_run_duration_seconds_bucket{{le="{float(slo)}",{matching[1:]}'
        every = f"exporter_run_duration_seconds_count{matching}"
        panels.append(
            Panel(
                f"{title}: within the service level",
                "Share of the last week's runs.",
                (
                    Query(
                        f"sum(max by ({labels}) (increase({good}[7d])))"
                        f" / sum(max by ({labels}) (increase({every}[7d])))",
                        "share",
                    ),
                ),
                unit="percentunit",
                kind="stat",
            )
        )
    return tuple(panels)


def _imports() -> tuple[Panel, ...]:
    return tuple(
        Panel(
            title,
            "Within an hour, by what imports did with them.",
            (
                Query(
                    f"sum by (outcome) (max by (source, outcome) (increase({metric}[1h])))",
                    "{{outcome}}",
                ),
            ),
            stacked=True,
        )
        for title, metric in (
            ("Documents of advisories", "concelier_documents_total"),
            ("Statements of VEX", "excititor_statements_total"),
        )
    )


def distribution(bounds: Bounds) -> Dashboard:
    """`Export Center / Distribution`."""
    return Dashboard(
        "stella-distribution",
        "Export Center / Distribution",
        "Whether bundles reach their targets, are sound there, and how much room all of it takes.",
        (_PROFILE,),
        (
            ("Targets", _pushes(bounds)),
            ("Verification", _verification()),
            ("Storage", _storage(bounds)),
            ("Retention", _retention(bounds)),
        ),
    )


def _pushes(bounds: Bounds) -> tuple[Panel, ...]:
    labels = "profile, profile_kind, driver"
    push, lost = "exporter_distribution_push_seconds", "exporter_distribution_failures_total"
    return (
        Panel(
            "Deliveries: 95th percentile",
            f"Seconds to bring a bundle to a target, over the last hour; {bounds.slo_push:g} s are the service level.",
            (Query(percentile(push, labels, bounds.slo_window, f"{{{_OWN}}}"), "{{profile}} by {{driver}}"),),
            unit="s",
            limit=bounds.slo_push,
        ),
        Panel(
            "Deliveries",
            "Bundles that reached a target within an hour.",
            (Query(_in_an_hour("driver", labels, f"{push}_count{{{_OWN}}}"), "{{driver}}"),),
            stacked=True,
        ),
        Panel(
            "Deliveries that failed",
            "Bundles that a target did not take within an hour; they are kept, and can be downloaded.",
            (
                Query(
                    f"{_in_an_hour('driver, profile', labels, f'{lost}{{{_OWN}}}')} > 0",
                    "{{profile}} by {{driver}}",
                ),
            ),
            stacked=True,
        ),
    )


def _verification() -> tuple[Panel, ...]:
    labels = "profile, profile_kind, check"
    return (
        Panel(
            "Checks that failed",
            "Within a day, in runs and at targets; any is an alert.",
            (
                Query(
                    f"sum by (check) (max by ({labels}) (increase(exporter_verify_failures_total{{{_OWN}}}[1d]))) > 0",
                    "{{check}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Bundles at targets",
            "1 where the newest bundle at a target was found sound, 0 where it was not.",
            (
                Query(
                    f"min by (target, profile, tenant) (exporter_target_sound{{{_OWN}}})",
                    "{{target}} {{profile}} {{tenant}}",
                ),
            ),
            kind="table",
        ),
        Panel(
            "Last found sound",
            "Seconds since; targets are looked at once a day.",
            (
                Query(
                    "time() - (max by (target, profile, tenant) "
                    f"(exporter_target_last_sound_timestamp_seconds{{{_OWN}}}) > 0)",
                    "{{target}} {{profile}} {{tenant}}",
                ),
            ),
            unit="s",
        ),
    )


def _storage(bounds: Bounds) -> tuple[Panel, ...]:
    labels = "store, tenant, profile, profile_kind"
    stored = _most(labels, "exporter_storage_bytes_total")
    share = bounds.storage_share
    return (
        Panel(
            "Storage by store",
            "Bytes of kept bundles in the store of artefacts and at each target; databases beside them.",
            (Query(f"sum by (store) ({stored})", "{{store}}"),),
            unit="bytes",
            stacked=True,
        ),
        Panel(
            "Storage by profile",
            "Bytes in the store of artefacts.",
            (
                Query(
                    "sum by (profile) (max by (tenant, profile, profile_kind) "
                    f'(exporter_storage_bytes_total{{store="artefacts",{_OWN}}}))',
                    "{{profile}}",
                ),
            ),
            unit="bytes",
            stacked=True,
        ),
        Panel(
            "Kept bundles",
            "How many they are, by profile.",
            (
                Query(
                    "sum by (profile) (max by (tenant, profile, profile_kind) "
                    f'(exporter_storage_bundles{{store="artefacts",{_OWN}}}))',
                    "{{profile}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Tenants against their bounds",
            "Of those that have one.",
            (
                Query(
                    "sum by (tenant) (max by (tenant, profile, profile_kind) "
                    '(exporter_storage_bytes_total{store="artefacts"})) '
                    "/ max by (tenant) (exporter_storage_quota_bytes)",
                    "{{tenant}}",
                ),
            ),
            unit="percentunit",
            limit=share,
        ),
        Panel(
            "Local staging",
            "What bundles under way take of their disks.",
            (Query(_most("host, place", "exporter_staging_used_bytes"), "{{host}} {{place}}"),),
            unit="bytes",
        ),
        Panel(
            "Disks of local staging",
            "How full they are, whatever of.",
            (
                Query(
                    f"1 - {_most('host, place', 'exporter_staging_free_bytes')} / "
                    f"{_most('host, place', 'exporter_staging_size_bytes')}",
                    "{{host}} {{place}}",
                ),
            ),
            unit="percentunit",
            limit=share,
        ),
    )


def _retention(bounds: Bounds) -> tuple[Panel, ...]:
    last = "exporter_retention_last_success_timestamp_seconds"
    return (
        Panel(
            "Last pass of retention",
            "Seconds since one ended as it should; a day is the bound.",
            (Query(f"time() - (max({last}) > 0)", "age"),),
            unit="s",
            kind="stat",
            limit=bounds.retention_age,
        ),
        Panel(
            "Bundles that retention removed",
            "Within a day, by profile.",
            (
                Query(
                    "sum by (profile) (max by (profile, profile_kind, tenant) "
                    f"(increase(exporter_retention_pruned_total{{{_OWN}}}[1d])))",
                    "{{profile}}",
                ),
            ),
            stacked=True,
        ),
    )
