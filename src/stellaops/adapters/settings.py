"""Settings: defaults < YAML file < environment < command line. The only module that reads the environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stellaops.core.errors import InvalidInput

_FIELDS = {
    "dataDir": ("STELLA_DATA_DIR", "where evidence, keys and exports lie"),
    "tenant": ("STELLA_TENANT", "whose profiles, keys and runs are meant"),
    "trivy": ("STELLA_TRIVY", "path of the trivy program"),
    "keyPassphraseFile": ("STELLA_KEY_PASSPHRASE_FILE", "file with the passphrase of private keys"),
}


class InvalidSettings(InvalidInput):
    """The settings file or a variable cannot be used; all that is wrong is listed."""

    code = "ERR_CONFIG_INVALID"
    hint = "Correct what is listed; `stella config show` prints every setting and where it comes from."


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from."""

    value: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings by name."""

    values: Mapping[str, Setting]

    def get(self, name: str) -> str | None:
        """The value of a setting."""
        return self.values[name].value

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return Path(self.get("dataDir") or "")

    @property
    def tenant(self) -> str:
        """The tenant."""
        return self.get("tenant") or "default"


def load(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Args:
        flags: what the command line gave, by setting name; None for not given.

    Raises:
        InvalidSettings: with everything that is wrong.
    """
    file = settings_file(environment)
    from_file = _read(file)
    values = {}
    for name, (variable, _) in _FIELDS.items():
        if flags.get(name) is not None:
            values[name] = Setting(flags[name], "command line")
        elif environment.get(variable):
            values[name] = Setting(environment[variable], variable)
        elif name in from_file:
            values[name] = Setting(from_file[name], str(file))
        else:
            values[name] = Setting(_default(name, environment), "default")
    return Settings(values)


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the settings file is looked for."""
    if environment.get("STELLA_CONFIG"):
        return Path(environment["STELLA_CONFIG"])
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "stellaops" / "config.yaml"


def describe() -> list[tuple[str, str, str]]:
    """Name, variable and meaning of every setting."""
    return [(name, variable, meaning) for name, (variable, meaning) in _FIELDS.items()]


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        wire: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file}: {error}") from error
    if wire is None:
        return {}
    if not isinstance(wire, dict):
        raise InvalidSettings(f"{file}: settings are needed, one a line, as `name: value`")
    problems = []
    for name, value in wire.items():
        if name not in _FIELDS:
            near = difflib.get_close_matches(str(name), _FIELDS, 1)
            meant = f" (is {near[0]} meant?)" if near else f"; there are {', '.join(_FIELDS)}"
            problems.append(f"{name}: not a setting{meant}")
        elif not isinstance(value, str) or not value:
            problems.append(f"{name}: a text is needed, not {value!r}")
    if problems:
        raise InvalidSettings(f"{file}: {'; '.join(problems)}", details=problems)
    return dict(wire)


def _default(name: str, environment: Mapping[str, str]) -> str | None:
    if name == "dataDir":
        base = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        return str(Path(base) / "stellaops")
    return "default" if name == "tenant" else None
