"""Package names of OSV ecosystems as package URLs without a version: the identity that selectors and indexes use."""

from __future__ import annotations

from urllib.parse import quote

from stellaops.advisories.advisory import Advisory, Package, affected_packages

# OSV ecosystem (before `:`) -> purl type, and the namespace where the ecosystem implies one.
_TYPES: dict[str, tuple[str, str]] = {
    "AlmaLinux": ("rpm", "almalinux"),
    "Alpaquita": ("apk", "alpaquita"),
    "Alpine": ("apk", "alpine"),
    "Azure Linux": ("rpm", "azurelinux"),
    "Bitnami": ("bitnami", ""),
    "CRAN": ("cran", ""),
    "Chainguard": ("apk", "chainguard"),
    "ConanCenter": ("conan", ""),
    "Debian": ("deb", "debian"),
    "Echo": ("deb", "echo"),
    "Go": ("golang", ""),
    "Hackage": ("hackage", ""),
    "Hex": ("hex", ""),
    "Julia": ("julia", ""),
    "Mageia": ("rpm", "mageia"),
    "Maven": ("maven", ""),
    "MinimOS": ("apk", "minimos"),
    "NuGet": ("nuget", ""),
    "OSS-Fuzz": ("generic", ""),
    "Packagist": ("composer", ""),
    "Photon OS": ("rpm", "photon"),
    "Pub": ("pub", ""),
    "PyPI": ("pypi", ""),
    "Red Hat": ("rpm", "redhat"),
    "Rocky Linux": ("rpm", "rocky-linux"),
    "RubyGems": ("gem", ""),
    "SUSE": ("rpm", "suse"),
    "SwiftURL": ("swift", ""),
    "Ubuntu": ("deb", "ubuntu"),
    "Wolfi": ("apk", "wolfi"),
    "crates.io": ("cargo", ""),
    "npm": ("npm", ""),
    "openEuler": ("rpm", "openeuler"),
    "openSUSE": ("rpm", "opensuse"),
}


def purl(package: Package) -> str | None:
    """The package URL of a package, without version, qualifiers and subpath; None where the document names none."""
    if package.purl and package.purl.startswith("pkg:"):
        return without_version(package.purl)
    if not package.name or not package.ecosystem:
        return None
    kind, namespace = _TYPES.get(package.ecosystem.partition(":")[0], ("generic", ""))
    name = package.name
    if kind == "pypi":
        name = name.lower().replace("_", "-")
    elif kind == "maven":
        name = name.replace(":", "/", 1)
    path = f"{namespace}/{name}" if namespace else name
    return f"pkg:{kind}/{quote(path, safe='/:~._-')}"


def purls(advisory: Advisory) -> list[str]:
    """The packages that an advisory names, sorted, each once."""
    found = {purl(affected.package) for affected in affected_packages(advisory) if affected.package}
    return sorted(text for text in found if text)


def without_version(text: str) -> str:
    """A package URL without its version, qualifiers and subpath."""
    text = text.partition("#")[0].partition("?")[0]
    head, at, version = text.rpartition("@")
    # A scope such as `@angular` stands before a slash; a version never holds one.
    return head if at and "/" not in version and not head.endswith("/") else text
