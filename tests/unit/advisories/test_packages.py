"""Package URLs of OSV packages."""

from __future__ import annotations

import pytest

from stellaops.advisories.advisory import Advisory, Affected, Package
from stellaops.advisories.packages import purl, purls


@pytest.mark.parametrize(
    ("ecosystem", "name", "expected"),
    [
        ("PyPI", "Foo_Bar", "pkg:pypi/foo-bar"),
        ("npm", "@angular/core", "pkg:npm/%40angular/core"),
        ("Go", "github.com/x/y/v2", "pkg:golang/github.com/x/y/v2"),
        ("Maven", "org.a:b", "pkg:maven/org.a/b"),
        ("crates.io", "serde", "pkg:cargo/serde"),
        ("Packagist", "a/b", "pkg:composer/a/b"),
        ("Packagist:https://packages.example.org/8", "drupal/x", "pkg:composer/drupal/x"),
        ("AlmaLinux:8", "curl", "pkg:rpm/almalinux/curl"),
        ("Debian:12", "openssl", "pkg:deb/debian/openssl"),
        ("Alpine:v3.19", "busybox", "pkg:apk/alpine/busybox"),
        ("Hackage", "x y", "pkg:hackage/x%20y"),
        ("A New One", "thing", "pkg:generic/thing"),
        (None, "thing", None),
        ("PyPI", None, None),
        ("PyPI", "", None),
    ],
)
def test_a_package_has_a_purl_without_version(
    ecosystem: str | None, name: str | None, expected: str | None
) -> None:
    assert purl(Package(ecosystem, name)) == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("pkg:npm/%40angular/core@1.0.0?x=y#sub", "pkg:npm/%40angular/core"),
        ("pkg:npm/@angular/core", "pkg:npm/@angular/core"),
        ("pkg:npm/@angular/core@2", "pkg:npm/@angular/core"),
        ("pkg:dhi/redis?os=debian", "pkg:dhi/redis"),
        ("pkg:golang/a/b@v1.2.3", "pkg:golang/a/b"),
    ],
)
def test_a_stated_purl_loses_version_qualifiers_and_subpath(stated: str, expected: str) -> None:
    assert purl(Package("npm", "other", stated)) == expected


def test_what_is_no_purl_is_made_from_the_name() -> None:
    assert purl(Package("PyPI", "x", "not a purl")) == "pkg:pypi/x"


def test_the_packages_of_an_advisory_are_sorted_and_named_once() -> None:
    affected = [
        Affected(Package("npm", "b")),
        Affected(Package("npm", "a")),
        Affected(Package("npm", "b")),
        Affected(),
    ]
    assert purls(Advisory("X", affected=affected)) == ["pkg:npm/a", "pkg:npm/b"]
    assert purls(Advisory("X")) == []
