"""Where advisories about a component are looked up, and which of them apply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.matching.lookup import Lookup, lookups
from stellaops.matching.match import Row, match
from stellaops.sboms.component import Component, Platform, component

DEBIAN = Platform("debian", "12.4")


def places(
    purl: str, platform: Platform | None = None, name: str = "", **more: str
) -> set[tuple[str, str, str]]:
    found = component(purl, name, "", **more)
    assert found is not None
    return {(place.bucket, place.package, place.version) for place in lookups(found, platform)}


@pytest.mark.parametrize(
    ("purl", "expected"),
    [
        ("pkg:pypi/Flask_Login@0.6", ("pip::", "flask-login", "0.6")),
        ("pkg:npm/%40Babel/traverse@7.0.0", ("npm::", "@babel/traverse", "7.0.0")),
        ("pkg:maven/org.apache/log4j@2.0", ("maven::", "org.apache:log4j", "2.0")),
        ("pkg:golang/github.com/Azure/x@v1.0.0", ("go::", "github.com/Azure/x", "v1.0.0")),
        ("pkg:gem/rails@6.0", ("rubygems::", "rails", "6.0")),
        ("pkg:cargo/smallvec@1.0", ("cargo::", "smallvec", "1.0")),
        ("pkg:composer/Laravel/framework@8.0", ("composer::", "laravel/framework", "8.0")),
        ("pkg:nuget/Newtonsoft.Json@12", ("nuget::", "newtonsoft.json", "12")),
        ("pkg:hex/plug@1.0", ("erlang::", "plug", "1.0")),
        ("pkg:swift/github.com/apple/swift-nio@2.0", ("swift::", "github.com/apple/swift-nio", "2.0")),
        ("pkg:pub/http@0.13", ("pub::", "http", "0.13")),
        ("pkg:conan/openssl@1.1", ("conan::", "openssl", "1.1")),
        ("pkg:bitnami/nginx@1.2.3-4", ("bitnami::", "nginx", "1.2.3-4")),
    ],
)
def test_libraries_are_looked_up_as_scanners_do(purl: str, expected: tuple[str, str, str]) -> None:
    assert places(purl) == {expected}


@pytest.mark.parametrize(
    ("purl", "platform", "expected"),
    [
        ("pkg:deb/debian/libssl3@3.0.11-1?upstream=openssl", DEBIAN, {("debian 12", "openssl", "3.0.11-1")}),
        ("pkg:deb/debian/libc6@2.36-9?upstream=glibc%402.36-9%2Bb1", DEBIAN, {("debian 12", "glibc", "2.36-9+b1")}),
        ("pkg:deb/debian/curl@7.88?distro=debian-11", None, {("debian 11", "curl", "7.88")}),
        ("pkg:deb/ubuntu/curl@7.81", Platform("ubuntu", "22.04"), {("ubuntu 22.04", "curl", "7.81")}),
        (
            "pkg:apk/alpine/libcrypto3@3.1.0-r0?upstream=openssl", Platform("alpine", "3.18.4"),
            {("alpine 3.18", "openssl", "3.1.0-r0"), ("alpine 3.18", "libcrypto3", "3.1.0-r0")},
        ),
        (
            "pkg:rpm/almalinux/npm@8.19-1.el8?epoch=1&modularitylabel=nodejs:16:8060:abc",
            Platform("almalinux", "8.6"), {("alma 8", "nodejs:16::npm", "1:8.19-1.el8")},
        ),
        ("pkg:rpm/suse/zlib@1.2", Platform("sles", "15.3"), {("SUSE Linux Enterprise 15.3", "zlib", "1.2")}),
        ("pkg:rpm/photon/curl@8.0", Platform("photon", "3.0"), {("Photon OS 3.0", "curl", "8.0")}),
        ("pkg:deb/debian/curl@7.88", None, set()),
        ("pkg:rpm/fedora/curl@7.88", Platform("fedora", "39"), set()),
        ("pkg:rpm/x/curl@7.88", DEBIAN, set()),
        ("pkg:generic/curl@7.88", DEBIAN, set()),
        ("pkg:pypi/flask", None, set()),
    ],
)  # fmt: skip
def test_distribution_packages_are_looked_up_by_the_distribution_s_rules(
    purl: str, platform: Platform | None, expected: set[tuple[str, str, str]]
) -> None:
    assert places(purl, platform) == expected


def test_a_go_module_is_looked_up_in_its_own_spelling_too() -> None:
    found = places("pkg:golang/github.com/masterminds/vcs@v1.0", name="github.com/Masterminds/vcs")
    assert {package for _, package, _ in found} == {
        "github.com/masterminds/vcs",
        "github.com/Masterminds/vcs",
    }


def row(vulnerability: str, key: str, bucket: str = "pip::A", strength: int = 1, **value: Any) -> Row:
    return Row(bucket, "p", vulnerability, strength, json.dumps(value).encode(), "s", key, "sha256:0")


def found(
    version: str, *rows: Row, bucket: str = "pip::", scheme: str = "pip", language: bool = True
) -> list[str]:
    place = Lookup(bucket, "p", scheme, language, version)
    return [one.vulnerability for one in match([place], {(bucket, "p"): rows})]


def test_a_version_is_vulnerable_inside_a_range_and_outside_all_that_is_secure() -> None:
    one = row("CVE-1", "a", VulnerableVersions=["<2.0"], PatchedVersions=["1.5"])
    assert found("1.4", one) == ["CVE-1"]
    assert found("1.5", one) == []
    assert found("2.0", one) == []


def test_without_vulnerable_ranges_all_is_vulnerable_but_what_is_secure() -> None:
    one = row("CVE-1", "a", PatchedVersions=[">=1.5"], UnaffectedVersions=["<1.0"])
    assert [version for version in ("0.9", "1.0", "1.4", "1.5") if found(version, one)] == ["1.0", "1.4"]


def test_a_row_that_cannot_be_read_says_nothing_and_hides_nothing() -> None:
    bad = row("CVE-1", "a", VulnerableVersions=["<2.0", "banana"])
    assert found("1.0", bad) == []
    assert found("1.0", bad, row("CVE-1", "b", VulnerableVersions=["<2.0"])) == ["CVE-1"]
    assert found("not a version", row("CVE-1", "b", VulnerableVersions=["<2.0"])) == []


def test_of_one_bucket_only_the_strongest_statements_count() -> None:
    weak = row("CVE-1", "a", strength=0, VulnerableVersions=["<3.0"])
    strong = row("CVE-1", "b", VulnerableVersions=["<2.0"])
    assert found("2.5", weak) == ["CVE-1"]
    assert found("2.5", weak, strong) == []
    assert found("2.5", weak, strong, row("CVE-1", "c", "pip::B", VulnerableVersions=["<2.6"])) == ["CVE-1"]


@pytest.mark.parametrize(
    ("scheme", "value", "vulnerable", "safe"),
    [
        ("debian", {"FixedVersion": "1.1.1n-0+deb11u4"}, ["1.1.1n-0+deb11u3"], ["1.1.1n-0+deb11u4", "3.0"]),
        ("debian", {"Status": 5}, ["1.0", "9.9"], []),
        ("debian", {"Status": 1}, [], ["1.0"]),
        (
            "alpine",
            {"FixedVersion": "1.2.12-r2", "AffectedVersion": "1.2.0-r0"},
            ["1.2.11-r9"],
            ["1.1.9-r0", "1.2.12-r2"],
        ),
        ("alma", {"FixedVersion": "0:1.0-2.el8"}, ["1.0-1.el8"], ["1.0-2.el8", "1:0.1-1.el8"]),
        ("alma", {}, [], ["1.0-1.el8"]),
    ],
)
def test_distributions_compare_with_the_version_that_fixes(
    scheme: str, value: dict[str, Any], vulnerable: list[str], safe: list[str]
) -> None:
    one = row("CVE-1", "a", "b", **value)
    for version in vulnerable:
        assert found(version, one, bucket="b", scheme=scheme, language=False) == ["CVE-1"], version
    for version in safe:
        assert found(version, one, bucket="b", scheme=scheme, language=False) == [], version


def test_rules_name_the_document_its_range_and_the_fix() -> None:
    rows = {
        ("pip::", "p"): [
            row("CVE-1", "a", VulnerableVersions=[">=1, <2", ">=3, <4"], PatchedVersions=["2", "4"])
        ]
    }
    (one,) = match(lookups(Component("pkg:pypi/p@1.5", "p", "1.5"), None), rows)
    (rule,) = one.rules
    assert (rule.key, rule.range, rule.fixed) == ("a", ">=1, <2", ("2", "4"))
