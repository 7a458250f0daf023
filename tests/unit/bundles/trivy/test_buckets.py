"""Which bucket an ecosystem leads to, and who may write it."""

from __future__ import annotations

import pytest

from stellaops.advisories import databases
from stellaops.bundles.trivy.buckets import bucket_for, bucket_named, package_key

EVERYTHING = databases.Database(
    "everything", "Everything", "", os_families=tuple({f for d in databases.DATABASES for f in d.os_families})
)


def name_of(ecosystem: str, database: databases.Database = EVERYTHING) -> str | None:
    bucket = bucket_for(ecosystem, database)
    return None if bucket is None else bucket.name


@pytest.mark.parametrize(
    ("ecosystem", "name"),
    [
        ("Debian:12", "debian 12"), ("Debian:12.4", "debian 12"), ("Debian", None), ("Debian:sid", None),
        ("Ubuntu:22.04", "ubuntu 22.04"), ("Ubuntu:22.04:LTS", "ubuntu 22.04"), ("Ubuntu:24.10", "ubuntu 24.10"),
        ("Ubuntu:Pro:18.04:LTS", "ubuntu 18.04-ESM"), ("Ubuntu:Pro:FIPS:18.04:LTS", None), ("Ubuntu", None),
        ("Alpine:v3.20", "alpine 3.20"), ("Alpine:3.20", "alpine 3.20"), ("Alpine:edge", "alpine edge"),
        ("Alpine", None), ("AlmaLinux:8", "alma 8"), ("AlmaLinux:8.4", "alma 8"), ("AlmaLinux", None),
        ("Rocky Linux:9", "rocky 9"), ("Photon OS:5.0", "Photon OS 5.0"), ("Photon OS:4", "Photon OS 4.0"),
        ("Azure Linux:3", "Azure Linux 3.0"), ("Azure Linux:3.0", "Azure Linux 3.0"),
        ("Azure Linux:2", "CBL-Mariner 2.0"), ("Azure Linux:1.0", "CBL-Mariner 1.0"), ("Azure Linux", None),
        ("SUSE:Linux Enterprise Server 15 SP5", "SUSE Linux Enterprise 15.5"),
        ("SUSE:Linux Enterprise Server 12", "SUSE Linux Enterprise 12"),
        ("SUSE:Linux Enterprise Server 15 SP1-LTSS", "SUSE Linux Enterprise 15.1"),
        ("SUSE:Linux Enterprise Micro 5.3", "SUSE Linux Enterprise Micro 5.3"), ("SUSE:Manager Proxy", None),
        ("openSUSE:Leap 15.5", "openSUSE Leap 15.5"), ("openSUSE:Leap Micro 5.4", "openSUSE Leap Micro 5.4"),
        ("openSUSE:Tumbleweed", "openSUSE Tumbleweed"), ("openSUSE", None),
        ("Wolfi", "wolfi"), ("Chainguard", "chainguard"), ("MinimOS", "minimos"), ("Echo", "echo"),
        ("PyPI", "pip::Everything"), ("Packagist:https://packages.drupal.org/8", "composer::Everything"),
        ("CRAN", None), ("Hackage", None), ("OSS-Fuzz", None), ("DHI", None), ("Linux", None), ("", None),
        ("GitHub Actions", None), ("Red Hat:enterprise_linux:9", None),
    ],
)  # fmt: skip
def test_an_ecosystem_leads_to_its_bucket_or_to_none(ecosystem: str, name: str | None) -> None:
    assert name_of(ecosystem) == name


@pytest.mark.parametrize("database", databases.DATABASES, ids=lambda database: database.name)
def test_a_distribution_is_written_only_by_those_who_are_trusted_for_it(database: databases.Database) -> None:
    for ecosystem, family in (
        ("Debian:12", "debian"), ("Ubuntu:22.04", "ubuntu"), ("Alpine:v3.20", "alpine"), ("AlmaLinux:9", "alma"),
        ("Rocky Linux:9", "rocky"), ("Photon OS:5.0", "photon"), ("Azure Linux:3", "azure"), ("Wolfi", "wolfi"),
        ("SUSE:Linux Enterprise Server 15 SP5", "suse"), ("openSUSE:Leap 15.5", "opensuse"), ("Echo", "echo"),
        ("Chainguard", "chainguard"), ("MinimOS", "minimos"),
    ):  # fmt: skip
        assert (name_of(ecosystem, database) is not None) is (family in database.os_families)


@pytest.mark.parametrize("name", ["cleanstart", "dhi", "osv", "ghsa", "bitnami", "ossfuzz"])
def test_these_are_trusted_for_no_distribution(name: str) -> None:
    database = databases.get(name)
    assert database is not None
    assert database.os_families == ()


@pytest.mark.parametrize(
    "ecosystem", ["Debian:12", "Ubuntu:Pro:18.04", "Alpine:edge", "AlmaLinux:8", "Rocky Linux:8", "Photon OS:3.0",
                  "Azure Linux:2", "Azure Linux:3", "SUSE:Linux Enterprise Micro 5.3", "openSUSE:Tumbleweed", "Wolfi",
                  "SUSE:Linux Enterprise Server 15 SP5", "Chainguard", "MinimOS", "Echo", "PyPI", "npm", "kubernetes"],
)  # fmt: skip
def test_a_bucket_is_known_again_by_its_name(ecosystem: str) -> None:
    bucket = bucket_for(ecosystem, EVERYTHING)
    assert bucket is not None
    assert bucket_named(bucket.name) == bucket


@pytest.mark.parametrize(
    ("ecosystem", "name", "key"),
    [
        ("PyPI", "Zope.Interface_X", "zope.interface-x"), ("npm", "@Scope/Name", "@scope/name"),
        ("Go", "github.com/Azure/x", "github.com/Azure/x"), ("Maven", "Org.A:B", "org.a:b"),
        ("NuGet", "Newtonsoft.Json", "newtonsoft.json"), ("Julia", "HTTP", "HTTP"),
        ("SwiftURL", "https://github.com/Vapor/Vapor.git", "github.com/Vapor/Vapor"),
        ("Debian:12", "libX11", "libX11"), ("Packagist", "Vendor/Name", "vendor/name"),
    ],
)  # fmt: skip
def test_a_package_stands_under_the_name_that_the_scanner_looks_up(
    ecosystem: str, name: str, key: str
) -> None:
    bucket = bucket_for(ecosystem, EVERYTHING)
    assert bucket is not None
    assert package_key(bucket, name) == key
