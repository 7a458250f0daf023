"""Alertmanager's configuration, and Prometheus' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.monitoring.rules import FAILURES, ROUTES, duration
from tools.monitoring.settings import InvalidMonitoring, Monitoring, Scrape

_TITLE = "{{ .Status | toUpper }} {{ .CommonLabels.alertname }}"
_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "{{ .Annotations.runbook }}\n{{ end }}"
)


def alertmanager(wanted: Monitoring) -> dict[str, Any]:
    """Routes by the label `route` of alerts; receivers as they are set.

    Raises:
        InvalidMonitoring: a route has no receiver.
    """
    if missing := [name for name in ROUTES if name not in wanted.receivers]:
        raise InvalidMonitoring(f"receivers: {', '.join(missing)}: there is none")
    return {
        "global": {"resolve_timeout": "5m", **_mail(wanted)},
        "route": {
            "receiver": FAILURES,
            "group_by": ["alertname", "profile", "domain", "tenant"],
            "group_wait": duration(wanted.group_wait),
            "group_interval": duration(wanted.group_interval),
            "repeat_interval": duration(wanted.repeat),
            "routes": [{"receiver": name, "matchers": [f'route="{name}"']} for name in ROUTES],
        },
        "receivers": [{"name": name, **_ways(ways, wanted)} for name, ways in wanted.receivers.items()],
    }


def _mail(wanted: Monitoring) -> dict[str, Any]:
    names = {
        "smarthost": "smtp_smarthost",
        "from": "smtp_from",
        "username": "smtp_auth_username",
        "passwordFile": "smtp_auth_password_file",
    }
    if unknown := sorted(set(wanted.mail) - set(names)):
        raise InvalidMonitoring(f"mail: {', '.join(unknown)}: not known; there are {', '.join(names)}")
    told = [name for name, ways in wanted.receivers.items() if any("email" in way for way in ways)]
    missing = [name for name in ("smarthost", "from") if not wanted.mail.get(name)]
    if told and missing:
        raise InvalidMonitoring(
            f"mail: {', '.join(missing)}: needed, since {', '.join(told)} is told by email"
        )
    host, _, port = str(wanted.mail.get("smarthost", "x:1")).rpartition(":")
    if not (host and port.isdecimal()):
        raise InvalidMonitoring(f"mail: smarthost: HOST:PORT is needed, not {wanted.mail['smarthost']!r}")
    return {names[name]: value for name, value in wanted.mail.items()}


def _ways(ways: tuple[Mapping[str, Any], ...], wanted: Monitoring) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for way in ways:
        (kind,) = set(way) - {"secretFile"}
        name = str(way.get("secretFile", ""))
        path = name if name.startswith("/") else f"{wanted.secrets}/{name}"
        found.setdefault(f"{kind}_configs", []).append(_way(kind, str(way[kind]), path if name else None))
    return found


def _way(kind: str, where: str, secret: str | None) -> dict[str, Any]:
    if kind == "slack":
        address = {"api_url_file": _demanded(kind, secret)}
        return {"send_resolved": True, "channel": where, **address, "title": _TITLE, "text": _TEXT}
    if kind == "pagerduty":
        return {
            "send_resolved": True,
            "routing_key_file": _demanded(kind, secret),
            "component": where,
            "severity": "{{ .CommonLabels.severity }}",
            "description": _TITLE,
        }
    if kind == "email":
        return {"send_resolved": True, "to": where, "headers": {"Subject": _TITLE}, "text": _TEXT}
    held = {} if secret is None else {"http_config": {"authorization": {"credentials_file": secret}}}
    return {"send_resolved": True, "url": where, **held}


def _demanded(kind: str, secret: str | None) -> str:
    if secret is None:
        raise InvalidMonitoring(f"{kind}: secretFile is needed")
    return secret


def prometheus(wanted: Monitoring) -> dict[str, Any]:
    """What is scraped, by which rules it is judged, and who is told."""
    return {
        "global": {"scrape_interval": duration(wanted.pace), "evaluation_interval": duration(wanted.pace)},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [wanted.alertmanager]}]}]},
        "scrape_configs": [_job(each) for each in wanted.scrapes],
    }


def _job(scrape: Scrape) -> dict[str, Any]:
    found: dict[str, Any] = {"job_name": scrape.job, "scheme": scrape.scheme}
    found |= _tls(scrape)
    if scrape.login:
        found["oauth2"] = _login(scrape)
    return found | {"static_configs": [{"targets": list(scrape.targets)}]}


def _login(scrape: Scrape) -> dict[str, Any]:
    told = dict(scrape.login or {})
    if set(told) != {"client", "secretFile"}:
        raise InvalidMonitoring(f"{scrape.job}: login: client and secretFile are needed")
    found: dict[str, Any] = {
        "client_id": told["client"],
        "client_secret_file": told["secretFile"],
        "token_url": f"{scrape.scheme}://{scrape.targets[0]}/authority/token",
    }
    return found | _tls(scrape)


def _tls(scrape: Scrape) -> dict[str, Any]:
    told = {
        "ca_file": scrape.ca_file,
        "server_name": scrape.server_name,
        "insecure_skip_verify": scrape.insecure_skip_verify or None,
    }
    found = {name: value for name, value in told.items() if value is not None}
    if found and scrape.scheme != "https":
        raise InvalidMonitoring(f"{scrape.job}: what certificates are checked by is for the scheme https")
    if scrape.login and scrape.insecure_skip_verify:
        raise InvalidMonitoring(
            f"{scrape.job}: login: a secret goes only where insecureSkipVerify does not stand"
        )
    return {"tls_config": found} if found else {}
