"""`python -m tools.monitoring` makes `deploy/monitoring`; `--check` compares it, `--settings` is for other settings.

Prometheus' rules and configuration, Alertmanager's routes, Grafana's dashboards, and the rules again for the chart of
Helm. Needs PyYAML and nothing of the product.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.monitoring.dashboards import dashboards
from tools.monitoring.routes import alertmanager, prometheus
from tools.monitoring.rules import rules
from tools.monitoring.settings import InvalidMonitoring, Monitoring, read_settings

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "deploy" / "monitoring"
HELM = ROOT / "deploy" / "helm" / "stellaops" / "files"
SETTINGS = PLACE / "settings.yaml"
_NOTE = "# Made by `make docs` of settings.yaml; change that, or tools/monitoring, not this file.\n"


def text_of(document: Mapping[str, Any]) -> str:
    """YAML with its keys in their order, one document."""
    return _NOTE + yaml.safe_dump(dict(document), sort_keys=False, width=110, allow_unicode=True)


def files(wanted: Monitoring) -> dict[str, str]:
    """Every file by its name below the directory.

    Raises:
        InvalidMonitoring: see `alertmanager`.
    """
    boards = {
        f"dashboards/{name}": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in dashboards(wanted.bounds).items()
    }
    return {
        "prometheus.yaml": text_of(prometheus(wanted)),
        "rules.yaml": text_of(rules(wanted.bounds)),
        "alertmanager.yaml": text_of(alertmanager(wanted)),
        **boards,
    }


def ours() -> dict[Path, str]:
    """The files of the project, by their place."""
    made = files(read_settings(SETTINGS))
    chart = {name: text for name, text in made.items() if name == "rules.yaml" or "/" in name}
    return {
        place / name: text for place, some in ((PLACE, made), (HELM, chart)) for name, text in some.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` name those that are not what the code says."""
    parser = argparse.ArgumentParser(prog="python -m tools.monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    parser.add_argument("--settings", type=Path, help="another file of settings")
    parser.add_argument("--to", type=Path, help="where the files of those settings are put")
    given = parser.parse_args(arguments)
    if (given.settings is None) is not (given.to is None):
        parser.error("--settings and --to go together")
    try:
        if given.to is None:
            wanted = ours()
        else:
            wanted = {given.to / name: text for name, text in files(read_settings(given.settings)).items()}
    except InvalidMonitoring as error:
        print(f"monitoring: {error}", file=sys.stderr)
        return 2
    return _compare(wanted) if given.check else _write(wanted)


def _compare(wanted: Mapping[Path, str]) -> int:
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path} is not what the code says: run `make docs` and commit it")
    return 1 if stale else 0


def _write(wanted: Mapping[Path, str]) -> int:
    for path, text in wanted.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
