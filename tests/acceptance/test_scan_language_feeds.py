"""Ruby, PHP, Elixir and npm advisories in their own forms: stock Trivy finds what the documents themselves say.

What must be found is worked out here once more with nothing of the product: documents and lock files are read as they
stand, and the requirements of each ecosystem are evaluated as its own package manager does.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.choosing import all_quick_but
from tests.support.shared import require_shared
from tests.support.tools import ROOT
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import Finding, component, findings, once, packages, sbom, scan

FOLDERS = ("rubysec", "friendsofphp", "elixir-yaml", "nodejs-wg", "mozilla-mfsa", "cpansec", "retirejs")
TARGETS = "data/scan-targets"
Packages = set[tuple[str, str]]


class Told(NamedTuple):
    """What a document says: under which ids, of which package, of which versions; and the versions that it names."""

    ids: tuple[str, ...]
    package: str
    affects: Callable[[str], bool]
    named: tuple[str, ...]


@functools.cache
def files(folder: str) -> Mapping[str, bytes]:
    path = require_shared(f"data/advisories/{folder}/data.tar.xz")
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def documents(folder: str, suffix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, content in files(folder).items():
        if name.endswith(suffix):
            text = content.decode()
            yield name, json.loads(text) if suffix == ".json" else yaml.load(text, yaml.CBaseLoader)  # noqa: S506


def stated(value: Any) -> bool:
    return value not in (None, "", "~", "null")


# ---- Ruby: Gem::Version and Gem::Requirement

Segments = tuple[int | str, ...]


def gem(version: str) -> Segments:
    found = re.findall(r"[0-9]+|[a-zA-Z]+", version.replace("-", ".pre."))
    return tuple(int(part) if part.isdigit() else part for part in found)


def gem_order(one: Segments, other: Segments) -> int:
    for left, right in itertools.zip_longest(one, other, fillvalue=0):
        if left == right:
            continue
        if isinstance(left, str) != isinstance(right, str):
            return -1 if isinstance(left, str) else 1
        return -1 if left < right else 1  # type: ignore[operator]
    return 0


def gem_holds(requirement: str, version: str) -> bool:
    """`~> 6.0.3, >= 6.0.3.5`: all parts hold."""
    return all(gem_part(part.strip(), gem(version)) for part in requirement.split(","))


def gem_part(part: str, version: Segments) -> bool:
    found = re.fullmatch(r"(~>|>=|<=|!=|=|>|<|)\s*(\S+)", part)
    assert found, part
    bound = gem(found[2])
    if found[1] == "~>":
        numbers = list(itertools.takewhile(lambda n: isinstance(n, int), bound))
        kept = numbers[:-1] if len(numbers) > 1 else numbers
        following = (*kept[:-1], int(kept[-1]) + 1)
        release = tuple(itertools.takewhile(lambda n: isinstance(n, int), version))
        return gem_order(version, bound) >= 0 and gem_order(release, following) < 0
    order = gem_order(version, bound)
    return {
        ">=": order >= 0, "<=": order <= 0, "!=": order != 0, "=": order == 0, "": order == 0, ">": order > 0,
        "<": order < 0,
    }[found[1]]  # fmt: skip


def ruby() -> Iterator[Told]:
    for _, document in documents("rubysec", ".yml"):
        if "gem" not in document:
            continue
        names = [
            f"{prefix}-{document[field]}"
            for field, prefix in (("cve", "CVE"), ("ghsa", "GHSA"), ("osvdb", "OSVDB"))
            if stated(document.get(field))
        ]
        secure = [*(document.get("patched_versions") or ()), *(document.get("unaffected_versions") or ())]
        affects = functools.partial(
            lambda secure, version: not any(gem_holds(r, version) for r in secure), secure
        )
        yield Told((names[0],), document["gem"], affects, versions(secure))


# ---- PHP and Elixir: comparisons of releases that hold together


def release(version: str) -> tuple[int, ...]:
    """Numbers with the pre-release below the release; labels do not occur together with bounds that have some."""
    numbers, _, label = version.removeprefix("v").partition("+")[0].partition("-")
    parts = [int(part) for part in numbers.split(".")]
    return (*parts, *[0] * (6 - len(parts)), -1 if label else 0)


def together(constraints: Iterable[str], version: str) -> bool:
    for text in constraints:
        found = re.fullmatch(r"\s*(>=|<=|!=|==|=|>|<|)\s*v?(\S+)\s*", text)
        assert found, text
        one, other = release(version), release(found[2])
        holds = {
            ">=": one >= other, "<=": one <= other, "!=": one != other, "==": one == other, "=": one == other,
            "": one == other, ">": one > other, "<": one < other,
        }[found[1]]  # fmt: skip
        if not holds:
            return False
    return True


def php() -> Iterator[Told]:
    for name, document in documents("friendsofphp", ".yaml"):
        package = document["reference"].removeprefix("composer://")
        stem = Path(name).stem
        named = stem if stem.startswith("CVE-") else f"{package}/{stem}"
        identifier: str = document["cve"] if stated(document.get("cve")) else named
        branches = [branch["versions"] for branch in document["branches"].values()]
        affects = functools.partial(
            lambda branches, version: any(together(branch, version) for branch in branches), branches
        )
        yield Told((identifier,), package, affects, versions(itertools.chain(*branches)))


def elixir() -> Iterator[Told]:
    for _, document in documents("elixir-yaml", ".yml"):
        ranges = [text.split(",") for text in document["vulnerable_version_ranges"]]
        patched = [text for text in document["first_patched_versions"] if stated(text)]
        affects = functools.partial(
            lambda ranges, patched, version: (
                version not in patched and any(together(r, version) for r in ranges)
            ),
            ranges,
            patched,
        )
        yield Told(
            (document["id"],), document["package"], affects, versions([*itertools.chain(*ranges), *patched])
        )


# ---- npm: ranges as node-semver reads them, pre-releases included

Semver = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
LAST = ((9, 0, ""),)


def semver(text: str) -> Semver:
    numbers, _, label = text.lstrip("=v").partition("+")[0].partition("-")
    major, minor, patch = (int(part) for part in numbers.split("."))
    labels = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in label.split(".") if part
    )
    return major, minor, patch, labels or LAST


def npm_bounds(comparator: str) -> tuple[Semver | None, Semver | None]:
    """From (inclusive), below; a single comparator such as `^1.2.3`, `<=1.0`, `2.x`."""
    found = re.fullmatch(
        r"(\^|~>?|>=|<=|=|>|<|)v?([0-9xX*]+)(?:\.([0-9xX*]+))?(?:\.([0-9xX*]+))?(-\S+)?", comparator
    )
    assert found, comparator
    parts = list(
        itertools.takewhile(lambda part: part is not None and part not in "xX*", found.groups()[1:4])
    )
    numbers = [int(part) for part in parts]
    low = semver(".".join(map(str, numbers + [0] * (3 - len(numbers)))) + (found[5] or ""))
    if len(numbers) < 3:
        low = (*low[:3], ())  # `1.2` begins with the first pre-release of 1.2.0

    def after(count: int) -> Semver | None:
        """The first version that differs from the bound within so many numbers."""
        if count == 0:
            return None
        kept = [*numbers[: count - 1], numbers[count - 1] + 1]
        return (*[*kept, 0, 0][:3], ())  # type: ignore[return-value]

    whole = len(numbers) == 3
    exactly = (*low[:3], (*low[3], (-1, 0, ""))) if whole else after(len(numbers))  # just above the bound
    leading = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    return {
        ">=": (low, None),
        "<": (None, low),
        "<=": (None, exactly),
        ">": (exactly, None),
        "^": (low, after(leading + 1)),
        "~": (low, after(min(len(numbers), 2))),
        "~>": (low, after(min(len(numbers), 2))),
    }.get(found[1], (low, exactly))


def npm_holds(text: str, version: str) -> bool:
    key = semver(version)
    for alternative in text.split("||"):
        spaced = re.sub(r"([\^~<>=]+)\s+", r"\1", alternative.replace(",", " "))
        bounds = [npm_bounds(comparator) for comparator in spaced.split()]
        if all((low is None or key >= low) and (high is None or key < high) for low, high in bounds):
            return True
    return False


def npm() -> Iterator[Told]:
    for name, document in documents("nodejs-wg", ".json"):
        if not re.fullmatch(r"vuln/npm/\d+\.json", name):
            continue
        cves = sorted(cve for cve in document["cves"] if re.fullmatch(r"CVE-\d{4}-\d{4,}", cve))
        vulnerable, patched = document["vulnerable_versions"], document["patched_versions"]
        affects = functools.partial(
            lambda vulnerable, patched, version: (
                npm_holds(vulnerable, version) and not (patched and npm_holds(patched, version))
            ),
            vulnerable,
            patched,
        )
        ids = tuple(cves) or (f"NSWG-ECO-{document['id']}",)
        yield Told(ids, document["module_name"].lower(), affects, versions([vulnerable, patched or ""]))


# ---- what must be found


def versions(texts: Iterable[str]) -> tuple[str, ...]:
    """The releases that constraints name, with three numbers at least, and their neighbours."""
    found: dict[str, None] = {"0.0.1": None, "999.0.0": None}
    for text in texts:
        for numbers in re.findall(r"(?<![\w.-])v?(\d+(?:\.\d+)*)(?![\w.-])", text):
            parts = [int(part) for part in numbers.split(".")]
            parts += [0] * (3 - len(parts))
            for last in (parts[-1] - 1, parts[-1], parts[-1] + 1):
                if last >= 0:
                    found[".".join(map(str, [*parts[:-1], last]))] = None
    return tuple(found)


class Ecosystem(NamedTuple):
    """How to read its documents, and its packages' kind in purls."""

    told: Callable[[], Iterator[Told]]
    purl: str


ECOSYSTEMS = {
    "RubyGems": Ecosystem(ruby, "gem"),
    "Packagist": Ecosystem(php, "composer"),
    "Hex": Ecosystem(elixir, "hex"),
    "npm": Ecosystem(npm, "npm"),
}


@functools.cache
def by_package(ecosystem: str) -> Mapping[str, list[Told]]:
    found = defaultdict(list)
    for told in ECOSYSTEMS[ecosystem].told():
        found[told.package.lower()].append(told)
    return found


def expected(ecosystem: str, installed: Packages) -> set[Finding]:
    known = by_package(ecosystem)
    return {
        Finding(name, version, identifier)
        for name, version in installed
        for told in known.get(name.lower(), ())
        if told.affects(version)
        for identifier in told.ids
    }


# ---- lock files, as they stand


def gemfile_lock(path: Path) -> Packages:
    found = set(re.findall(r"^    (\S+) \(([^)]+)\)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    return {
        (name, re.sub(r"-(x86|x64|java|arm|aarch64|universal).*$", "", version)) for name, version in found
    }


def composer_lock(path: Path) -> Packages:
    lock = json.loads(path.read_text(encoding="utf-8"))
    return {(one["name"], one["version"]) for one in (*lock["packages"], *lock["packages-dev"])}


def mix_lock(path: Path) -> Packages:
    return set(
        re.findall(r'^  "[^"]+": \{:hex, :(\w+), "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    )


def package_lock(path: Path) -> Packages:
    lock = json.loads(path.read_text(encoding="utf-8"))
    if "packages" in lock:
        return {
            (one.get("name") or place.rpartition("node_modules/")[2], one["version"])
            for place, one in lock["packages"].items()
            if place and "version" in one and not one.get("link")
        }
    return set(nested(lock))


def nested(lock: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, one in lock.get("dependencies", {}).items():
        yield name, one["version"]
        yield from nested(one)


class Case(NamedTuple):
    """A target; `counts` are its packages and findings."""

    path: str
    ecosystem: str
    read: Callable[[Path], Packages]
    counts: tuple[int, int]


CASES = {
    "rubygems.org": Case("rubygems.org-2021/Gemfile.lock", "RubyGems", gemfile_lock, (175, 147)),
    "bookstack": Case("bookstack-2021/composer.lock", "Packagist", composer_lock, (143, 42)),
    "bookstack-npm": Case("bookstack-2021/package-lock.json", "npm", package_lock, (124, 0)),
    "hexpm": Case("hexpm-2021/mix.lock", "Hex", mix_lock, (55, 21)),
    "pdf.js": Case("pdf.js-2021/package-lock.json", "npm", package_lock, (1495, 0)),
    "security-wg": Case("security-wg-2026/package-lock.json", "npm", package_lock, (54, 0)),
    "warehouse-npm": Case("warehouse-2021/package-lock.json", "npm", package_lock, (1364, 0)),
}


# ---- the database


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    for folder in FOLDERS:
        path = require_shared(f"data/advisories/{folder}")
        stella("concelier", "import", str(path), "--source", folder.partition("-")[0])
    run = stella.submit("trivy:db")
    (place / "run.json").write_text(json.dumps(run), encoding="utf-8")
    bundle = stella.bundle(run) / "trivy" / "db.bundle"
    stella("trivy", "import", str(bundle), "--cache-dir", str(place / "cache"))


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for folder in FOLDERS:
        require_shared(f"data/advisories/{folder}/data.tar.xz")
    return once(tmp_path_factory, "scanned-language-feeds", prepare)


@pytest.mark.parametrize("name", CASES)
def test_trivy_finds_in_a_real_lock_file_exactly_what_the_documents_say(
    name: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    case = CASES[name]
    path = require_shared(f"{TARGETS}/{case.path}")
    shutil.copyfile(path, tmp_path / path.name)
    report = scan(no_network, trivy, made / "cache", tmp_path, "--list-all-pkgs", "--include-dev-deps")
    installed = case.read(path)
    assert installed == packages(report)
    assert findings(report) == expected(case.ecosystem, installed)
    assert (len(installed), len(findings(report))) == case.counts


@pytest.mark.parametrize("ecosystem", all_quick_but(ECOSYSTEMS, ("Packagist",)))
def test_trivy_reads_every_constraint_as_the_ecosystem_does(
    ecosystem: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    """An SBOM with every release that any document names as a bound, and its neighbours."""
    known = by_package(ecosystem)
    installed = {(name, version) for name, told in known.items() for one in told for version in one.named}
    components = [component(ECOSYSTEMS[ecosystem].purl, *one, name=one[0]) for one in sorted(installed)]
    target = tmp_path / "all.cdx.json"
    target.write_text(json.dumps(sbom(components)), encoding="utf-8")
    found = findings(scan(no_network, trivy, made / "cache", target))
    must = expected(ecosystem, installed)
    assert sorted(found - must)[:20] == []
    assert sorted(must - found)[:20] == []
    assert {told.package.lower() for each in known.values() for told in each} >= {
        one.package for one in found
    }
    assert len(found) > 100


def test_every_constraint_of_the_documents_is_written(made: Path) -> None:
    run = json.loads((made / "run.json").read_text(encoding="utf-8"))
    assert run["warnings"] == []


def test_each_number_of_a_target_stands_in_the_document_that_explains_it() -> None:
    text = (ROOT / "docs" / "use" / "scan-agreement.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    for case in CASES.values():
        told = [row for row in rows if row[0] == f"`{case.path}`"]
        assert [tuple(map(int, row[2:4])) for row in told] == [case.counts]
