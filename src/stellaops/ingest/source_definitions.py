"""The public sources that the product knows how to pull. Printed in `docs/reference/sources.md`.

Addresses, cadences and terms are what the publishers document. `tried` is false for every one: the product's own tests
play these layouts on this machine and never reach a live source. None is enabled; an operator enables what is wanted.
A source belongs to one database, so a bucket that holds several is several sources, picked by how ids begin.
"""

from __future__ import annotations

from typing import Any

from stellaops.ingest.pull_model import Definition

_OSV_BUCKET = "https://osv-vulnerabilities.storage.googleapis.com/"
_GITHUB = "codeload.github.com"


def _osv(  # noqa: PLR0917 - a row of the table
    name: str,
    ecosystems: tuple[str, ...],
    prefixes: tuple[str, ...],
    licence: str,
    attribution: str,
    note: str = "",
) -> Definition:
    return Definition(
        name=f"osv-{name}",
        layout="osv-bucket",
        url=_OSV_BUCKET,
        feed="osv",
        database=name,
        licence=licence,
        attribution=attribution,
        every="1h",
        options={"ecosystems": list(ecosystems), "prefixes": list(prefixes)},
        prune=True,
        built_in=True,
        note=note,
    )


def _file(name: str, url: str, feed: str, database: str, licence: str, attribution: str, every: str,  # noqa: PLR0917 - a row of the table
          **more: Any) -> Definition:  # fmt: skip
    return Definition(
        name=name, layout="http-file", url=url, feed=feed, database=database, licence=licence,
        attribution=attribution, every=every, built_in=True, **more,
    )  # fmt: skip


def _repository(name: str, repository: str, branch: str, feed: str, database: str, licence: str, attribution: str,  # noqa: PLR0917 - a row of the table
                **more: Any) -> Definition:  # fmt: skip
    """The files of a Git repository, as the archive that its host makes of a branch."""
    return _file(
        name, f"https://{_GITHUB}/{repository}/tar.gz/refs/heads/{branch}", feed, database, licence, attribution,
        "6h", options={"as": f"{name}.tar.gz"}, **more,
    )  # fmt: skip


_CISA = "https://raw.githubusercontent.com/cisagov/CSAF/develop/csaf_files/"


def _csaf(  # noqa: PLR0917 - a row of the table
    name: str, listing: str, hash_file: str, licence: str, attribution: str, note: str = ""
) -> Definition:
    database = name.split("-")[1]
    return Definition(
        name=name, layout="csaf-provider", url=listing, feed="csaf", database=database, licence=licence,
        attribution=attribution, every="6h", options={"hash": hash_file}, built_in=True, note=note,
    )  # fmt: skip


def _vex(name: str, layout: str, url: str, feed: str, licence: str, attribution: str, every: str,  # noqa: PLR0917 - a row of the table
         **more: Any) -> Definition:  # fmt: skip
    return Definition(
        name=name, layout=layout, url=url, feed=feed, licence=licence, attribution=attribution, every=every,
        built_in=True, **more,
    )  # fmt: skip


def _hub(name: str, owner: str, licence: str, attribution: str, every: str) -> Definition:
    """A VEX repository on GitHub: the manifest at its root names the archive that the host makes of a branch."""
    manifest = f"https://raw.githubusercontent.com/{owner}/vexhub/main/vex-repository.json"
    return _vex(name, "vex-repository", manifest, "openvex", licence, attribution, every,
                hosts=("github.com", _GITHUB), prune=True)  # fmt: skip


_GHSA_ECOSYSTEMS = (
    "npm", "PyPI", "Maven", "Go", "NuGet", "RubyGems", "Packagist", "crates.io", "Hex", "Pub", "SwiftURL",
    "GitHub Actions",
)  # fmt: skip

DEFINITIONS: tuple[Definition, ...] = (
    _osv("ghsa", _GHSA_ECOSYSTEMS, ("GHSA-",), "CC-BY-4.0", "GitHub Advisory Database"),
    _osv("pypa", ("PyPI",), ("PYSEC-",), "CC-BY-4.0", "Python Packaging Advisory Database"),
    _osv("rustsec", ("crates.io",), ("RUSTSEC-",), "CC0-1.0", "RustSec Advisory Database"),
    _osv("govuln", ("Go",), ("GO-",), "CC-BY-4.0", "The Go Vulnerability Database"),
    _osv("bitnami", ("Bitnami",), ("BIT-",), "Apache-2.0", "Bitnami Vulnerability Database"),
    _osv("julia", ("Julia",), ("JLSEC-",), "CC-BY-4.0", "Julia Ecosystem Security Advisories"),
    _osv("haskell", ("Hackage", "GHC"), ("HSEC-",), "CC0-1.0", "Haskell Security Advisory DB"),
    _osv("rconsortium", ("CRAN", "Bioconductor"), ("RSEC-",), "Apache-2.0", "RConsortium Advisory Database"),
    _osv("ossfuzz", ("OSS-Fuzz",), ("OSV-",), "CC-BY-4.0", "OSS-Fuzz"),
    _osv("erlang", ("Hex",), ("EEF-",), "NOASSERTION", "Erlang Ecosystem Foundation"),
    _osv("drupal", ("Packagist:https://packages.drupal.org/8",), ("DRUPAL-",), "NOASSERTION",
         "Drupal Security Advisories"),
    _osv("cleanstart", ("CleanStart",), ("CLEANSTART-",), "Apache-2.0", "CleanStart Security Advisories"),
    _osv("malicious", ("npm", "PyPI", "RubyGems", "crates.io", "Go", "NuGet", "Maven"), ("MAL-",), "Apache-2.0",
         "OpenSSF Malicious Packages", "Large: more documents than all other language databases together."),
    _osv("debian", ("Debian",), ("DSA-", "DLA-", "DTSA-", "DEBIAN-CVE-"), "NOASSERTION", "Debian Security Tracker"),
    _osv("ubuntu", ("Ubuntu",), ("USN-", "LSN-", "UBUNTU-CVE-"), "CC-BY-SA-4.0", "Ubuntu Security Notices"),
    _osv("alpine", ("Alpine",), ("ALPINE-",), "NOASSERTION", "Alpine Security Database"),
    _osv("almalinux", ("AlmaLinux",), ("ALSA-", "ALBA-", "ALEA-"), "MIT", "AlmaLinux Errata"),
    _osv("rocky", ("Rocky Linux",), ("RLSA-", "RXSA-", "RLBA-", "RLEA-"), "BSD-3-Clause", "Rocky Linux Errata"),
    _osv("suse", ("SUSE", "openSUSE"), ("SUSE-", "openSUSE-"), "NOASSERTION", "SUSE Security Updates"),
    _osv("photon", ("Photon OS",), ("PHSA-",), "NOASSERTION", "Photon OS Security Advisories"),
    _osv("azurelinux", ("Azure Linux",), ("AZL-",), "MIT", "Azure Linux Vulnerability Data"),
    _osv("wolfi", ("Wolfi",), ("CGA-",), "NOASSERTION", "Wolfi Security Data"),
    _osv("chainguard", ("Chainguard",), ("CGA-",), "NOASSERTION", "Chainguard Security Data"),
    _osv("minimos", ("MinimOS",), ("MINI-",), "NOASSERTION", "MinimOS Security Data"),
    _osv("echo", ("Echo",), ("ECHO-",), "NOASSERTION", "Echo Security Data"),
    _file(
        "alpine-secdb", "https://secdb.alpinelinux.org/", "alpine-secdb", "", "NOASSERTION",
        "Alpine Security Database", "6h",
        options={"files": [
            f"{release}/{repository}.json"
            for release in (*(f"v3.{minor}" for minor in range(15, 24)), "edge") for repository in ("main", "community")
        ]},
        note="One file for each release and repository; extend `files` when Alpine releases.",
    ),
    _file("debian-tracker", "https://security-tracker.debian.org/tracker/data/json", "debian-tracker", "",
          "NOASSERTION", "Debian Security Tracker", "6h", options={"as": "data.json"}),
    _file("cisa-kev", "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json", "kev",
          "", "CC0-1.0", "CISA Known Exploited Vulnerabilities Catalog", "6h"),
    _file("epss", "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz", "epss", "", "NOASSERTION",
          "Exploit Prediction Scoring System, FIRST.org", "1d", hosts=("epss.cyentia.com",),
          note="The terms of FIRST ask for attribution."),
    _repository("vulnrichment", "cisagov/vulnrichment", "develop", "cve", "", "CC0-1.0", "CISA Vulnrichment"),
    _repository("cvelist", "CVEProject/cvelistV5", "main", "cve", "", "LicenseRef-CVE-Terms-of-Use",
                "CVE Program, The MITRE Corporation", note="Several hundred thousand records in one archive."),
    _repository("rubysec", "rubysec/ruby-advisory-db", "master", "rubysec", "", "NOASSERTION", "RubySec"),
    _repository("friendsofphp", "FriendsOfPHP/security-advisories", "master", "friendsofphp", "", "Unlicense",
                "FriendsOfPHP security advisories"),
    _repository("elixir", "mirego/elixir-security-advisories", "main", "elixir", "", "NOASSERTION",
                "Elixir Security Advisories"),
    _repository("mozilla", "mozilla/foundation-security-advisories", "master", "mozilla", "", "NOASSERTION",
                "Mozilla Foundation Security Advisories"),
    _repository("nodejs-wg", "nodejs/security-wg", "main", "nodejs-wg", "", "NOASSERTION",
                "Node.js Security Working Group"),
    _repository("retirejs", "RetireJS/retire.js", "master", "retirejs", "", "Apache-2.0", "Retire.js"),
    _repository("cpansec", "briandfoy/cpan-security-advisory", "master", "cpansec", "", "NOASSERTION",
                "CPAN Security Advisory Database"),
    _csaf("csaf-redhat", "https://security.access.redhat.com/data/csaf/v2/advisories/changes.csv", "sha256",
          "CC-BY-4.0", "Red Hat Product Security"),
    _csaf("csaf-suse", "https://ftp.suse.com/pub/projects/security/csaf/changes.csv", "sha256", "NOASSERTION",
          "SUSE Security"),
    _csaf("csaf-siemens", "https://cert-portal.siemens.com/productcert/csaf/index.txt", "sha512", "NOASSERTION",
          "Siemens ProductCERT"),
    _csaf("csaf-cisa-ot", f"{_CISA}OT/white/changes.csv", "sha512", "NOASSERTION", "CISA CSAF advisories",
          "The listing names paths from the root of the repository."),
    _csaf("csaf-cisa-it", f"{_CISA}IT/white/changes.csv", "sha512", "NOASSERTION", "CISA CSAF advisories",
          "The listing names paths from the root of the repository."),
    _hub("vexhub-aqua", "aquasecurity", "Apache-2.0", "VEX Hub by Aqua Security", "1d"),
    _hub("vexhub-rancher", "rancher", "CC-BY-4.0", "VEX Hub by SUSE Rancher", "4h"),
    _vex("vex-docker-dhi", "http-file", f"https://{_GITHUB}/docker-hardened-images/advisories/tar.gz/refs/heads/main",
         "openvex", "Apache-2.0", "Docker Hardened Images", "6h", options={"as": "vex-docker-dhi.tar.gz"}, prune=True,
         note="One document for each image, and one with all of them."),
    _vex("vex-ubuntu", "http-file", "https://security-metadata.canonical.com/vex/vex-all.tar.xz", "openvex",
         "NOASSERTION", "Ubuntu security data, Canonical", "1d", prune=True,
         note="Large: tens of thousands of documents in one archive."),
    _vex("vex-redhat", "csaf-provider", "https://security.access.redhat.com/data/csaf/v2/vex/changes.csv", "csaf-vex",
         "CC-BY-4.0", "Red Hat Product Security", "6h", options={"hash": "sha256"},
         note="Large: more than 200,000 documents, each fetched by itself. What `deletions.csv` names is let go of."),
    _vex("vex-suse", "http-file", "https://ftp.suse.com/pub/projects/security/csaf-vex.tar.bz2", "csaf-vex",
         "NOASSERTION", "SUSE Security", "1d", prune=True, note="Large: some 50,000 documents in one archive."),
    _vex("vex-microsoft", "csaf-provider", "https://msrc.microsoft.com/csaf/vex/changes.csv", "csaf-vex",
         "NOASSERTION", "Microsoft Security Response Center", "1d"),
    _vex("vex-siemens", "csaf-provider", "https://cert-portal.siemens.com/productcert/csaf/index.txt", "csaf-vex",
         "NOASSERTION", "Siemens ProductCERT", "6h", options={"hash": "sha512"},
         note="The advisories of `csaf-siemens`, taken for what they say of products."),
)  # fmt: skip
"""Every public source, by kind; an operator's definition of the same name stands for it."""
