"""Which scheme orders the versions of which ecosystem, package kind and distribution."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from stellaops.core.errors import InvalidInput
from stellaops.matching.versions import (
    apk,
    bitnami,
    composer,
    dpkg,
    maven,
    npm,
    nuget,
    pep440,
    pub,
    rpm,
    rubygems,
    semver,
)
from stellaops.matching.versions.interface import VersionScheme

_SEMVER_LIKE = ("cargo", "composer", "conan", "erlang", "go", "julia", "k8s", "nuget", "pub", "swift")

ECOSYSTEMS: Mapping[str, VersionScheme[Any]] = MappingProxyType(
    {
        **dict.fromkeys(_SEMVER_LIKE, semver.SCHEME),
        "bitnami": bitnami.SCHEME,
        "cocoapods": rubygems.SCHEME,
        "maven": maven.SCHEME,
        "npm": npm.SCHEME,
        "pip": pep440.SCHEME,
        "rubygems": rubygems.SCHEME,
    }
)
"""By the ecosystem's name in Trivy's database (`pip`, not `PyPI`): the order that Trivy's comparers have."""

OWN_RULES: Mapping[str, VersionScheme[Any]] = MappingProxyType(
    {**ECOSYSTEMS, "composer": composer.SCHEME, "nuget": nuget.SCHEME, "pub": pub.SCHEME}
)
"""The same by the ecosystem's own rules, where Trivy's comparer is a general one."""

PACKAGE_KINDS: Mapping[str, VersionScheme[Any]] = MappingProxyType(
    {"apk": apk.SCHEME, "deb": dpkg.SCHEME, "rpm": rpm.SCHEME}
)
"""By the type of an operating system package in its purl."""

_DISTRIBUTIONS = {
    "apk": ("alpine", "chainguard", "minimos", "wolfi"),
    "deb": ("debian", "echo", "ubuntu"),
    "rpm": (
        "alma", "amazon", "azurelinux", "bottlerocket", "cbl-mariner", "centos", "opensuse", "oracle", "photon",
        "redhat", "rocky", "sles",
    ),
}  # fmt: skip

DISTRIBUTIONS: Mapping[str, VersionScheme[Any]] = MappingProxyType(
    {name: PACKAGE_KINDS[kind] for kind, names in _DISTRIBUTIONS.items() for name in names}
)
"""By the family of a distribution."""


class UnknownEcosystem(InvalidInput):
    """A name that no ecosystem, package kind or distribution has."""

    code = "ERR_MATCHING_UNKNOWN_ECOSYSTEM"
    hint = "Use one of the names that the message lists."


def scheme_of(name: str) -> VersionScheme[Any]:
    """The scheme of an ecosystem, package kind or distribution.

    Raises:
        UnknownEcosystem: there is none of that name.
    """
    for names in (ECOSYSTEMS, PACKAGE_KINDS, DISTRIBUTIONS):
        if name in names:
            return names[name]
    known = ", ".join(sorted({*ECOSYSTEMS, *PACKAGE_KINDS, *DISTRIBUTIONS}))
    raise UnknownEcosystem(f"{name!r} is none of {known}")
