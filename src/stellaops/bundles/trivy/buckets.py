"""Which bucket of a Trivy database an ecosystem name of an OSV document leads to.

Language ecosystems become `<ecosystem>::<data source>`, distributions one bucket a release. A distribution's bucket
is written only from databases that are trusted for it: some documents call themselves by another distribution's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.advisories.databases import Database

# OSV ecosystem -> Trivy's ecosystem, and GitHub's word for it in data source names.
_LANGUAGES: dict[str, tuple[str, str]] = {
    "Bitnami": ("bitnami", "Bitnami"),
    "ConanCenter": ("conan", "Conan"),
    "Go": ("go", "Go"),
    "Hex": ("erlang", "Erlang"),
    "Julia": ("julia", "Julia"),
    "Maven": ("maven", "Maven"),
    "NuGet": ("nuget", "NuGet"),
    "Packagist": ("composer", "Composer"),
    "Pub": ("pub", "Pub"),
    "PyPI": ("pip", "pip"),
    "RubyGems": ("rubygems", "RubyGems"),
    "SwiftURL": ("swift", "Swift"),
    "crates.io": ("cargo", "Rust"),
    "kubernetes": ("k8s", "Kubernetes"),
    "npm": ("npm", "npm"),
}
_NO_RELEASE = {"Chainguard": "chainguard", "Echo": "echo", "MinimOS": "minimos", "Wolfi": "wolfi"}
_CASE_KEPT = frozenset(("go", "cocoapods", "julia", "swift"))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A root bucket.

    Attributes:
        name: the key in the database's root.
        scheme: whose version rules order it: a Trivy ecosystem, or a distribution family.
        language: whether it holds version ranges (else fixed versions of a distribution's packages).
    """

    name: str
    scheme: str
    language: bool


def bucket_for(ecosystem: str, database: Database) -> Bucket | None:
    """The root bucket for an OSV ecosystem name, or None where Trivy has none or the database is not trusted."""
    base, _, release = ecosystem.partition(":")
    if base in _LANGUAGES:
        trivy, word = _LANGUAGES[base]
        source = (database.trivy_name or database.title).replace("{Ecosystem}", word)
        return Bucket(f"{trivy}::{source}", trivy, True)
    family = _distribution(base, release)
    if family is None or family.scheme not in database.os_families:
        return None
    return Bucket(family.name, _SCHEMES.get(family.scheme, family.scheme), False)


_SCHEMES = {"suse": "sles", "azure": "azurelinux"}


_FAMILIES = (
    ("debian ", "debian"), ("ubuntu ", "ubuntu"), ("alpine ", "alpine"), ("alma ", "alma"), ("rocky ", "rocky"),
    ("Photon OS ", "photon"), ("CBL-Mariner ", "azurelinux"), ("Azure Linux ", "azurelinux"),
    ("SUSE Linux Enterprise ", "sles"), ("openSUSE ", "opensuse"),
)  # fmt: skip


def bucket_named(name: str) -> Bucket:
    """The bucket of a name that `bucket_for` gave."""
    ecosystem, colons, _ = name.partition("::")
    if colons:
        return Bucket(name, ecosystem, True)
    scheme = next((family for prefix, family in _FAMILIES if name.startswith(prefix)), name)
    return Bucket(name, scheme, False)


def package_key(bucket: Bucket, name: str) -> str:
    """A package's key inside its bucket, normalised the way the scanner looks it up."""
    if not bucket.language or bucket.scheme in _CASE_KEPT:
        return name.removeprefix("https://").removesuffix(".git") if bucket.scheme == "swift" else name
    lowered = name.lower()
    return lowered.replace("_", "-") if bucket.scheme == "pip" else lowered


def _distribution(base: str, release: str) -> Bucket | None:  # noqa: C901, PLR0911, PLR0912 - one case a distribution
    match base:
        case "Debian":
            return _release("debian", "debian {}", r"(\d+)(?:\.\d+)*$", release)
        case "Ubuntu":
            pro = release.startswith("Pro:")
            found = re.match(r"(?:Pro:)?(\d\d\.\d\d)(?::LTS)?$", release)
            return Bucket(f"ubuntu {found[1]}{'-ESM' if pro else ''}", "ubuntu", False) if found else None
        case "Alpine":
            return _release("alpine", "alpine {}", r"v?(\d+\.\d+|edge)$", release)
        case "AlmaLinux":
            return _release("alma", "alma {}", r"(\d+)(?:\.\d+)*$", release)
        case "Rocky Linux":
            return _release("rocky", "rocky {}", r"(\d+)(?:\.\d+)*$", release)
        case "Photon OS":
            return _release(
                "photon", "Photon OS {}", r"(\d+\.\d+)$", release if "." in release else f"{release}.0"
            )
        case "Azure Linux":
            if release.partition(".")[0] in ("1", "2"):
                return _release("azure", "CBL-Mariner {}.0", r"(\d+)(?:\.0)?$", release)
            return _release("azure", "Azure Linux {}.0", r"(\d+)(?:\.0)?$", release)
        case "SUSE":
            return _suse(release)
        case "openSUSE":
            if release == "Tumbleweed":
                return Bucket("openSUSE Tumbleweed", "opensuse", False)
            return _release("opensuse", "openSUSE {}", r"(Leap(?: Micro)? \d+\.\d+)$", release)
        case _ if base in _NO_RELEASE:
            return Bucket(_NO_RELEASE[base], _NO_RELEASE[base], False)
        case _:
            return None


def _release(family: str, form: str, pattern: str, release: str) -> Bucket | None:
    found = re.match(pattern, release)
    return Bucket(form.format(found[1]), family, False) if found else None


def _suse(release: str) -> Bucket | None:
    micro = re.search(r"Micro (\d+\.\d+)$", release)
    if micro:
        return Bucket(f"SUSE Linux Enterprise Micro {micro[1]}", "suse", False)
    found = re.search(r" (\d+)(?: SP(\d+))?(?:-[A-Z]+)?$", release)
    if found is None:
        return None
    service_pack = f".{found[2]}" if found[2] else ""
    return Bucket(f"SUSE Linux Enterprise {found[1]}{service_pack}", "suse", False)
