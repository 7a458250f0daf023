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
from urllib.parse import urlsplit


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
        own_ecosystems: names that tell it in its own forms alone; in OSV documents others use them too.
        rejects: whether its withdrawal of a CVE says that the id itself is void, for everybody.
        publishers: domains of who issues its documents, for forms that say that.
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
    own_ecosystems: tuple[str, ...] = ()
    rejects: bool = False
    publishers: tuple[str, ...] = ()


_ERRATA = ("aliases", "upstream", "related")

GENERIC = Database(
    name="osv",
    title="Open Source Vulnerabilities",
    url="https://osv.dev",
    cve_fields=("aliases",),
    rank=350,
)

# Issuers that the table does not know, in any mixture: nothing says that their ids never meet.
GENERIC_CSAF = Database(
    name="csaf",
    title="CSAF documents",
    url="https://www.csaf.io",
    key_rule=KeyRule.ID_AND_PATH,
    trivy_id="csaf",
    rank=410,
    feeds=("csaf",),
)

DATABASES: tuple[Database, ...] = (
    Database(
        "nvd", "National Vulnerability Database", "https://nvd.nist.gov",
        cve_fields=(), trivy_id="nvd", rank=10, feeds=("nvd",), rejects=True, licence="NOASSERTION",
    ),
    Database(
        "cve", "CVE List", "https://www.cve.org",
        cve_fields=(), trivy_id="cve", rank=15, feeds=("cve",), rejects=True, licence="cve-tou",
    ),
    Database(
        "kev", "CISA Known Exploited Vulnerabilities Catalog", "https://www.cisa.gov/known-exploited-vulnerabilities-catalog",
        cve_fields=(), trivy_id="kev", rank=500, feeds=("kev",), licence="CC0-1.0",
    ),
    Database(
        "epss", "Exploit Prediction Scoring System", "https://www.first.org/epss/",
        cve_fields=(), trivy_id="epss", rank=510, feeds=("epss",),
    ),
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
        trivy_id="debian", rank=40, feeds=("osv", "debian-tracker", "debian-dsa"),
    ),
    Database(
        "ubuntu", "Ubuntu CVE Tracker", "https://ubuntu.com/security",
        ("USN-", "LSN-", "UBUNTU-CVE-"), cve_fields=_ERRATA, os_families=("ubuntu",),
        trivy_id="ubuntu", rank=50, licence="CC-BY-SA-4.0",
    ),
    Database(
        "alpine", "Alpine Secdb", "https://secdb.alpinelinux.org",
        ("ALPINE-",), cve_fields=_ERRATA, os_families=("alpine",), trivy_id="alpine", rank=60,
        feeds=("osv", "alpine-secdb"), own_ecosystems=("Alpine",),
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
        feeds=("osv", "csaf"), publishers=("suse.com",),
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
        feeds=("osv", "alpine-secdb"),
    ),
    Database(
        "chainguard", "Chainguard Security Data", "https://packages.cgr.dev/chainguard/security.json",
        ("CGA-",), ("Chainguard",), cve_fields=_ERRATA, os_families=("chainguard", "wolfi"),
        trivy_id="chainguard", rank=245, feeds=("osv", "alpine-secdb"),
    ),
    Database(
        "minimos", "MinimOS Security Data", "https://packages.mini.dev/advisories/secdb/security.json",
        ("MINI-",), ("MinimOS",), cve_fields=_ERRATA, os_families=("minimos",), trivy_id="minimos", rank=310,
        feeds=("osv", "alpine-secdb"),
    ),
    Database(
        "echo", "Echo Security Data", "https://advisory.echohq.com",
        ("ECHO-",), ("Echo",), cve_fields=_ERRATA, os_families=("echo",), trivy_id="echo", rank=300,
    ),
    Database(
        "redhat", "Red Hat Product Security", "https://security.access.redhat.com/data/csaf/",
        ("RHSA-", "RHBA-", "RHEA-"), cve_fields=_ERRATA, needs_cve=("RHBA-", "RHEA-"), trivy_id="redhat", rank=20,
        licence="CC-BY-4.0", feeds=("osv", "csaf"), publishers=("redhat.com",),
    ),
    Database(
        "cisa", "CISA CSAF Security Advisories", "https://github.com/cisagov/CSAF",
        trivy_id="cisa-csaf", rank=400, feeds=("csaf",), publishers=("cisa.gov",),
    ),
    Database(
        "siemens", "Siemens ProductCERT", "https://www.siemens.com/cert",
        trivy_id="siemens-csaf", rank=401, feeds=("csaf",), publishers=("siemens.com",),
    ),
    Database(
        "cisco", "Cisco Security Advisories", "https://sec.cloudapps.cisco.com/security/center/publicationListing.x",
        trivy_id="cisco-csaf", rank=402, feeds=("csaf",), publishers=("cisco.com",),
    ),
    Database(
        "fortinet", "FortiGuard PSIRT Advisories", "https://www.fortiguard.com/psirt",
        trivy_id="fortinet-csaf", rank=403, feeds=("csaf",), publishers=("fortinet.com", "fortiguard.com"),
    ),
    Database(
        "openeuler", "openEuler Security Advisories", "https://www.openeuler.org/en/security/security-bulletins/",
        trivy_id="openeuler-csaf", rank=404, feeds=("csaf",), publishers=("openeuler.org",),
    ),
    Database(
        "oracle", "Oracle Security Alerts", "https://www.oracle.com/security-alerts/",
        trivy_id="oracle-csaf", rank=405, feeds=("csaf",), publishers=("oracle.com",),
    ),
    GENERIC_CSAF,
    Database(
        "rubysec", "Ruby Advisory Database", "https://github.com/rubysec/ruby-advisory-db",
        key_rule=KeyRule.PATH, trivy_id="ruby-advisory-db", rank=160, feeds=("rubysec",),
        licence="LicenseRef-ruby-advisory-db",
    ),
    Database(
        "friendsofphp", "PHP Security Advisories Database", "https://github.com/FriendsOfPHP/security-advisories",
        key_rule=KeyRule.PATH, trivy_id="php-security-advisories", rank=170, licence="Unlicense",
        feeds=("friendsofphp",),
    ),
    Database(
        "nodejs-wg", "Node.js Ecosystem Security Working Group", "https://github.com/nodejs/security-wg",
        key_rule=KeyRule.PATH, trivy_id="nodejs-security-wg", rank=180, licence="MIT", feeds=("nodejs-wg",),
    ),
    Database(
        "elixir", "Elixir Security Advisories", "https://github.com/mirego/elixir-security-advisories",
        key_rule=KeyRule.PATH, trivy_id="ghsa", rank=195, licence="BSD-3-Clause", feeds=("elixir",),
    ),
    Database(
        "mozilla", "Mozilla Foundation Security Advisories", "https://www.mozilla.org/security/advisories/",
        trivy_id="mozilla", rank=420, licence="MPL-2.0", feeds=("mozilla",),
    ),
    Database(
        "cpansec", "CPAN Security Advisory Database", "https://github.com/briandfoy/cpan-security-advisory",
        key_rule=KeyRule.ID_AND_PATH, trivy_id="cpansa", rank=421, licence="Artistic-2.0", feeds=("cpansec",),
    ),
    Database(
        "retirejs", "Retire.js", "https://github.com/RetireJS/retire.js",
        trivy_id="retirejs", rank=422, licence="Apache-2.0", feeds=("retirejs",),
    ),
    Database(
        "maven-index", "List of Maven artefacts", "https://repo.maven.apache.org/maven2",
        trivy_id="maven-index", rank=900, feeds=("maven-index",),
    ),
    GENERIC,
)  # fmt: skip

# VEX is about the products of others: the table has no say on it but that every file is a document of its own.
VEX = Database("vex", "VEX documents", "https://openvex.dev", key_rule=KeyRule.PATH, feeds=())

# What tenants bring in themselves is nobody's database of advisories.
SBOMS = Database(
    "sbom", "Bills of materials", "https://cyclonedx.org", key_rule=KeyRule.ID_AND_PATH, feeds=()
)
POLICY = Database("policy", "Policy overlays", "https://stellaops.io", key_rule=KeyRule.ID, feeds=())

_OF_OSV = tuple(database for database in DATABASES if "osv" in database.feeds)
_BY_NAME = {database.name: database for database in (*DATABASES, VEX, SBOMS, POLICY)}


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


def tell(
    documents: Iterable[tuple[str, Iterable[str]]], feed: str = "osv", publishers: Iterable[str] = ()
) -> Database:
    """The database that documents belong to, told from their form, ids and ecosystems.

    Args:
        feed: the form of the documents; where only one database publishes in it, that one.
        documents: id and ecosystem names of some documents of one source, in any order.
        publishers: of forms that say who issues them: that address, of each of the documents.

    Returns:
        The database of at least nine tenths of them; the generic one for a mixture or for unknown ids.
    """
    candidates = [database for database in DATABASES if feed in database.feeds]
    if len(candidates) == 1:
        return candidates[0]
    if GENERIC_CSAF in candidates:
        return _most(Counter(_issued_by(publisher, candidates) for publisher in publishers), GENERIC_CSAF)
    votes: Counter[str] = Counter()
    for identifier, ecosystems in documents:
        votes[_tell_one(identifier, ecosystems, candidates, own_form=feed != "osv")] += 1
    return _most(votes, GENERIC)


def tell_by_name(identifier: str, ecosystem: str) -> str:
    """The database of an OSV document by its id and an ecosystem, as its name; the generic one where they tell none."""
    return _tell_one(identifier, (ecosystem,), _OF_OSV, own_form=True)


def is_told_by_names(database: str) -> bool:
    """Whether ids or ecosystems tell the OSV documents of a database."""
    found = get(database)
    return found is not None and bool(found.id_prefixes or found.ecosystems or found.own_ecosystems)


def _most(votes: Counter[str], otherwise: Database) -> Database:
    """The database of at least nine tenths of the votes."""
    if votes:
        name, count = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
        if count * 10 >= votes.total() * 9:
            return _BY_NAME[name]
    return otherwise


def _issued_by(publisher: str, candidates: Sequence[Database]) -> str:
    try:
        host = urlsplit(publisher if "//" in publisher else f"//{publisher}").hostname or ""
    except ValueError:
        host = ""
    found = (
        database.name for database in candidates for domain in database.publishers
        if host == domain or host.endswith(f".{domain}")
    )  # fmt: skip
    return next(found, GENERIC_CSAF.name)


def _tell_one(
    identifier: str, ecosystems: Iterable[str], candidates: Sequence[Database], *, own_form: bool
) -> str:
    for database in candidates:
        if identifier.startswith(database.id_prefixes or ("\0",)):
            return database.name
    names = {ecosystem.partition(":")[0] for ecosystem in ecosystems}
    for database in candidates:
        known = (*database.ecosystems, *(database.own_ecosystems if own_form else ()))
        if names and names <= set(known):
            return database.name
    return GENERIC.name
