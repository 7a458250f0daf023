"""What is read from the advisories of libraries and projects, feed by feed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Specific
from stellaops.advisories.documents.interface import Feed
from stellaops.advisories.documents.registry import FEEDS
from stellaops.advisories.index import DocumentId, index_row
from stellaops.advisories.severity import Severity
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.bundles.trivy.values import decode_detail
from stellaops.core.digests import sha256
from tests.contract.feed_samples import all_samples

SAMPLES = all_samples()


def read(name: str, path: str = "", content: bytes | str | None = None) -> list[Advisory]:
    """The advisories of a sample's file, or of a content under its path."""
    samples = SAMPLES[name]
    feed: Feed = FEEDS[samples.feed]
    raw = (
        samples.files[path] if content is None else content.encode() if isinstance(content, str) else content
    )
    found = [
        feed.read(feed.canonical(path, piece.raw).parsed, piece.context) for piece in feed.records(path, raw)
    ]
    return [advisory for advisory in found if advisory is not None]


def one(name: str, path: str, content: bytes | str | None = None) -> Advisory:
    (found,) = read(name, path, content)
    return found


def rows(feed: str, advisory: Advisory) -> Projection:
    return project(advisory, databases.tell([], feed), fields.assess(advisory))


def row(feed: str, advisory: Advisory) -> tuple[str, str, str, Any]:
    (found,) = rows(feed, advisory).advisories
    return found.bucket, found.package, found.vulnerability, json.loads(found.value)


def specific(advisory: Advisory) -> Specific:
    assert advisory.affected
    told = advisory.affected[0].ecosystem_specific
    assert isinstance(told, Specific)
    return told


# ---- rubysec

ACTIONPACK = "gems/actionpack/CVE-2021-22881.yml"


def test_ruby_ids_get_their_prefixes_and_the_first_names_the_record() -> None:
    found = one("rubysec", ACTIONPACK)
    assert (found.id, found.aliases) == ("CVE-2021-22881", ["GHSA-8877-prq4-9xfw"])
    jruby = one("rubysec", "rubies/jruby/CVE-2011-4838.yml")
    assert (jruby.id, jruby.aliases) == ("CVE-2011-4838", ["GHSA-cgqc-fqxr-q6r6", "OSVDB-78116"])


def test_an_advisory_of_a_gem_without_ids_is_named_by_its_file() -> None:
    text = "gem: a\ntitle: t\ncve: ~\nghsa:\npatched_versions: ['>= 1']\n"
    assert one("rubysec", "gems/a/2014-01-01.yml", text).id == "2014-01-01"


def test_a_prefix_that_stands_already_is_not_doubled() -> None:
    text = "gem: a\ntitle: t\ncve: CVE-2014-1\nghsa: GHSA-AAAA-bbbb-CCCC\nosvdb: OSVDB-7\n"
    found = one("rubysec", "a.yml", text)
    assert [found.id, *(found.aliases or ())] == ["CVE-2014-1", "GHSA-aaaa-bbbb-cccc", "OSVDB-7"]


def test_ruby_requirements_reach_trivy_as_they_are() -> None:
    bucket, package, vulnerability, value = row("rubysec", one("rubysec", ACTIONPACK))
    assert (bucket, package, vulnerability) == (
        "rubygems::Ruby Advisory Database",
        "actionpack",
        "CVE-2021-22881",
    )
    assert value == {
        "PatchedVersions": ["~> 6.0.3, >= 6.0.3.5", ">= 6.1.2.1"],
        "UnaffectedVersions": ["< 6.0.0"],
        "VendorIDs": ["GHSA-8877-prq4-9xfw"],
    }


def test_a_gem_that_nothing_fixes_is_vulnerable_in_every_version() -> None:
    *_, value = row("rubysec", one("rubysec", "gems/rwiki/OSVDB-25608.yml"))
    assert value == {"VulnerableVersions": ["<0", ">=0"]}


def test_a_ruby_engine_has_a_record_and_details_but_no_row() -> None:
    jruby = one("rubysec", "rubies/jruby/CVE-2011-4838.yml")
    found = rows("rubysec", jruby)
    assert (found.advisories, found.vulnerabilities) == ((), ("CVE-2011-4838",))
    entry = json.loads(index_row(jruby, DocumentId("s", "k", sha256(b"")), Severity.UNKNOWN))
    assert entry["packages"] == ["pkg:generic/jruby"]


@pytest.mark.parametrize(
    ("scores", "severity"),
    [
        ("cvss_v2: 10.0\ncvss_v3: 6.1\ncvss_v4: 2.3", Severity.LOW),
        ("cvss_v2: 10.0\ncvss_v3: 6.1", Severity.MEDIUM),
        ("cvss_v2: 10", Severity.CRITICAL),
        ("cvss_v3: 0.0", Severity.UNKNOWN),
        ("cvss_v3: high", Severity.UNKNOWN),
        ("", Severity.UNKNOWN),
    ],
)
def test_the_newest_score_of_a_gem_gives_the_severity(scores: str, severity: Severity) -> None:
    found = one("rubysec", "a.yml", f"gem: a\ntitle: t\ncve: 2021-1234\n{scores}\n")
    assert fields.assess(found).highest is severity


# ---- the others that have rows


def test_each_branch_of_a_php_package_is_one_constraint() -> None:
    bucket, package, vulnerability, value = row(
        "friendsofphp", one("friendsofphp", "symfony/symfony/CVE-2021-41267.yaml")
    )
    assert (bucket, package) == ("composer::PHP Security Advisories Database", "symfony/symfony")
    assert vulnerability == "CVE-2021-41267"
    assert value == {"VulnerableVersions": [">=5.2.0, <5.3.0", ">=5.3.0, <5.3.12"]}


def test_a_php_advisory_without_cve_is_named_by_package_and_file() -> None:
    found = one("friendsofphp", "cakephp/cakephp/2015-08-06.yaml")
    assert (found.id, found.aliases, found.published) == (
        "cakephp/cakephp/2015-08-06",
        [],
        "2015-08-06T22:08:00Z",
    )


def test_a_php_file_can_name_the_cve_that_its_document_leaves_out() -> None:
    text = SAMPLES["friendsofphp"].files["cakephp/cakephp/2015-08-06.yaml"]
    assert one("friendsofphp", "cakephp/cakephp/CVE-2019-12139.yaml", text).id == "CVE-2019-12139"


def test_the_order_in_which_branches_are_written_does_not_matter() -> None:
    text = "title: t\nreference: composer://a/b\ncve: CVE-2021-1234\nbranches:\n"
    branches = ["  1.x: {versions: ['<1.2']}\n", "  2.x: {versions: ['>=2', '<2.1']}\n"]
    there = one("friendsofphp", "a/b/c.yaml", text + "".join(branches))
    back = one("friendsofphp", "a/b/c.yaml", text + "".join(reversed(branches)))
    assert there == back


def test_npm_ranges_reach_trivy_as_they_are() -> None:
    bucket, package, vulnerability, value = row("nodejs-wg", one("nodejs_wg", "vuln/npm/490.json"))
    assert (bucket, package) == ("npm::Node.js Ecosystem Security Working Group", "node.extend")
    assert vulnerability == "CVE-2018-16491"
    assert value == {
        "VulnerableVersions": ["<2.0.1 || <1.1.7"],
        "PatchedVersions": ["^1.1.7 || >= 2.0.1"],
        "VendorIDs": ["NSWG-ECO-490"],
    }


def test_npm_advisories_without_cve_keep_the_name_of_the_working_group() -> None:
    found = one("nodejs_wg", "vuln/npm/118.json")
    assert found.id == "NSWG-ECO-118"
    assert fields.assess(found).highest is Severity.HIGH
    assert row("nodejs-wg", found)[2] == "NSWG-ECO-118"


def test_a_partial_bound_is_spelled_out_as_npm_means_it() -> None:
    document = json.loads(SAMPLES["nodejs_wg"].files["vuln/npm/118.json"])
    found = one("nodejs_wg", "1.json", json.dumps(document | {"vulnerable_versions": "<= 1.0"}))
    assert row("nodejs-wg", found)[3]["VulnerableVersions"] == ["<1.1.0-0"]


def test_node_itself_is_no_npm_package() -> None:
    found = one("nodejs_wg", "vuln/core/1.json")
    assert (found.id, found.aliases) == ("NSWG-COR-1", ["CVE-2017-1000381"])
    assert rows("nodejs-wg", found).advisories == ()
    assert fields.assess(found).highest is Severity.HIGH


def test_hex_ranges_and_first_fixes_reach_trivy() -> None:
    bucket, package, vulnerability, value = row(
        "elixir", one("elixir", "packages/plug/GHSA-2q6v-32mr-8p8x.yml")
    )
    assert (bucket, package) == ("erlang::Elixir Security Advisories", "plug")
    assert vulnerability == "GHSA-2q6v-32mr-8p8x"
    assert value == {
        "VulnerableVersions": [">= 1.3.0, < 1.3.2", "< 1.0.4"],
        "PatchedVersions": ["1.3.2", "1.0.4"],
    }


# ---- details alone


@pytest.mark.parametrize("name", ["mozilla", "cpansec", "retirejs"])
def test_what_trivy_has_no_ecosystem_for_gives_details_alone(name: str) -> None:
    for path in SAMPLES[name].files:
        for advisory in read(name, path):
            found = rows(name, advisory)
            assert found.advisories == ()
            assert found.details
            assert not any(decode_detail(detail.value).has_rows for detail in found.details)


def test_each_vulnerability_of_a_mozilla_advisory_is_told_by_itself() -> None:
    found = one("mozilla", "announce/2025/mfsa2025-01.yml")
    assert (found.id, found.published, found.affected) == ("MFSA-2025-01", "2025-01-07", None)
    assert found.parts
    told = {part.id: (part.severity, [link.url for link in part.references or ()]) for part in found.parts}
    bug = "https://bugzilla.mozilla.org/show_bug.cgi?id="
    assert told == {
        "CVE-2024-43097": ("critical", [f"{bug}1945624"]),
        "CVE-2025-0244": ("high", [f"{bug}1929584", f"{bug}1929585"]),
    }
    (firefox,) = found.parts[0].affected or []
    assert firefox.package
    assert (firefox.package.purl, firefox.package.ecosystem) == ("pkg:generic/mozilla/firefox", None)
    assert fields.all_aliases(found) == ["CVE-2024-43097", "CVE-2025-0244"]


def test_markdown_is_about_the_cves_among_its_references_and_relates_to_those_in_its_prose() -> None:
    path = "announce/2006/mfsa2006-01.md"
    text = SAMPLES["mozilla"].files[path].replace(b"protected.", b"protected, unlike in CVE-2005-0001.")
    found = one("mozilla", path, text)
    assert [part.id for part in found.parts or ()] == ["CVE-2006-0292"]
    assert found.related == ["CVE-2005-0001"]
    assert found.published == "2006-02-01"
    canonical = json.loads(FEEDS["mozilla"].canonical(path, text).body)
    assert set(canonical) == {"front_matter", "markdown"}
    assert canonical["front_matter"]["impact"] == "Moderate"
    assert canonical["markdown"].startswith("\n<h3>Description</h3>")


@pytest.mark.parametrize(
    ("product", "purl", "fixed"),
    [
        ("Firefox ESR 60.8", "pkg:generic/mozilla/firefox-esr", "60.8"),
        ("Mozilla VPN 1.0.7 (929) (iOS)", "pkg:generic/mozilla/mozilla-vpn", "1.0.7"),
        ("Focus", "pkg:generic/mozilla/focus", None),
    ],
)
def test_a_fixed_product_of_mozilla_is_vulnerable_before(product: str, purl: str, fixed: str | None) -> None:
    text = f"announced: May 1, 2020\nfixed_in: ['{product}']\ntitle: t\nimpact: low\nadvisories: {{}}\n"
    (affected,) = one("mozilla", "mfsa2020-01.yml", text).affected or []
    assert affected.package
    assert affected.package.purl == purl
    events = [event.fixed for span in affected.ranges or () for event in span.events or () if event.fixed]
    assert events == ([fixed] if fixed else [])


def test_entries_of_one_cpan_file_are_records_of_their_own() -> None:
    first, second = read("cpansec", "cpansa/CPANSA-Crypt-JWT.yml")
    assert (first.id, first.aliases) == (
        "CPANSA-Crypt-JWT-2019-01",
        ["CVE-2019-1010263", "GHSA-54vx-xvq8-jh85"],
    )
    assert second.id == "CPANSA-Crypt-JWT-2019-01:<0.022"
    assert second.aliases == ["CPANSA-Crypt-JWT-2019-01", "CVE-2019-1010161"]
    assert fields.ecosystems(first) == ["CPAN"]
    assert specific(first).vulnerable == ["<0.023"]


def test_the_day_of_the_last_check_changes_no_cpan_record() -> None:
    path = "cpansa/CPANSA-Log-Any.yml"
    feed, content = FEEDS["cpansec"], SAMPLES["cpansec"].files[path]
    later = content.replace(b"1785398915", b"1790000000").replace(b"1.720", b"1.721")
    assert list(feed.records(path, content)) == list(feed.records(path, later))
    assert content != later


def test_a_slice_of_a_cpan_file_ends_where_the_next_entry_begins() -> None:
    path = "cpansa/CPANSA-Crypt-JWT.yml"
    first, second = FEEDS["cpansec"].records(path, SAMPLES["cpansec"].files[path])
    assert first.raw.startswith(b"  - affected_versions:")
    assert first.raw.endswith(b"# The second.\n")
    assert second.raw.startswith(b"  -   affected_versions:")
    assert second.raw.endswith(b"reported: 2019-03-20\n")


def test_a_byte_order_mark_moves_no_slice() -> None:
    path = "cpansa/CPANSA-Crypt-JWT.yml"
    content = SAMPLES["cpansec"].files[path]
    plain = [piece.raw for piece in FEEDS["cpansec"].records(path, content)]
    marked = list(FEEDS["cpansec"].records(path, b"\xef\xbb\xbf" + content))
    assert [piece.raw for piece in marked] == plain


def test_vulnerabilities_of_a_library_are_named_by_what_lasts() -> None:
    found = read("retirejs", "repository/jsrepository-master.json")
    assert [advisory.id for advisory in found] == [
        "retire.js:jquery:CVE-2011-4969",
        "retire.js:jquery:retid-73",
        "retire.js:ua-parser-js:CVE-2020-7733",
        "retire.js:ua-parser-js:CVE-2020-7733:0.8.0..0.8.1",
    ]
    assert found[0].aliases == ["CVE-2011-4969", "GHSA-579v-mp3v-rrw5"]
    assert found[1].affected
    assert len(found[1].affected[0].ranges or ()) == 2
    assert fields.cwe_ids(found[0]) == ["CWE-79"]


def test_a_name_of_retire_js_that_cannot_stand_in_an_id_is_told_by_its_digest() -> None:
    text = json.dumps({"a": {"vulnerabilities": [{"below": "1", "summary": "words with blanks"}]}})
    (found,) = read("retirejs", "npmrepository.json", text)
    listed, library, name = found.id.split(":")
    assert (listed, library, len(name)) == ("retire.js-npm", "a", 16)
