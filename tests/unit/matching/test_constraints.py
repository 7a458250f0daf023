"""Which versions a constraint stands for, by examples from the documentation of each ecosystem."""

from __future__ import annotations

import pytest

from stellaops.matching.constraints import BadConstraint, satisfies
from stellaops.matching.versions.interface import InvalidVersion

# Ecosystem, constraint, versions inside, versions outside.
VECTORS = [
    ("npm", "^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-rc.1"]),
    ("npm", "^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
    ("npm", "^0.0.3", ["0.0.3"], ["0.0.4"]),
    ("npm", "~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
    ("npm", "1.x", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.9"]),
    ("npm", "<=1.2", ["1.2.9", "1.0.0"], ["1.3.0"]),
    ("npm", ">1.2", ["1.3.0"], ["1.2.9"]),
    ("npm", ">=1.0.0 <2.0.0 || >=3.0.0", ["1.5.0", "3.1.0"], ["2.5.0", "0.1.0"]),
    ("npm", "*", ["0.0.1", "9.9.9"], []),
    ("pip", ">=3.0, <3.1.3", ["3.0", "3.1.2"], ["3.1.3", "2.9"]),
    ("pip", "=3.1.2", ["3.1.2", "3.1.2.0"], ["3.1.2.post1", "3.1.3"]),
    ("pip", "1.4.*", [], []),
    ("pip", "==1.4.*", ["1.4.1", "1.4"], ["1.5"]),
    ("pip", "~=1.4.2", ["1.4.2", "1.4.9"], ["1.5", "1.4.1"]),
    ("pip", "<2.0", ["1.9", "2.0a1"][:1], ["2.0", "2.0.post1"]),
    ("pip", "<0 || >=0", ["1.0", "2!0.1"], []),
    ("rubygems", "~> 1.2.3", ["1.2.3", "1.2.10"], ["1.3.0", "1.3.0.rc1", "1.2.2"]),
    ("rubygems", "~> 1.2", ["1.2", "1.9"], ["2.0"]),
    ("rubygems", ">= 2.0.0.pre, < 2.1", ["2.0.0.rc1", "2.0.9"], ["2.1", "1.9"]),
    ("erlang", "~> 1.2", ["1.2.0", "1.9.9"], ["2.0.0"]),
    ("composer", ">=1.0,<1.2", ["1.1.0", "1.1.0-p1", "1.2.0-RC1"], ["1.2", "0.9"]),
    ("cargo", "^0.6.1", ["0.6.1", "0.6.9"], ["0.7.0"]),
    ("go", ">=1.0.0, <1.2.0", ["v1.1.0+incompatible", "1.0.0"], ["v1.2.0", "0.9.0"]),
    ("go", "<0.17.0", ["v0.0.0-20220722155237-a158d28d115b"], ["v0.17.0"]),
    ("maven", ">=2.0-beta9, <2.12.2", ["2.0-beta9", "2.12.1", "2.12.2-SNAPSHOT"], ["2.12.2", "2.0-beta8"]),
    ("nuget", "<4.7.0", ["4.6.9", "4.7.0-RC1"], ["4.7.0", "4.7.0.0"]),
    ("pub", "<1.0.0", ["0.9.9", "1.0.0-dev"], ["1.0.0", "1.0.0+1"]),
    ("bitnami", "<1.2.3", ["1.2.2", "1.2.2-9"], ["1.2.3", "1.2.3-1"]),
    ("go", "!=1.0.0", ["1.0.1"], ["1.0.0"]),
]


@pytest.mark.parametrize(("ecosystem", "constraint", "inside", "outside"), VECTORS)
def test_a_constraint_holds_what_its_ecosystem_says(
    ecosystem: str, constraint: str, inside: list[str], outside: list[str]
) -> None:
    assert [text for text in inside if not satisfies(ecosystem, constraint, text)] == []
    assert [text for text in outside if satisfies(ecosystem, constraint, text)] == []


@pytest.mark.parametrize(
    ("ecosystem", "constraint"),
    [("npm", "latest"), ("npm", ">=a.b"), ("pip", ">=1.0 foo"), ("pip", ""), ("go", "<<1"), ("go", ""),
     ("maven", "[1,2)"), ("rubygems", "~> x"), ("npm", "1.x.2")],
)  # fmt: skip
def test_what_is_no_constraint_is_refused(ecosystem: str, constraint: str) -> None:
    with pytest.raises(BadConstraint):
        satisfies(ecosystem, constraint, "1.0.0")


@pytest.mark.parametrize(("ecosystem", "version"), [("pip", "banana"), ("npm", "(devel)"), ("go", "(devel)")])
def test_what_is_no_version_is_refused(ecosystem: str, version: str) -> None:
    with pytest.raises(InvalidVersion):
        satisfies(ecosystem, ">=1.0.0", version)
