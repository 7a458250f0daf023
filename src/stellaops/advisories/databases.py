"""The advisory databases the product knows, and everything that hangs on which database a source belongs to.

One row says for each database: how a record is keyed, where its CVE ids stand, which operating systems it is trusted
for, how Trivy names it, its place in merges and its licence. Nothing hangs on a source's name. The table is printed
in `docs/reference/databases.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class KeyRule(StrEnum):
    """What makes a record of a database unique."""

    ID = "id"
    ID_AND_PATH = "id and path"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Database:
    """One advisory database.

    Attributes:
        name: the name used in `--database`, in manifests and as merge key.
        title: what Trivy shows as the data source.
        url: the database's home.
        id_prefixes: how its ids begin, for telling it from documents.
        ecosystems: ecosystem names that tell it where ids do not (matched before `:`).
        key_rule: what identifies a record.
        cve_fields: fields in which CVE ids stand, in order; a later field is used only when the earlier name none.
        os_families: operating systems (Trivy's bucket families) that it is trusted for.
        needs_cve: ids that name no vulnerability themselves (bug fix and enhancement errata).
        trivy_id: Trivy's SourceID.
        trivy_name: the part after `<ecosystem>::` in bucket names; `{Ecosystem}` is GitHub's ecosystem word.
        feeds: the forms in which it publishes.
        rank: place in merges of details; the lowest wins. The order is Trivy's own order of sources.
        licence: SPDX expression or NOASSERTION.
    """

    name: str
    title: str
    url: str
    id_prefixes: tuple[str, ...] = ()
    ecosystems: tuple[str, ...] = ()
    key_rule: KeyRule = KeyRule.ID
    cve_fields: tuple[str, ...] = ("aliases",)
    os_families: tuple[str, ...] = ()
    needs_cve: tuple[str, ...] = ()
    trivy_id: str = "osv"
    trivy_name: str = ""
    rank: int = 350
    licence: str = "NOASSERTION"
    feeds: tuple[str, ...] = ("osv",)


_ERRATA = ("aliases", "upstream", "related")

GENERIC = Database(
    name="osv",
    title="Open Source Vulnerabilities",
    url="https://osv.dev",
    cve_fields=("aliases",),
    rank=350,
)

DATABASES: tuple[Database, ...] = (
    Database(
        "ghsa", "GitHub Security Advisory {Ecosystem}", "https://github.com/advisories",
        ("GHSA-",), trivy_id="ghsa", trivy_name="GitHub Security Advisory {Ecosystem}", rank=190, licence="CC-BY-4.0",
    ),
    Database(
        "pypa", "Python Packaging Advisory Database", "https://github.com/pypa/advisory-database",
        ("PYSEC-",), rank=220, licence="CC-BY-4.0",
    ),
    Database(
        "rustsec", "RustSec Advisory Database", "https://rustsec.org",
        ("RUSTSEC-",), rank=221, licence="CC0-1.0",
    ),
    Database(
        "govuln", "The Go Vulnerability Database", "https://pkg.go.dev/vuln/",
        ("GO-",), trivy_id="govulndb", rank=270, licence="CC-BY-4.0",
    ),
    Database(
        "bitnami", "Bitnami Vulnerability Database", "https://github.com/bitnami/vulndb",
        ("BIT-",), trivy_id="bitnami", rank=250, licence="Apache-2.0",
    ),
    Database(
        "julia", "Julia Ecosystem Security Advisories", "https://github.com/JuliaLang/SecurityAdvisories.jl",
        ("JLSEC-",), cve_fields=("aliases", "upstream"), trivy_id="julia", rank=280, licence="CC-BY-4.0",
    ),
    Database(
        "k8s", "Official Kubernetes CVE Feed", "https://kubernetes.io/docs/reference/issues-security/official-cve-feed/",
        (), ("kubernetes",), trivy_id="k8s", rank=230,
    ),
    Database(
        "haskell", "Haskell Security Advisory DB", "https://github.com/haskell/security-advisories",
        ("HSEC-",), rank=223, licence="CC0-1.0",
    ),
    Database(
        "rconsortium", "RConsortium Advisory Database", "https://github.com/RConsortium/r-advisory-database",
        ("RSEC-",), cve_fields=("aliases", "upstream"), rank=224, licence="Apache-2.0",
    ),
    Database(
        "ossfuzz", "OSS-Fuzz", "https://github.com/google/oss-fuzz-vulns",
        ("OSV-",), ("OSS-Fuzz",), KeyRule.ID_AND_PATH, rank=340, licence="CC-BY-4.0",
    ),
    Database(
        "dhi", "Docker Hardened Images", "https://github.com/docker-hardened-images/advisories",
        (), ("DHI", "Docker Hardened Images"), KeyRule.ID_AND_PATH, rank=320, licence="Apache-2.0",
    ),
    Database(
        "cleanstart", "CleanStart Security Advisories", "https://github.com/cleanstart-dev/cleanstart-security-advisories",
        ("CLEANSTART-",), cve_fields=("aliases", "upstream"), rank=330, licence="Apache-2.0",
    ),
    Database(
        "erlang", "Erlang Ecosystem Foundation", "https://cna.erlef.org", ("EEF-",), rank=222,
    ),
    Database(
        "malicious", "Malicious Packages", "https://github.com/ossf/malicious-packages",
        ("MAL-",), rank=226, licence="Apache-2.0",
    ),
    Database(
        "drupal", "Drupal Security Advisories", "https://www.drupal.org/security", ("DRUPAL-",), rank=225,
    ),
    Database(
        "debian", "Debian Security Tracker", "https://security-tracker.debian.org",
        ("DSA-", "DLA-", "DTSA-", "DEBIAN-CVE-"), cve_fields=_ERRATA, os_families=("debian",),
        trivy_id="debian", rank=40,
    ),
    Database(
        "ubuntu", "Ubuntu CVE Tracker", "https://ubuntu.com/security",
        ("USN-", "LSN-", "UBUNTU-CVE-"), cve_fields=_ERRATA, os_families=("ubuntu",),
        trivy_id="ubuntu", rank=50, licence="CC-BY-SA-4.0",
    ),
    Database(
        "alpine", "Alpine Secdb", "https://secdb.alpinelinux.org",
        ("ALPINE-",), cve_fields=_ERRATA, os_families=("alpine",), trivy_id="alpine", rank=60,
    ),
    Database(
        "almalinux", "AlmaLinux Product Errata", "https://errata.almalinux.org",
        ("ALSA-", "ALBA-", "ALEA-"), cve_fields=_ERRATA, os_families=("alma",), needs_cve=("ALBA-", "ALEA-"),
        trivy_id="alma", rank=120, licence="MIT",
    ),
    Database(
        "rocky", "Rocky Linux updateinfo", "https://errata.rockylinux.org",
        ("RLSA-", "RXSA-", "RLBA-", "RLEA-"), cve_fields=_ERRATA, os_families=("rocky",),
        needs_cve=("RLBA-", "RLEA-"), trivy_id="rocky", rank=130, licence="BSD-3-Clause",
    ),
    Database(
        "suse", "SUSE Security Updates", "https://www.suse.com/support/update/",
        ("SUSE-", "openSUSE-"), cve_fields=_ERRATA, os_families=("suse", "opensuse"),
        needs_cve=("SUSE-RU-", "SUSE-FU-", "SUSE-OU-", "openSUSE-RU-"), trivy_id="suse-cvrf", rank=90,
    ),
    Database(
        "photon", "Photon OS CVE metadata", "https://github.com/vmware/photon/wiki/Security-Advisories",
        ("PHSA-",), cve_fields=_ERRATA, os_families=("photon",), trivy_id="photon", rank=100,
    ),
    Database(
        "azurelinux", "Azure Linux Vulnerability Data", "https://github.com/microsoft/AzureLinuxVulnerabilityData",
        ("AZL-",), cve_fields=_ERRATA, os_families=("azure",), trivy_id="azure", rank=150, licence="MIT",
    ),
    Database(
        "wolfi", "Wolfi Security Data", "https://packages.wolfi.dev/os/security.json",
        (), ("Wolfi",), cve_fields=_ERRATA, os_families=("wolfi", "chainguard"), trivy_id="wolfi", rank=240,
    ),
    Database(
        "chainguard", "Chainguard Security Data", "https://packages.cgr.dev/chainguard/security.json",
        ("CGA-",), ("Chainguard",), cve_fields=_ERRATA, os_families=("chainguard", "wolfi"),
        trivy_id="chainguard", rank=245,
    ),
    Database(
        "minimos", "MinimOS Security Data", "https://packages.mini.dev/advisories/secdb/security.json",
        ("MINI-",), ("MinimOS",), cve_fields=_ERRATA, os_families=("minimos",), trivy_id="minimos", rank=310,
    ),
    Database(
        "echo", "Echo Security Data", "https://advisory.echohq.com",
        ("ECHO-",), ("Echo",), cve_fields=_ERRATA, os_families=("echo",), trivy_id="echo", rank=300,
    ),
    GENERIC,
)  # fmt: skip

_BY_NAME = {database.name: database for database in DATABASES}


def get(name: str) -> Database | None:
    """The database of a name, or None."""
    return _BY_NAME.get(name)


def key(rule: KeyRule, identifier: str, path: str) -> str:
    """The key of a record from its id and the path of its file."""
    match rule:
        case KeyRule.ID:
            return identifier
        case KeyRule.PATH:
            return path
        case KeyRule.ID_AND_PATH:
            return f"{identifier}#{path}"


def tell(documents: Iterable[tuple[str, Iterable[str]]], feed: str = "osv") -> Database:
    """The database that documents belong to, told from their form, ids and ecosystems.

    Args:
        feed: the form of the documents; where only one database publishes in it, that one.
        documents: id and ecosystem names of some documents of one source, in any order.

    Returns:
        The database of at least nine tenths of them; the generic one for a mixture or for unknown ids.
    """
    candidates = [database for database in DATABASES if feed in database.feeds]
    if len(candidates) == 1:
        return candidates[0]
    votes: Counter[str] = Counter()
    for identifier, ecosystems in documents:
        votes[_tell_one(identifier, ecosystems, candidates)] += 1
    if votes:
        name, count = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
        if count * 10 >= votes.total() * 9:
            return _BY_NAME[name]
    return GENERIC


def _tell_one(identifier: str, ecosystems: Iterable[str], candidates: Sequence[Database]) -> str:
    for database in candidates:
        if identifier.startswith(database.id_prefixes or ("\0",)):
            return database.name
    names = {ecosystem.partition(":")[0] for ecosystem in ecosystems}
    for database in candidates:
        if names and names <= set(database.ecosystems):
            return database.name
    return GENERIC.name
