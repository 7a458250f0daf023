"""Show that exports are reproducible: fill two stores in unlike surroundings, export both, compare every byte.

The two stores differ in directory, time zone, locale, umask, hash seed, order of import and clock. Both sign with the
same key (copied, as an operator restores it from a backup), so that the signatures must be equal too.

Exit 0 when every file of every profile is equal, 1 when one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STELLA = (sys.executable, "-c", "from stellaops.cli.start import main; main()")
PROFILES = ("trivy:db", "json:raw", "json:policy", "mirror:full")


@dataclass(frozen=True, slots=True)
class Row:
    """One file of an export in both stores; a digest is empty where the file is missing."""

    profile: str
    path: str
    first: str
    second: str

    @property
    def equal(self) -> bool:
        """Whether both have the same bytes."""
        return self.first == self.second


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run meets that must not show in its result."""

    directory: Path
    variables: dict[str, str]
    umask: int
    backwards: bool
    clock: tuple[str, ...] = ()

    def stella(self, *arguments: str) -> Any:
        """What a `stella` command answers in JSON.

        Raises:
            SystemExit: the command failed; its message stands on stderr.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STELLA_", "LC_"))}
        done = subprocess.run(
            [*self.clock, *STELLA, "--data-dir", str(self.directory), *arguments, "--format", "json"],
            env=kept | self.variables,
            umask=self.umask,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"stella {' '.join(arguments)}: exit {done.returncode}")
        return json.loads(done.stdout)

    def fill(self, advisories: Path) -> None:
        """Import every source of a directory: each entry is one, named by its stem."""
        entries = sorted(
            entry for entry in advisories.iterdir() if not entry.name.startswith((".", "README"))
        )
        for entry in sorted(entries, reverse=self.backwards):
            self.stella("concelier", "import", str(entry), "--source", entry.name.partition(".")[0])

    def fill_vex(self, folder: Path) -> None:
        """The same for VEX, and the bills of materials beside it."""
        for entry in sorted(folder.iterdir(), reverse=self.backwards):
            self.stella("excititor", "import", str(entry), "--source", f"vex-{entry.name}")

    def export(self, profile: str) -> Path:
        """Run a profile; answers the root of the bundle."""
        run = self.stella("export", "run", "submit", "--profile", profile, "--wait")
        # The bundle root is named by the export and the archive, whatever lies in it.
        first = Path(run["artifacts"][0]["path"])
        return next(parent for parent in first.parents if parent.name == run["archiveId"])


def surroundings(directory: Path) -> tuple[Surroundings, Surroundings]:
    """Two unlike places to work in."""
    first = Surroundings(
        directory=directory / "one",
        variables={"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
        umask=0o022,
        backwards=False,
    )
    faketime = shutil.which("faketime")
    second = Surroundings(
        directory=directory / "another place" / "zwei",
        variables={
            "TZ": "<+14>-14",
            "LC_ALL": "tr_TR.UTF-8",
            "LANG": "tr_TR.UTF-8",
            "PYTHONHASHSEED": "4242",
        },
        umask=0o077,
        backwards=True,
        clock=(faketime, "-f", "+400d") if faketime else (),
    )
    for place in (first, second):
        place.directory.mkdir(parents=True)
    return first, second


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def compare(profile: str, first: Path, second: Path) -> Iterator[Row]:
    """Every file that either of two bundle roots has."""
    left, right = digests(first), digests(second)
    for path in sorted(left.keys() | right.keys()):
        yield Row(profile, path, left.get(path, ""), right.get(path, ""))


def reproduce(directory: Path, advisories: Path, profiles: Sequence[str] = PROFILES) -> list[Row]:
    """Fill two stores below an empty directory from the same advisories, export both, compare.

    Args:
        directory: where the stores are made.
        advisories: a directory whose entries are sources.
        profiles: what to export.
    """
    first, second = surroundings(directory)
    vex = advisories.parent / "vex"
    for place, steps in ((first, (first.fill, first.fill_vex)), (second, (second.fill_vex, second.fill))):
        for step in steps:
            if step == place.fill or vex.is_dir():
                step(advisories if step == place.fill else vex)
    rows: list[Row] = []
    for profile in profiles:
        left = first.export(profile)
        if not (second.directory / "keys").exists():
            for name in ("keys", "tenants"):
                shutil.copytree(first.directory / name, second.directory / name)
        rows.extend(compare(profile, left, second.export(profile)))
    return rows


def show(rows: Sequence[Row]) -> str:
    """A table of the comparison."""
    width = max((len(row.path) for row in rows), default=0)
    lines = []
    for profile in dict.fromkeys(row.profile for row in rows):
        lines.append(profile)
        for row in (row for row in rows if row.profile == profile):
            said = "equal" if row.equal else "NOT EQUAL"
            both = (
                row.first[:16]
                if row.equal
                else f"{row.first[:16] or 'missing'} {row.second[:16] or 'missing'}"
            )
            lines.append(f"  {row.path:{width}}  {said:9}  {both}")
    return "\n".join(lines)


def verdict(rows: Sequence[Row], profiles: Sequence[str] = PROFILES) -> list[str]:
    """What keeps the exports from being called reproduced; empty when nothing does."""
    wrong = [f"{row.profile}: {row.path} differs" for row in rows if not row.equal]
    for profile in profiles:
        paths = {row.path for row in rows if row.profile == profile}
        archives = {path for path in paths if path.endswith(".tar.zst")}
        beside = {f"{path}{end}" for path in archives for end in (".sha256", ".sha256.sig")}
        must = archives | beside or {"export.json", "signatures/export.sig"}
        wrong.extend(f"{profile}: no {name} was there to compare" for name in sorted(must - paths))
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description="Fill two stores in unlike surroundings and compare their exports."
    )
    parser.add_argument("--advisories", type=Path, default=ROOT / "examples" / "advisories")
    parser.add_argument(
        "--profile", action="append", dest="profiles", help="what to export (may be repeated)"
    )
    options = parser.parse_args(arguments)
    profiles = options.profiles or list(PROFILES)
    with tempfile.TemporaryDirectory(prefix="reproduce-") as directory:
        rows = reproduce(Path(directory), options.advisories.resolve(), profiles)
    print(show(rows))
    wrong = verdict(rows, profiles)
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"reproduced: {len(rows)} files, all equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
