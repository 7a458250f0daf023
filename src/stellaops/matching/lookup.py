"""Where the advisories about a component stand: the bucket, the name of the package there, and the version to compare.

Buckets are named as in Trivy's database, whose rows are matched. Packages of a distribution are looked up by the name
of their source package where the distribution's advisories name those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType

from msgspec import Struct

from stellaops.sboms.component import Component, Platform, as_platform
from stellaops.sboms.purl import Purl, parse


class Lookup(Struct, frozen=True, order=True):
    """One place to look.

    Attributes:
        bucket: the name of a bucket, or how the names begin where it ends in `::`.
        package: the key of the package in it.
        scheme: whose rules order the versions: an ecosystem, or a distribution's family.
        language: whether the advisories hold ranges (else the version in which the distribution fixed it).
        version: the installed version that advisories are compared with.
    """

    bucket: str
    package: str
    scheme: str
    language: bool
    version: str


_ECOSYSTEMS = MappingProxyType(
    {
        "bitnami": "bitnami",
        "cargo": "cargo",
        "cocoapods": "cocoapods",
        "composer": "composer",
        "conan": "conan",
        "gem": "rubygems",
        "golang": "go",
        "hex": "erlang",
        "julia": "julia",
        "k8s": "k8s",
        "maven": "maven",
        "npm": "npm",
        "nuget": "nuget",
        "pub": "pub",
        "pypi": "pip",
        "swift": "swift",
    }
)
_CASE_KEPT = frozenset(("go", "cocoapods", "julia", "swift"))
_SYSTEM_KINDS = frozenset(("alpine", "apk", "deb", "rpm"))


def lookups(component: Component, platform: Platform | None) -> tuple[Lookup, ...]:
    """Where to look for advisories; nowhere for what has no package URL, no version, or a type that has no database.

    Args:
        platform: of the document; the package URL's own `distro` counts where the document states none.
    """
    purl = parse(component.purl)
    if purl is None or not component.version:
        return ()
    if purl.kind in _SYSTEM_KINDS:
        return _system(component, purl, platform or as_platform(component.purl))
    ecosystem = _ECOSYSTEMS.get(purl.kind)
    if ecosystem is None:
        return ()
    names = {_library(ecosystem, purl)}
    if ecosystem == "go" and component.name.lower() == purl.full_name.lower():
        # Package URLs of Go modules are in lower case; the module's own spelling stands beside them.
        names.add(component.name)
    places = (Lookup(f"{ecosystem}::", name, ecosystem, True, component.version) for name in names)
    return tuple(sorted(places))


def _library(ecosystem: str, purl: Purl) -> str:
    if ecosystem == "maven":
        name = f"{purl.namespace}:{purl.name}"
    elif ecosystem == "cocoapods":
        name = f"{purl.full_name}/{purl.subpath}" if purl.subpath else purl.full_name
    else:
        name = purl.full_name
    if ecosystem in _CASE_KEPT:
        return name
    return name.lower().replace("_", "-") if ecosystem == "pip" else name.lower()


class _Family(Struct, frozen=True):
    """How a distribution names its buckets.

    Attributes:
        kind: the type of its packages' URLs.
        bucket: the name of the bucket with the release in it.
        release: cuts the release as the bucket has it out of what is stated; None where it has none.
        by_source: whether advisories name source packages.
    """

    scheme: str
    kind: str
    bucket: str
    release: Callable[[str], str | None]
    by_source: bool = True


def _cut(pattern: str) -> Callable[[str], str | None]:
    expression = re.compile(pattern)

    def cut(release: str) -> str | None:
        found = expression.match(release.strip())
        return found[1] if found else None

    return cut


_MAJOR = _cut(r"v?(\d+)")
_MINOR = _cut(r"v?(\d+\.\d+|edge)")
_WHOLE = _cut(r"(.+)")


def _none(_release: str) -> str | None:
    return ""


_FAMILIES: dict[str, _Family] = {
    "alma": _Family("alma", "rpm", "alma {}", _MAJOR, by_source=False),
    "alpine": _Family("alpine", "apk", "alpine {}", _MINOR),
    "amazon": _Family("amazon", "rpm", "amazon linux {}", _MAJOR, by_source=False),
    "azurelinux": _Family("azurelinux", "rpm", "Azure Linux {}", _MINOR),
    "bottlerocket": _Family("bottlerocket", "rpm", "bottlerocket", _none, by_source=False),
    "cbl-mariner": _Family("cbl-mariner", "rpm", "CBL-Mariner {}", _MINOR),
    "chainguard": _Family("chainguard", "apk", "chainguard", _none),
    "debian": _Family("debian", "deb", "debian {}", _MAJOR),
    "echo": _Family("echo", "deb", "echo", _none),
    "minimos": _Family("minimos", "apk", "minimos", _none),
    "opensuse-leap": _Family("opensuse", "rpm", "openSUSE Leap {}", _WHOLE, by_source=False),
    "opensuse-tumbleweed": _Family("opensuse", "rpm", "openSUSE Tumbleweed", _none, by_source=False),
    "oracle": _Family("oracle", "rpm", "Oracle Linux {}", _MAJOR, by_source=False),
    "photon": _Family("photon", "rpm", "Photon OS {}", _WHOLE),
    "rocky": _Family("rocky", "rpm", "rocky {}", _MAJOR, by_source=False),
    "sles": _Family("sles", "rpm", "SUSE Linux Enterprise {}", _WHOLE, by_source=False),
    "slem": _Family("sles", "rpm", "SUSE Linux Enterprise Micro {}", _WHOLE, by_source=False),
    "ubuntu": _Family("ubuntu", "deb", "ubuntu {}", _cut(r"(\d\d\.\d\d)")),
    "wolfi": _Family("wolfi", "apk", "wolfi", _none),
}
_SAME_FAMILY = {
    "almalinux": "alma",
    "amzn": "amazon",
    "azure": "azurelinux",
    "mariner": "cbl-mariner",
    "ol": "oracle",
    "opensuse.leap": "opensuse-leap",
    "opensuse.tumbleweed": "opensuse-tumbleweed",
    "rocky-linux": "rocky",
    "sl-micro": "slem",
    "suse linux enterprise micro": "slem",
    "suse linux enterprise server": "sles",
}


def _system(component: Component, purl: Purl, platform: Platform | None) -> tuple[Lookup, ...]:
    family = _family(platform)
    if family is None or platform is None or family.kind != ("apk" if purl.kind == "alpine" else purl.kind):
        return ()
    release = family.release(platform.release)
    if release is None:
        return ()
    bucket = family.bucket.format(release)
    own = _with_epoch(component.version, purl.qualifier("epoch"))
    if not family.by_source:
        return (Lookup(bucket, _modular(purl), family.scheme, False, own),)
    version = component.source_version or own
    names = {component.source_name or purl.name}
    if family.kind == "apk":
        # The secdb names source packages, and now and then a package that is built from one.
        names.add(purl.name)
    return tuple(sorted(Lookup(bucket, name, family.scheme, False, version) for name in names))


def _family(platform: Platform | None) -> _Family | None:
    if platform is None:
        return None
    name = platform.family.lower()
    return _FAMILIES.get(_SAME_FAMILY.get(name, name))


def _with_epoch(version: str, epoch: str) -> str:
    return f"{epoch}:{version}" if epoch not in ("", "0") and ":" not in version else version


def _modular(purl: Purl) -> str:
    """The key of a package of a module stream, `nodejs:16::npm`."""
    parts = purl.qualifier("modularitylabel").split(":")
    return f"{parts[0]}:{parts[1]}::{purl.name}" if len(parts) > 1 and parts[0] else purl.name
