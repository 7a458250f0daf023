"""The dashboard of mirror hosts."""

from __future__ import annotations

from tools.monitoring.grafana import Dashboard, Panel, Query, Variable
from tools.monitoring.settings import Bounds

_DOMAIN = Variable("domain", "mirror_quota_rejections_total")
_JOB = Variable("job", "mirror_requests_total", "stellaops-mirror-gateway")
"""Back ends count what a gateway before them asks for, too: one job is looked at, not their sum."""
_REQUESTS = 'mirror_requests_total{domain=~"$domain",job=~"$job"}'


def mirrors(bounds: Bounds) -> Dashboard:
    """`Mirrors`."""
    return Dashboard(
        "stella-mirrors",
        "Mirrors",
        "What mirror hosts serve, to how many, and how old it is.",
        (_JOB, _DOMAIN),
        (("Requests", (*_counted(), *_refused())), ("Freshness", _freshness(bounds))),
    )


def _given(more: str) -> str:
    return f"{_REQUESTS[:-1]},{more}}}"


def _counted() -> tuple[Panel, ...]:
    """Requests by one label each."""
    return tuple(
        Panel(
            f"Requests by {label}",
            about,
            (Query(f"sum by ({label}) (rate({_REQUESTS}[5m]))", f"{{{{{label}}}}}"),),
            unit="reqps",
            stacked=True,
        )
        for label, about in (
            ("domain", "A second."),
            ("status", "A second; 304 are those that had it already."),
            ("class", "A second; indexes and downloads have budgets of their own."),
        )
    )


def _refused() -> tuple[Panel, ...]:
    given = 'status=~"2..|304"'
    cached, wrong = _given(given + ',cache=~"HIT|STALE"'), _given('status=~"401|403|5.."')
    rejected = 'mirror_quota_rejections_total{domain=~"$domain",job=~"$job"}'
    return (
        Panel(
            "Answered from the cache",
            "Share of what was given.",
            (
                Query(
                    f"sum by (domain) (rate({cached}[5m])) / sum by (domain) (rate({_given(given)}[5m]))",
                    "{{domain}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Over the budget",
            "Requests within an hour that were refused with 429.",
            (Query(f"sum by (domain) (increase({rejected}[1h]))", "{{domain}}"),),
        ),
        Panel(
            "Refused credentials, and errors",
            "A second, by status.",
            (Query(f"sum by (status) (rate({wrong}[5m]))", "{{status}}"),),
            unit="reqps",
        ),
    )


def _freshness(bounds: Bounds) -> tuple[Panel, ...]:
    own = '{domain=~"$domain"}'
    return (
        Panel(
            "Since the last sync",
            f"Of each domain; more than {bounds.mirror_lag / 60:g} minutes are an alert.",
            (Query(f"max by (domain) (mirror_sync_lag_seconds{own})", "{{domain}}"),),
            unit="s",
            limit=bounds.mirror_lag,
        ),
        Panel(
            "Age of what is served",
            "Seconds since the publisher last said that it is the newest.",
            (Query(f"max by (domain) (mirror_bundle_age_seconds{own})", "{{domain}}"),),
            unit="s",
        ),
        Panel(
            "Directories of exports",
            "1 where a side has one, 0 where it is missing.",
            (Query("min by (instance, side) (mirror_export_root_configured)", "{{instance}} {{side}}"),),
            kind="stat",
        ),
    )
