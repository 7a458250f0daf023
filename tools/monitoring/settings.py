"""What an operator sets: bounds of the alerts, who is told, and what is scraped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml


class InvalidMonitoring(Exception):
    """The settings cannot be used; the message lists what is wrong."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When alerts fire. Seconds where nothing else is said.

    Attributes:
        failures: runs of one profile that may fail within `failure_window`.
        verify_window: how long a failed verification is told after it was found.
        ready: runs that may wait, for `ready_for`.
        retention_age: the age of the last pass of retention; the alert comes `retention_for` later, since passes do not
            end at the same second of every day.
        slo_full, slo_delta, slo_push: the service levels of the 95th percentile over `slo_window`.
        storage_share: of a tenant's bound, or of the disk that bundles are built on.
        mirror_lag: since the last sync of a mirror host.
        down_for: how long a process may be away.
    """

    failures: int = 3
    failure_window: float = 900
    verify_window: float = 3600
    ready: int = 10
    ready_for: float = 600
    retention_age: float = 86400
    retention_for: float = 3600
    slo_full: float = 300
    slo_delta: float = 120
    slo_push: float = 60
    slo_window: float = 3600
    storage_share: float = 0.8
    storage_for: float = 300
    mirror_lag: float = 900
    mirror_for: float = 60
    down_for: float = 300


@dataclass(frozen=True, slots=True)
class Scrape:
    """One job of Prometheus.

    Attributes:
        targets: `HOST:PORT` each.
        scheme: `http` or `https`.
        ca_file: certificates that an https target is checked by, beside the system's.
        server_name: the host name in the target's certificate, where the target is asked by another one.
        insecure_skip_verify: whether the certificate is not checked; not together with `login`.
        login: id and secret file of a client of the API that acts for all tenants, where addresses do not do.
    """

    job: str
    targets: tuple[str, ...]
    scheme: str = "http"
    ca_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    login: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Monitoring:
    """All of it.

    Attributes:
        receivers: by name, the ways in which it is told.
        secrets: the directory of Alertmanager's secret files.
        pace: seconds between two scrapes, and between two evaluations of the rules.
        group_wait, group_interval, repeat: seconds, see Alertmanager's documentation.
    """

    bounds: Bounds = Bounds()
    receivers: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    scrapes: tuple[Scrape, ...] = ()
    alertmanager: str = "alertmanager:9093"
    secrets: str = "/etc/alertmanager/secrets"
    mail: Mapping[str, str] = field(default_factory=dict)
    pace: float = 15
    group_wait: float = 30
    group_interval: float = 300
    repeat: float = 14400


def read_settings(path: Path) -> Monitoring:
    """The settings of a file.

    Raises:
        InvalidMonitoring: it cannot be read, or says something that there is not.
    """
    try:
        wire = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidMonitoring(f"{path}: {error}") from error
    if not isinstance(wire, dict):
        raise InvalidMonitoring(f"{path}: sections are needed")
    try:
        receivers = {
            name: tuple(map(_way, ways)) for name, ways in (wire.pop("receivers", None) or {}).items()
        }
        scrapes = tuple(_scrape(each) for each in wire.pop("scrapes", None) or ())
        bounds = Bounds(**_numbers(wire.pop("bounds", None) or {}, Bounds))
        return Monitoring(bounds=bounds, receivers=receivers, scrapes=scrapes, **_known(wire, Monitoring))
    except (TypeError, AttributeError, KeyError) as error:
        raise InvalidMonitoring(f"{path}: {error}") from error


WAYS = ("slack", "pagerduty", "email", "webhook")


def _way(wire: Mapping[str, Any]) -> Mapping[str, Any]:
    kinds = [name for name in WAYS if name in wire]
    if len(kinds) != 1:
        raise InvalidMonitoring(
            f"{dict(wire)}: one of {', '.join(WAYS)} is needed in each way to tell somebody"
        )
    allowed = {kinds[0], "secretFile"}
    if more := sorted(set(wire) - allowed):
        raise InvalidMonitoring(f"{kinds[0]}: {', '.join(more)}: not known")
    return dict(wire)


def _scrape(wire: Mapping[str, Any]) -> Scrape:
    told = _known(dict(wire), Scrape)
    if not isinstance(told.get("insecure_skip_verify", False), bool):
        raise InvalidMonitoring(f"{told.get('job')}: insecureSkipVerify: true or false is needed")
    return Scrape(**{**told, "targets": tuple(told["targets"])})


def _known(wire: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The fields of a section, in the names that the code has.

    Raises:
        InvalidMonitoring: a name that there is not.
    """
    names = {_camel(each.name): each.name for each in fields(kind)}
    if unknown := sorted(set(wire) - set(names)):
        raise InvalidMonitoring(f"{', '.join(unknown)}: not known; there are {', '.join(sorted(names))}")
    return {names[name]: value for name, value in wire.items()}


def _numbers(wire: Mapping[str, Any], kind: type) -> dict[str, Any]:
    found = _known(wire, kind)
    if wrong := sorted(
        name for name, value in found.items() if isinstance(value, bool) or not _is_number(value)
    ):
        raise InvalidMonitoring(f"{', '.join(map(_camel, wrong))}: a number above zero is needed")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
