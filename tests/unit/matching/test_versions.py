"""The orders of the version schemes, by examples from what the ecosystems publish about them."""

from __future__ import annotations

import pytest

from stellaops.matching.versions import rubygems
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import scheme_of

ASCENDING = {
    # semver.org, precedence; the same holds for npm and for every ecosystem with the generic scheme.
    "npm": ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
            "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1", "10.0.0"],
    "cargo": ["0.0.0-0", "0.0.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2",
              "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1"],
    "go": ["v0.0.0-20191109021931-daa7c04131f5", "v0.0.0-20210101000000-000000000000", "v0.0.0", "v1.2.3-pre.0",
           "v1.2.3", "v1.2.4-0.20210101000000-abcdefabcdef", "v1.2.4", "v1.10.0"],
    "nuget": ["1.0.0-alpha", "1.0.0-rc.1", "1.0.0", "1.0.0.1", "1.0.0.2", "1.0.1"],
    # PEP 440, summary of permitted suffixes and relative ordering.
    "pip": ["1.dev0", "1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12.dev456", "1.0a12", "1.0b1.dev456", "1.0b2",
            "1.0b2.post345.dev456", "1.0b2.post345", "1.0rc1.dev456", "1.0rc1", "1.0", "1.0+abc.5", "1.0+abc.7",
            "1.0+5", "1.0.post456.dev34", "1.0.post456", "1.0.15", "1.1.dev1", "1!0.1"],
    # Gem::Version: letters make a pre-release.
    "rubygems": ["1.0.a", "1.0.a.2", "1.0.b1", "1.0.rc1", "1.0.rc2", "1.0.rc10", "1.0", "1.0.0.1", "1.0.1.pre", "1.0.1",
                 "1.1"],
    # The POM reference, version order specification.
    "maven": ["1-alpha", "1-alpha-1", "1-beta-1", "1-milestone-1", "1-rc-1", "1-snapshot", "1", "1-sp", "1-abc",
              "1-xyz", "1-1", "1-2", "1.1"],
    "bitnami": ["1.2.3", "1.2.3-0", "1.2.3-1", "1.2.3-2", "1.2.3-10", "1.2.4"],
    # Debian policy 5.6.12.
    "deb": ["1.0~~", "1.0~~a", "1.0~", "1.0~rc1", "1.0", "1.0-1", "1.0-1+b1", "1.0-2", "1.0-10", "1.0a", "1.0+dfsg",
            "1.0.1", "1.2", "1.10", "1:0.1", "2:0"],
    # rpm: tilde before everything, caret after the base but before more segments.
    "rpm": ["1.0~rc1", "1.0~rc2", "1.0~rc2^git1", "1.0", "1.0-1", "1.0^git1", "1.0^git2~pre", "1.0^git2", "1.0a",
            "1.0.1", "1.0.10", "1.1", "1:0.1"],
    # apk: suffixes of a pre-release, then nothing, then -r, then suffixes of a patch.
    "apk": ["1.0_alpha", "1.0_alpha1", "1.0_beta", "1.0_pre", "1.0_rc1", "1.0_rc2", "1.0", "1.0-r0", "1.0-r1",
            "1.0-r10", "1.0_git20200101", "1.0_p1", "1.0_p1-r1", "1.0a", "1.0b", "1.0.01", "1.0.1", "1.1", "1.10"],
}  # fmt: skip

EQUAL = {
    "npm": ["1.2.0", "v1.2.0", "=1.2.0", "1.2", "1.2.0+build.5"],
    "julia": ["1.0.7+0", "1.0.7+1", "v1.0.7", "1.0.7.0", "1.0.7"],
    "go": ["2.0.0+incompatible", "v2.0.0", "2"],
    "pip": ["1.0rc1", "1.0.RC1", "1.0-c1", "1.0preview1", "v1.0_rc_1", " 1.0rc1 "],
    "rubygems": ["1.0.a", "1.a", "1.0.0.a", "1.0.0.a.0"],
    "maven": ["1.0.0", "1", "1-ga", "1.FINAL", "1.0-release", "1-0.ga"],
    "deb": ["1.0", "0:1.0", "1.0-", "1.0-0", "01.0", "1."],
    "rpm": ["1.0", "0:1.0", "1_0", "1.00"],
    "apk": ["1.2.3", " 1.2.3"],
    "bitnami": ["1.2", "1.2.0", "1.2.0+x"],
}

REFUSED = {
    "npm": ["", "1.2.3.4", "1.2.beta", "1.2.3-a..b", "latest", "\uff11.0.0"],
    "cargo": ["", "1.0_1", "1.", "x", "1" * 2000],
    "pip": ["", "1.0-SNAPSHOT", "0.2.0-n653", "1.0.*"],
    "rubygems": ["1..2", "a.b", "1.0+1", "-1"],
    "maven": ["", "[1,2)", "1 2"],
    "deb": ["", "1.0 1", "1_0", "x:1", "1:"],
    "rpm": ["", "1:2:3", "1-2-3"],
    "apk": ["", "1.0_foo", "1.0-1", "v1.0", "1.0-r"],
    "bitnami": ["nightly.2026-03-10.0", ""],
}


@pytest.mark.parametrize("name", sorted(ASCENDING))
def test_published_examples_ascend(name: str) -> None:
    scheme, versions = scheme_of(name), ASCENDING[name]
    wrong = [
        (versions[low], versions[high])
        for low in range(len(versions))
        for high in range(low + 1, len(versions))
        if scheme.compare(versions[low], versions[high]) != -1
        or scheme.compare(versions[high], versions[low]) != 1
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_spellings_of_one_version_are_equal(name: str) -> None:
    scheme = scheme_of(name)
    assert [text for text in EQUAL[name] if scheme.compare(EQUAL[name][0], text) != 0] == []


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts]
)
def test_what_is_no_version_is_refused_by_our_error(name: str, text: str) -> None:
    with pytest.raises(InvalidVersion):
        scheme_of(name).parse(text)


def test_parsed_versions_keep_their_parts() -> None:
    assert scheme_of("deb").parse("1:2.0-3~bpo-4").revision == "4"
    assert scheme_of("deb").parse("1:2.0-3~bpo-4").upstream == "2.0-3~bpo"
    assert scheme_of("rpm").parse("2:1.0^git-5.el9").release == "5.el9"
    assert scheme_of("apk").parse("1.2.3a_rc1_p2~abc-r4").suffixes == (("rc", "1"), ("p", "2"))
    assert scheme_of("pip").parse("1.0-Preview_2").normal == "1.0rc2"
    assert scheme_of("go").parse("v1.2.3-0.2021+incompatible").build == "incompatible"


def test_a_key_below_all_prereleases_is_above_everything_before() -> None:
    scheme = scheme_of("rubygems")
    floor = rubygems.before_prereleases(scheme.key("1.3"))
    assert scheme.key("1.2.999.z") < floor < scheme.key("1.3.A.A.a") < scheme.key("1.3")
    assert scheme.key("1.3.0.0.A") > floor
