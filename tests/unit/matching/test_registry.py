"""No ecosystem, package kind or distribution is without a scheme, and no scheme without a user."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from stellaops.bundles.trivy.constraints.comparers import OF_ECOSYSTEM
from stellaops.matching import versions
from stellaops.matching.versions.interface import KeyedScheme
from stellaops.matching.versions.registry import (
    DISTRIBUTIONS,
    ECOSYSTEMS,
    OWN_RULES,
    PACKAGE_KINDS,
    UnknownEcosystem,
    scheme_of,
)

TRIVYS = {
    "npm", "composer", "pip", "rubygems", "cargo", "nuget", "maven", "go", "conan", "erlang", "pub", "swift",
    "cocoapods", "bitnami", "k8s", "julia",
}  # fmt: skip


def test_every_ecosystem_of_trivys_database_has_a_scheme_and_a_comparer() -> None:
    assert set(ECOSYSTEMS) == TRIVYS
    assert set(OF_ECOSYSTEM) == TRIVYS


def test_every_scheme_module_is_used() -> None:
    modules = (
        importlib.import_module(f"{versions.__name__}.{found.name}")
        for found in pkgutil.iter_modules(versions.__path__)
    )
    schemes = {
        module.SCHEME.name for module in modules if isinstance(getattr(module, "SCHEME", None), KeyedScheme)
    }
    used = {scheme.name for names in (OWN_RULES, PACKAGE_KINDS) for scheme in names.values()}
    assert schemes == used
    assert len(schemes) == 12


def test_distributions_use_the_scheme_of_their_package_kind() -> None:
    assert scheme_of("debian") is scheme_of("deb")
    assert scheme_of("wolfi") is scheme_of("apk")
    assert {scheme.name for scheme in DISTRIBUTIONS.values()} == {"dpkg", "rpm", "apk"}


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEcosystem, match="rubygems"):
        scheme_of("PyPI")
