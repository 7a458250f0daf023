"""The orders of ecosystems for which Trivy has a general comparer, by examples from what they publish."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import OWN_RULES

ASCENDING = {
    # composer/semver and PHP's version_compare.
    "composer": ["1.0.0-dev", "1.0.0-alpha1", "1.0.0-alpha.2", "1.0.0-beta1", "1.0.0-beta10", "1.0.0-RC1-dev",
                 "1.0.0-RC1", "1.0.0-RC2", "1.0.0", "1.0.0-p1", "1.0.0-patch2", "1.0.0.1", "1.0.1", "1.10.0"],
    # learn.microsoft.com: package versioning.
    "nuget": ["1.0.1-alpha", "1.0.1-Alpha2", "1.0.1-BETA", "1.0.1-rc", "1.0.1-RC.2", "1.0.1-rc.10", "1.0.1-zzz",
              "1.0.1", "1.0.1.1", "1.0.2"],
    # pub_semver: the build orders above the same version without any.
    "pub": ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.0.0+1", "1.0.0+2", "1.0.0+10", "1.0.0+a",
            "1.0.1"],
    # Hex, Cargo, Go, Swift, Conan: semantic versioning.
    "erlang": ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.0.1"],
    "swift": ["1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.2.0"],
    "conan": ["1.0-pre", "1.0", "1.0.1", "1.1", "1.1.0.1", "2"],
}  # fmt: skip

EQUAL = {
    "composer": ["1.0", "v1.0.0", "1.0.0.0", "1.0.0-stable", "1"],
    "nuget": ["1.0", "1.0.0", "1.0.0.0", "1.00.0+build"],
    "pub": ["1.2.3", "v1.2.3"],
}

REFUSED = {
    "composer": ["dev-main", "", "1.0.0.0.0", "1.0-foo"],
    "nuget": ["1.0.0.0.0", "", "1.0-", "*"],
    "pub": ["1.2.3.4", "any"],
}


@pytest.mark.parametrize("name", sorted(ASCENDING))
def test_published_examples_ascend(name: str) -> None:
    for lower, higher in pairwise(ASCENDING[name]):
        assert OWN_RULES[name].compare(lower, higher) == -1, (lower, higher)
        assert OWN_RULES[name].compare(higher, lower) == 1


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_spellings_of_one_version_are_equal(name: str) -> None:
    assert len({OWN_RULES[name].key(text) for text in EQUAL[name]}) == 1


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in REFUSED for text in REFUSED[name]])
def test_what_is_no_version_is_refused_by_our_error(name: str, text: str) -> None:
    with pytest.raises(InvalidVersion):
        OWN_RULES[name].key(text)
