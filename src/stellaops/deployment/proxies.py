"""Checks of an nginx in front of a gateway: its configuration, and the certificates that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from stellaops.adapters.settings.mirrors import MirrorHost, read_mirror_host
from stellaops.core.errors import StellaError
from stellaops.deployment.files import check_certificates, unreadable
from stellaops.deployment.services import Service
from stellaops.ingest.doctor import Finding, Verdict

OK, WARNING, FAILED = Verdict.OK, Verdict.WARNING, Verdict.FAILED

TLS_DIR = PurePosixPath("/run/tls")
"""Where nginx has the certificates, and what renders its configuration is told that they are."""

_STARTED = re.compile(r"\bnginx\b[^;&|]*?\s-c\s+(\S+)")
_NAMED = re.compile(r"(?m)^\s*ssl_certificate(?:_key)?\s+(\S+);")
_SERVED = re.compile(r"(?m)^\s*server_name\s+([^;]+);")
_RENDER = "Render it, as the head of docker-compose.nginx.yaml says: `stella mirror render-gateway nginx`."


def check_proxies(services: Sequence[Service], now: datetime) -> Iterator[Finding]:
    """Of every nginx: whether its configuration is there, is that of the settings, and has its certificates."""
    gateways = [each for each in services if each.is_ours and {"serve", "gateway"} <= set(each.command)]
    for service in services:
        started = _STARTED.search(" ".join(service.command))
        if not service.is_ours and started is not None:
            yield from _check(service, started[1], gateways, now)


def _check(service: Service, path: str, gateways: Sequence[Service], now: datetime) -> Iterator[Finding]:
    name, file = f"{service.name}: configuration of nginx", service.here(path)
    if file is None:
        yield Finding(name, OK, f"{path} lies in a volume of the engine and is not looked at")
        return
    text, problem = "", unreadable(service, file)
    if problem:
        yield Finding(name, FAILED, problem, _RENDER)
    else:
        text = file.read_text(encoding="utf-8", errors="replace")
        wrong = "; ".join(_missing_files(service, text))
        yield Finding(name, FAILED, f"{file}: {wrong}", _RENDER) if wrong else Finding(name, OK, str(file))
    for gateway in gateways:
        told = _environment(service, gateway)
        host = _host(told)
        if host is not None:
            yield from _compared(replace(service, environment=told), host, text, now)


def _missing_files(service: Service, text: str) -> Iterator[str]:
    for path in dict.fromkeys(_NAMED.findall(text)):
        place = service.here(path)
        problem = f"{path} is in no mount" if place is None else unreadable(service, place)
        if problem:
            yield problem


def _environment(service: Service, gateway: Service) -> dict[str, str]:
    """What the configuration is rendered from: the gateway's settings, and where nginx has the certificates."""
    place = service.here(str(TLS_DIR))
    return {**gateway.translated(), "GATEWAY__TLSDIR": "" if place is None else str(place)}


def _host(environment: Mapping[str, str]) -> MirrorHost | None:
    try:
        return read_mirror_host({}, environment)
    except StellaError:
        return None  # told of the gateway itself


def _compared(service: Service, host: MirrorHost, text: str, now: datetime) -> Iterator[Finding]:
    """Certificates that are there, and a configuration that is theirs."""
    name = f"{service.name}: configuration of nginx"
    secured = [each for each in host.domains.values() if each.tls_certificate_file is not None]
    named = set(_NAMED.findall(text))
    if text and not named and not secured:
        hint = "Leave it so behind a proxy that ends TLS; else put certificates there, and render it again."
        yield Finding(name, WARNING, "it names no certificate: nginx speaks without TLS", hint)
        return
    yield from check_certificates(service, host, now)
    served = {word for words in _SERVED.findall(text) for word in words.split()}
    unknown = [each for domain in secured for each in domain.hosts if each not in served]
    paths = [
        str(TLS_DIR / Path(each.tls_certificate_file).name) for each in secured if each.tls_certificate_file
    ]
    unknown += [path for path in paths if path not in named]
    if text and unknown:
        yield Finding(name, FAILED, f"it does not know {', '.join(unknown)}", _RENDER)
