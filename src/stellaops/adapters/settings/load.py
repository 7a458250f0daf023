"""Settings: defaults < YAML file < environment < command line. The only module that reads the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from stellaops.adapters.settings.fields import DEFAULTS, FIELDS, SECRET, STANDARD
from stellaops.adapters.settings.mirrors import SECTIONS, MirrorHost, read_mirror_host
from stellaops.adapters.settings.targets import TargetSettings, read_targets
from stellaops.core import durations
from stellaops.core.errors import InvalidInput


class InvalidSettings(InvalidInput):
    """The settings file or a variable cannot be used; all that is wrong is listed."""

    code = "ERR_CONFIG_INVALID"
    hint = "Correct what is listed; `stella config show` prints every setting and where it comes from."


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from."""

    # Some values carry credentials, so that no value stands in a trace.
    value: str | None = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings by name.

    Attributes:
        targets: places that bundles are brought to, by name.
    """

    values: Mapping[str, Setting]
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """The value of a setting."""
        return self.values[name].value

    def shown(self, name: str) -> str | None:
        """The value of a setting as it may be shown: without the credentials of a URL."""
        value = self.get(name)
        if value is None:
            return None
        if name in SECRET:
            return "***"
        return _redacted(value)

    def every(self) -> list[tuple[str, str | None, str]]:
        """Name, value as it may be shown, and origin of every setting, those of targets too."""
        own = [(name, self.shown(name), setting.origin) for name, setting in self.values.items()]
        for name, target in self.targets.items():
            told = {"driver": target.driver, **target.values, "tenants": ",".join(target.tenants)}
            own += [
                (f"targets.{name}.{key}", _redacted(value), target.origins.get(key, "default"))
                for key, value in told.items()
                if value
            ]
        return own

    def listed(self, name: str) -> tuple[str, ...]:
        """The parts of a setting that is a list."""
        return tuple(part.strip() for part in (self.get(name) or "").split(",") if part.strip())

    def is_on(self, name: str) -> bool:
        """Whether a setting says yes.

        Raises:
            InvalidSettings: it says neither yes nor no.
        """
        text = (self.get(name) or "false").strip().lower()
        if text not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
            raise InvalidSettings(f"{name}: true or false is needed, not {text!r}")
        return text in ("true", "yes", "1", "on")

    def number(self, name: str) -> int:
        """A setting that is a whole number above zero.

        Raises:
            InvalidSettings: it is not.
        """
        text = (self.get(name) or "").strip()
        if not text.isdecimal() or int(text) == 0:
            raise InvalidSettings(f"{name}: a whole number above zero is needed, not {text!r}")
        return int(text)

    def duration(self, name: str, example: str) -> timedelta:
        """A setting that is a duration.

        Raises:
            InvalidSettings: it is none, as `example` would be.
        """
        text = self.get(name) or ""
        found = durations.parse(text)
        if found is None:
            raise InvalidSettings(f"{name}: {text!r} is no duration such as {example}")
        return found

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return Path(self.get("dataDir") or "")

    @property
    def tenant(self) -> str:
        """The tenant."""
        return self.get("tenant") or "default"


def _redacted(value: str) -> str:
    value = re.sub(r"(?i)(?<=[?&])([a-z]*password)=[^&]*", r"\1=***", value)
    return re.sub(r"(?<=//)[^/@]*@|^[^/@]*@", "***@", value)


def load(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Args:
        flags: what the command line gave, by setting name; None for not given.

    Raises:
        InvalidSettings: with everything that is wrong.
    """
    file = settings_file(environment)
    from_file, section = _read(file)
    targets, problems = read_targets(section, str(file), environment)
    if problems:
        raise InvalidSettings("; ".join(problems), details=problems)
    values = {}
    for name, (variable, _) in FIELDS.items():
        if flags.get(name) is not None:
            values[name] = Setting(flags[name], "command line")
        elif environment.get(variable):
            values[name] = Setting(environment[variable], variable)
        elif name in from_file:
            values[name] = Setting(from_file[name], str(file))
        elif standard := next((each for each in STANDARD.get(name, ()) if environment.get(each)), None):
            values[name] = Setting(environment[standard], standard)
        else:
            values[name] = Setting(_default(name, environment), "default")
    return Settings(values, targets)


def load_mirror_host(environment: Mapping[str, str] = os.environ) -> MirrorHost:
    """Read the settings of a mirror host, and no others.

    Raises:
        InvalidSettings: the file cannot be read.
        InvalidMirrorSettings: with everything that is wrong.
    """
    return read_mirror_host(_document(settings_file(environment)), environment)


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the variables of OpenTelemetry ask for traces; its library reads where they go, and how many.

    Raises:
        InvalidSettings: they ask for what there is not.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise InvalidSettings(f"OTEL_TRACES_EXPORTER: otlp or none is needed, not {exporter!r}")
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not exporter and not any(environment.get(name) for name in names):
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name, "http/protobuf") != "http/protobuf":
            raise InvalidSettings(f"{name}: http/protobuf is needed, not {environment[name]!r}")
    return True


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the settings file is looked for."""
    if environment.get("STELLA_CONFIG"):
        return Path(environment["STELLA_CONFIG"])
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "stellaops" / "config.yaml"


def describe() -> list[tuple[str, str, str]]:
    """Name, variable and meaning of every setting; `target_settings.describe_targets` has those of targets."""
    return [(name, variable, meaning) for name, (variable, meaning) in FIELDS.items()]


def _read(file: Path) -> tuple[dict[str, str], object]:
    """The settings of the file, and its section of targets. Those of mirror hosts are read by themselves."""
    document = _document(file)
    wire = {name: value for name, value in document.items() if str(name).lower() not in SECTIONS}
    problems = []
    values: dict[str, str] = {}
    section = next((wire[name] for name in ("targets", "Targets") if name in wire), None)
    for name, value in _flat(
        {name: value for name, value in wire.items() if name not in ("targets", "Targets")}
    ):
        if name not in FIELDS:
            near = difflib.get_close_matches(str(name), FIELDS, 1)
            meant = f" (is {near[0]} meant?)" if near else "; `stella config show` lists those that there are"
            problems.append(f"{name}: not a setting{meant}")
        elif (text := _as_text(value)) is None:
            problems.append(f"{name}: a text is needed, not {value!r}")
        else:
            values[name] = text
    if problems:
        raise InvalidSettings(f"{file}: {'; '.join(problems)}", details=problems)
    return values, section


def _document(file: Path) -> Mapping[Any, Any]:
    """What stands in the file; nothing where there is none."""
    if not file.is_file():
        return {}
    try:
        wire: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file}: {error}") from error
    if wire is not None and not isinstance(wire, dict):
        raise InvalidSettings(f"{file}: settings are needed, one a line, as `name: value`")
    return wire or {}


def _flat(wire: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Names and values; those of a section are `section.name`. In `ExportCenter` every name begins with a capital."""
    for name, value in wire.items():
        if name == "ExportCenter" and isinstance(value, dict):
            yield from ((_lowered(inner), each) for inner, each in _flat(value))
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in _flat(value))
        else:
            yield name, value


def _lowered(name: object) -> str:
    return ".".join(part[:1].lower() + part[1:] for part in str(name).split("."))


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value) if all(isinstance(each, str) for each in value) else None
    return str(value) if isinstance(value, str | int) and value != "" else None


def _default(name: str, environment: Mapping[str, str]) -> str | None:
    if name == "dataDir":
        base = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        return str(Path(base) / "stellaops")
    return DEFAULTS.get(name)
