"""The section `targets` of the settings: places that bundles are brought to, each by its name.

    targets:
      edge: {driver: oci, repository: "registry.example.org/stella/{tenant}", tenants: [a, b]}

The same in the environment is `TARGETS__EDGE__REPOSITORY=…`: variables stand over the file, letters count in either
case, a point in a key is `__`, and `-` in a name is `_`. Who writes profiles only names a target; where it is, and
which file holds its secret, stands here alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stellaops.bundles.oci import names
from stellaops.bundles.oci.names import BadRepository
from stellaops.core.errors import InvalidInput

PREFIX = "TARGETS__"
HTTP = "http"
"""The driver, and the target, of downloads from here: it is always there."""

_COMMON = {
    "driver": "how bundles are brought there: `object` or `oci`; the target's name where left out",
    "tenants": "tenants whose profiles may name the target; every tenant where left out; a list",
}
_KEYS: Mapping[str, Mapping[str, str]] = {
    "http": {},
    "object": {
        "store": "`s3://BUCKET/PREFIX`; `{tenant}` in it is filled in",
        "endpoint": "URL of an S3-compatible server that is not AWS's own",
        "region": "region of the bucket; else the one of the key's file",
        "keyFile": "file with the access key, as AWS's `credentials`; read again for every push",
        "caFile": "PEM certificates to trust beside the system's, for this target",
        "lock.mode": "`governance` or `compliance`: sent bundles are locked",
        "lock.days": "for how many days",
    },
    "oci": {
        "repository": "`HOST[:PORT]/PATH`; `{tenant}` in it is filled in",
        "dockerConfigFile": "file with registry logins, as docker's `config.json`; read again for every push",
        "plainHttp": "`true`: the registry is reached without TLS; its host must be among `egress.allowHttp` too",
        "caFile": "PEM certificates to trust beside the system's, for this target",
    },
}
"""What each driver is told, beside `_COMMON`. A point means a section inside."""
_PLACES = {"object": "store", "oci": "repository"}
"""What says where a target is: no two tenants may have the same place."""

_LOCKS = ("governance", "compliance")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HOLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """What the settings say of one target.

    Attributes:
        values: by key, as `lock.mode`.
        origins: where each value comes from.
        tenants: whose profiles may name it; every tenant's where empty.
    """

    name: str
    driver: str
    # Some values may carry credentials, so that no value stands in a trace.
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    tenants: tuple[str, ...] = ()

    def get(self, key: str) -> str | None:
        """The value of a key; None where nothing is said."""
        return self.values.get(key)

    def need(self, key: str) -> str:
        """The value of a key that has to be said.

        Raises:
            BadTarget: it is not.
        """
        value = self.values.get(key)
        if not value:
            raise BadTarget(f"targets.{self.name}.{key} is missing")
        return value

    def is_on(self, key: str) -> bool:
        """Whether a key says yes; no where nothing is said.

        Raises:
            BadTarget: it says neither yes nor no.
        """
        text = self.values.get(key, "false").strip().lower()
        if text not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
            raise BadTarget(f"targets.{self.name}.{key}: true or false is needed, not {text!r}")
        return text in ("true", "yes", "1", "on")

    def number(self, key: str) -> int | None:
        """A key that is a whole number above zero; None where nothing is said.

        Raises:
            BadTarget: it is none.
        """
        text = self.values.get(key)
        if text is None:
            return None
        if not text.isdecimal() or int(text) == 0:
            raise BadTarget(f"targets.{self.name}.{key}: a whole number above zero is needed, not {text!r}")
        return int(text)

    def for_tenant(self, tenant: str) -> TargetSettings:
        """The same with the tenant's name filled in."""
        filled = {key: value.replace("{tenant}", tenant) for key, value in self.values.items()}
        return replace(self, values=filled)

    def is_for(self, tenant: str) -> bool:
        """Whether a tenant's profiles may name the target."""
        return not self.tenants or tenant in self.tenants


class BadTarget(InvalidInput):
    """What the settings say of a target cannot be used."""

    code = "ERR_CONFIG_TARGET"
    hint = "Correct the section `targets` of the settings; docs/operate/distribution.md describes every key."


def drivers() -> tuple[str, ...]:
    """The drivers that settings know."""
    return tuple(_KEYS)


def describe_targets() -> list[tuple[str, str, str]]:
    """Name, variable and meaning of every key; NAME stands for the target's."""
    keys = dict(_COMMON)
    for driver, own in _KEYS.items():
        for key, meaning in own.items():
            keys[key] = (
                f"{meaning} (`{driver}`)" if key not in keys else keys[key].replace("(`", f"(`{driver}`, `")
            )
    return [(f"targets.NAME.{key}", f"{PREFIX}NAME__{_variable(key)}", keys[key]) for key in keys]


def read_targets(
    wire: object, origin: str, environment: Mapping[str, str]
) -> tuple[Mapping[str, TargetSettings], Sequence[str]]:
    """The targets by name, and what is wrong with them, a sentence each.

    Args:
        wire: the section of the file, None where it has none.
        origin: the file.
    """
    problems: list[str] = []
    told: dict[str, dict[str, tuple[str, str]]] = {}
    for name, key, value in (*_of_file(wire, problems), *_of_environment(environment, problems)):
        text, source = value if isinstance(value, tuple) else (value, origin)
        told.setdefault(name, {})[key] = (text, source)
    # A section that says nothing names a target all the same.
    for name, section in wire.items() if isinstance(wire, dict) else ():
        if section == {}:
            told.setdefault(str(name), {})
    targets = {name: _target(name, values, problems) for name, values in sorted(told.items())}
    problems += _shared_places(list(targets.values()))
    return targets, problems


def _of_file(wire: object, problems: list[str]) -> Iterator[tuple[str, str, Any]]:
    if wire is None:
        return
    if not isinstance(wire, dict):
        problems.append("targets: a section is needed, with a section for each target")
        return
    for name, section in wire.items():
        if not isinstance(section, dict):
            problems.append(f"targets.{name}: a section is needed, as `{{driver: oci, repository: …}}`")
            continue
        for key, value in _flat(section):
            text = _as_text(value)
            if text is None:
                problems.append(f"targets.{name}.{key}: a text is needed, not {value!r}")
            else:
                yield str(name), key, text


def _flat(section: Mapping[Any, Any], head: str = "") -> Iterator[tuple[str, object]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", value


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value) if all(isinstance(each, str) for each in value) else None
    return str(value) if isinstance(value, str | int) and value != "" else None


def _of_environment(environment: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, str, Any]]:
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX) or not value:
            continue
        name, *keys = variable.removeprefix(PREFIX).lower().split("__")
        if not keys or not name:
            problems.append(f"{variable}: a variable of a target is {PREFIX}NAME__KEY")
            continue
        yield name.replace("_", "-"), ".".join(keys), (value, variable)


def _target(name: str, told: Mapping[str, tuple[str, str]], problems: list[str]) -> TargetSettings:
    where = f"targets.{name}"
    if not _NAME.fullmatch(name):
        problems.append(f"{where}: a target's name is 1 to 63 of a-z, 0-9 and -")
    told = {key.lower(): value for key, value in told.items()}
    driver = told.get("driver", (name, ""))[0]
    if driver not in _KEYS:
        problems.append(f"{where}.driver: {driver!r} is none of {', '.join(_KEYS)}")
        return TargetSettings(name, driver)
    if name in _KEYS and name != driver:
        problems.append(f"{where}.driver: the name {name} is for the driver {name}")
    known = {key.lower(): key for key in (*_COMMON, *_KEYS[driver])}
    for key, (_, source) in told.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"is {known[near[0]]} meant?" if near else f"there are {', '.join(known.values())}"
            problems.append(f"{where}.{key} ({source}): not a setting of driver {driver}; {meant}")
    values = {known[key]: value for key, (value, _) in told.items() if key in known}
    origins = {known[key]: source for key, (_, source) in told.items() if key in known}
    tenants = tuple(part.strip() for part in values.pop("tenants", "").split(",") if part.strip())
    target = TargetSettings(name, driver, values, origins, tenants)
    problems += [f"{where}.{problem}" for problem in (*_place_problems(target), *_object_problems(target))]
    problems += _form_problems(target)
    return target


def _place_problems(target: TargetSettings) -> Iterator[str]:
    key = _PLACES.get(target.driver)
    if key is None:
        return
    place = target.values.get(key)
    if not place:
        yield f"{key} is missing"
        return
    for hole in _HOLE.findall(place):
        if hole != "tenant":
            yield f"{key}: {{{hole}}} is not filled in; {{tenant}} is"
    if "{tenant}" not in place and len(target.tenants) != 1:
        yield f"{key}: {{tenant}} must stand in it, or `tenants` must name one tenant: places are not shared"
    if target.driver == "oci":
        yield from (f"{key}: {problem}" for problem in _repository_problems(_HOLE.sub("tenant", place)))


def _repository_problems(place: str) -> Iterator[str]:
    form = "it is HOST[:PORT]/PATH, as registry.example.org/stella/{tenant}"
    try:
        host = names.repository(place.rstrip("/")).registry
    except BadRepository as error:
        yield f"{error.what}; {form}"
        return
    # As everywhere with images: a first part without point and port is no host, but a part of a path.
    if host != "localhost" and not any(sign in host for sign in ".:"):
        yield f"{host!r} is no registry's host, which has a point or a port; {form}"


def _object_problems(target: TargetSettings) -> Iterator[str]:
    """What only a bucket needs: a region where it is one of AWS's own, and both halves of a lock or none."""
    if target.driver != "object":
        return
    if not target.values.get("region") and not target.values.get("endpoint"):
        yield "region is missing: without `endpoint` the bucket is one of AWS's own"
    mode, days = target.values.get("lock.mode"), target.values.get("lock.days")
    if mode is not None and mode not in _LOCKS:
        yield f"lock.mode: {mode!r} is none of {', '.join(_LOCKS)}"
    if (mode is None) != (days is None):
        yield "lock: `mode` and `days` belong together"


def _form_problems(target: TargetSettings) -> Iterator[str]:
    """Values that are no number, or neither yes nor no."""
    for read, key in ((target.number, "lock.days"), (target.is_on, "plainHttp")):
        try:
            read(key)
        except BadTarget as error:
            yield error.what


def _shared_places(targets: Sequence[TargetSettings]) -> list[str]:
    """Two targets in one place would each move what the other has moved."""
    problems, seen = [], dict[tuple[str, ...], str]()
    for target in targets:
        place = target.values.get(_PLACES.get(target.driver, ""), "")
        key = (target.driver, target.values.get("endpoint", ""), place.rstrip("/"))
        if place and key in seen and not _disjoint(target, next(t for t in targets if t.name == seen[key])):
            problems.append(f"targets.{target.name} is the same place as targets.{seen[key]}")
        seen.setdefault(key, target.name)
    return problems


def _disjoint(one: TargetSettings, other: TargetSettings) -> bool:
    holds = "{tenant}" in one.values.get(_PLACES.get(one.driver, ""), "")
    return holds and bool(one.tenants and other.tenants) and not set(one.tenants) & set(other.tenants)


def _variable(key: str) -> str:
    return key.replace(".", "__").upper()
