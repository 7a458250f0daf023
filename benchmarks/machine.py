"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, memory, versions, the day, and how busy the machine is with other things."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _after("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memoryMiB": int((_after("/proc/meminfo", "MemTotal") or "0").split()[0]) // 1024,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def line(machine: dict[str, Any]) -> str:
    """The same in a line."""
    load = " ".join(map(str, machine["load"]))
    return (
        f"{machine['date']} · {machine['cores']} cores, {machine['cpu']}, {machine['memoryMiB'] / 1024:.0f} GiB · "
        f"{machine['system']} · Python {machine['python']}, SQLite {machine['sqlite']} · load average {load}"
    )


def _after(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((text.partition(":")[2].strip() for text in lines if text.startswith(name)), None)
