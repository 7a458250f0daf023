"""What is to be started: services, their environments, and where the files that they name lie on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from stellaops.core.errors import InvalidInput

_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


class BadDeployment(InvalidInput):
    """A description of services cannot be read."""

    code = "ERR_DEPLOYMENT_UNREADABLE"
    hint = "Give what `docker compose config --format json` prints, or a file of lines NAME=VALUE."


@dataclass(frozen=True, slots=True)
class Owner:
    """As whom a service runs."""

    uid: int
    groups: frozenset[int]

    def may(self, state: os.stat_result, bits: int) -> bool:
        """Whether the rights of a file let it do something.

        Args:
            bits: 4 to read, 2 to write, 1 to enter, or their sum.
        """
        if self.uid == 0:
            return True
        shift = 6 if state.st_uid == self.uid else 3 if state.st_gid in self.groups else 0
        return (state.st_mode >> shift) & bits == bits


@dataclass(frozen=True, slots=True)
class Mount:
    """A place of a service that lies elsewhere.

    Attributes:
        source: where it lies on this machine; None for a volume that the engine keeps.
    """

    target: PurePosixPath
    source: Path | None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        image: None on a plain host.
        owner: None where it is not known.
        mounts: empty on a plain host, where every path is this machine's own.
    """

    name: str
    environment: Mapping[str, str] = field(repr=False)
    image: str | None = None
    command: tuple[str, ...] = ()
    owner: Owner | None = None
    mounts: tuple[Mount, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is a part of this product."""
        return self.image is None or "STELLA_DATA_DIR" in self.environment

    def here(self, path: str) -> Path | None:
        """Where a path of the service lies on this machine; None where that cannot be known."""
        if self.image is None:
            return Path(path)
        wanted = PurePosixPath(path)
        fitting = [each for each in self.mounts if wanted.is_relative_to(each.target)]
        if not fitting:
            return None
        best = max(fitting, key=lambda mount: len(mount.target.parts))
        return None if best.source is None else best.source / wanted.relative_to(best.target)

    def translated(self) -> dict[str, str]:
        """The environment with paths as they are on this machine, as far as that is known."""
        found = {}
        for name, value in self.environment.items():
            place = self.here(value) if value.startswith("/") else None
            found[name] = value if place is None else str(place)
        # The settings file of whoever runs the check is not the service's.
        return {"STELLA_CONFIG": "/dev/null/none", **found}


def read_compose(text: str) -> list[Service]:
    """Services as `docker compose config --format json` prints them.

    Raises:
        BadDeployment: it is something else.
    """
    try:
        wire = json.loads(text)
        services, volumes = wire["services"], wire.get("volumes") or {}
        secrets = wire.get("secrets") or {}
        return [_service(name, each, volumes, secrets) for name, each in sorted(services.items())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadDeployment(f"no description of Compose: {type(error).__name__}: {error}") from error


def _service(
    name: str, wire: Mapping[str, Any], volumes: Mapping[str, Any], secrets: Mapping[str, Any]
) -> Service:
    told = wire.get("environment") or {}
    words = [*(wire.get("entrypoint") or ()), *(wire.get("command") or ())]
    return Service(
        name,
        {key: _plain(value) for key, value in told.items() if value is not None},
        str(wire.get("image") or ""),
        tuple(_plain(word) for word in words),
        _owner(str(wire.get("user") or "0")),
        (*_mounts(wire, volumes), *_secret_mounts(wire, secrets)),
    )


def _plain(value: object) -> str:
    """A value as the container gets it: what Compose prints can be read by Compose again, so `$` stands twice."""
    return str(value).replace("$$", "$")


def _mounts(wire: Mapping[str, Any], volumes: Mapping[str, Any]) -> Iterator[Mount]:
    for each in wire.get("volumes") or ():
        source = each.get("source")
        if each["type"] == "volume":
            options = (volumes.get(source) or {}).get("driver_opts") or {}
            source = None if options.get("type") == "tmpfs" else options.get("device")
        place = Path(source) if source else None
        yield Mount(PurePosixPath(each["target"]), place, bool(each.get("read_only")))


def _secret_mounts(wire: Mapping[str, Any], secrets: Mapping[str, Any]) -> Iterator[Mount]:
    for each in wire.get("secrets") or ():
        file = (secrets.get(each["source"]) or {}).get("file")
        target = PurePosixPath("/run/secrets") / str(each.get("target") or each["source"])
        yield Mount(target, Path(file) if file else None, read_only=True)


def _owner(text: str) -> Owner | None:
    user, _, group = text.partition(":")
    if not user.isdecimal() or (group and not group.isdecimal()):
        return None
    return Owner(int(user), frozenset({int(group or 0)}))


def read_environment(text: str, name: str, owner: Owner | None = None) -> Service:
    """A part on a plain host, by its file of variables, as systemd's `EnvironmentFile=` reads it.

    Args:
        name: what the file is called in findings.

    Raises:
        BadDeployment: with every line that is no NAME=VALUE.
    """
    found, problems = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words[0] in "#;":
            continue
        shape = _LINE.fullmatch(words)
        if shape is None:
            problems.append(f"line {number} is not NAME=VALUE")
        else:
            found[shape[1]] = _unquoted(shape[2].strip())
    if problems:
        raise BadDeployment(f"{name}: {'; '.join(problems[:20])}", details=problems)
    return Service(name, found, owner=owner)


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def option(words: Sequence[str], name: str) -> list[str]:
    """The values of an option on a command line."""
    return [after for word, after in pairwise(words) if word == name] + [
        word.partition("=")[2] for word in words if word.startswith(f"{name}=")
    ]
