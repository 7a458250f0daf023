"""Whether every setting can be what it has to be: for `stella config check`, before something is started by it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from stellaops.adapters.settings.load import InvalidSettings, Settings
from stellaops.core import durations
from stellaops.core.errors import StellaError

_LEVELS = ("debug", "info", "warning", "error")
_TIME = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


def problems(settings: Settings) -> list[str]:
    """What is wrong with values, by setting: their form, and files that are named and cannot be read.

    What only the parts that use a setting can say (whether a server answers, whether a key opens something) is not
    looked at.
    """
    found = []
    for name, setting in settings.values.items():
        if setting.value is None or not setting.value.strip():
            continue
        reader = _READERS.get(name) or (_file if name.endswith("File") else None)
        if reader is not None:
            found += [f"{name} ({setting.origin}): {text}" for text in reader(setting.value.strip())]
    for name, target in settings.targets.items():
        for key, value in target.values.items():
            if key.endswith("File") and value:
                origin = target.origins.get(key, "default")
                found += [f"targets.{name}.{key} ({origin}): {text}" for text in _file(value)]
    return found


def demand_sound(settings: Settings, *others: Callable[[], object]) -> None:
    """Refuse settings of which something is wrong.

    Args:
        others: read further settings, and fail where they cannot be used.

    Raises:
        InvalidSettings: with everything that is wrong.
    """
    found = problems(settings)
    for read in others:
        try:
            read()
        except StellaError as error:
            found += error.details or [error.what]
    if found:
        raise InvalidSettings("; ".join(found), details=found)


def _file(text: str) -> Iterator[str]:
    if "{tenant}" in text:
        return
    try:
        with Path(text).open("rb") as file:
            file.read(1)
    except OSError as error:
        yield f"{text}: {error.strerror}"


def _number(text: str) -> Iterator[str]:
    if not (text.isascii() and text.isdecimal() and int(text)):
        yield f"a whole number above zero is needed, not {text[:80]!r}"


def _duration(text: str) -> Iterator[str]:
    if durations.parse(text) is None:
        yield f"{text[:80]!r} is no duration such as 90m or 24h"


def _switch(text: str) -> Iterator[str]:
    if text.lower() not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
        yield f"true or false is needed, not {text[:80]!r}"


def _level(text: str) -> Iterator[str]:
    if text.lower() not in _LEVELS:
        yield f"one of {', '.join(_LEVELS)} is needed, not {text[:80]!r}"


def _time_of_day(text: str) -> Iterator[str]:
    if text.lower() != "off" and not _TIME.fullmatch(text):
        yield f"a time as 02:30 (UTC) or `off` is needed, not {text[:80]!r}"


def _networks(text: str) -> Iterator[str]:
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            ip_network(each)
        except ValueError as error:
            yield f"a network as 10.1.0.0/16 is needed: {error}"


def _url(text: str) -> Iterator[str]:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        yield "an address as https://host is needed"  # not shown: it may hold a password


def _program(text: str) -> Iterator[str]:
    if shutil.which(text) is None:
        yield f"{text}: no such program, or it may not be executed"


def _bucket(text: str) -> Iterator[str]:
    if not re.fullmatch(r"s3://[^/\s]+(/\S*)?", text):
        yield f"s3://BUCKET/PREFIX is needed, not {text[:80]!r}"


_READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
    **dict.fromkeys(
        (
            "keyServices.attempts", "keyServices.timeoutSeconds", "pull.parallel", "pull.maxFileSize", "api.maxBody",
            "api.maxUpload", "api.requestsPerMinute", "worker.slots", "worker.graceSeconds", "authority.tokenSeconds",
            "authority.keyDays",
        ),
        _number,
    ),
    **dict.fromkeys(("worker.timeLimit",), _duration),
    **dict.fromkeys(("egress.allowPrivate", "api.metricsFrom"), _networks),
    **dict.fromkeys(
        (
            "server", "artefacts.endpoint", "mirror.endpoint", "hashivault.address", "awskms.endpoint", "egress.proxy",
            "api.publicUrl",
        ),
        _url,
    ),
    **dict.fromkeys(("chores.retentionAt", "chores.verifyAt"), _time_of_day),
    "trivy": _program,
    "pkcs11.module": _file,
    "artefacts.store": _bucket,
    "egress.offline": _switch,
    "log.level": _level,
}  # fmt: skip
