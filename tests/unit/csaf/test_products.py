"""Product trees: what the ids in statements stand for."""

from __future__ import annotations

from typing import Any

import pytest

from stellaops.csaf.products import FileHash, read_tree
from stellaops.csaf.vers import Bound, VersionRange, parse


def branch(
    category: str, name: str, *inner: dict[str, Any], product: dict[str, Any] | None = None
) -> dict[str, Any]:
    told: dict[str, Any] = {"category": category, "name": name}
    if inner:
        told["branches"] = list(inner)
    if product:
        told["product"] = product
    return told


def product(identifier: str, **helper: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"name": f"the product {identifier}", "product_id": identifier}
    return told | ({"product_identification_helper": helper} if helper else {})


def related(
    identifier: str, component: str, platform: str, category: str = "default_component_of"
) -> dict[str, Any]:
    return {
        "category": category, "product_reference": component, "relates_to_product_reference": platform,
        "full_product_name": product(identifier),
    }  # fmt: skip


RHEL = {
    "branches": [
        branch(
            "vendor", "Red Hat",
            branch("product_name", "RHEL 8", product=product("rhel8", cpe="cpe:/o:redhat:enterprise_linux:8::baseos")),
            branch(
                "architecture", "x86_64",
                branch(
                    "product_version", "curl-0:7.61.1-30.el8.x86_64",
                    product=product("curl.x86_64", purl="pkg:rpm/redhat/curl@7.61.1-30.el8?arch=x86_64"),
                ),
            ),
        )
    ],
    "relationships": [related("rhel8:curl.x86_64", "curl.x86_64", "rhel8")],
}  # fmt: skip


def test_a_product_knows_the_branches_that_lead_to_it() -> None:
    (found,) = read_tree(RHEL).products["curl.x86_64"]
    assert found.branches == (
        ("vendor", "Red Hat"), ("architecture", "x86_64"), ("product_version", "curl-0:7.61.1-30.el8.x86_64"),
    )  # fmt: skip
    assert (found.vendor, found.branch("architecture"), found.branch("language")) == ("Red Hat", "x86_64", "")
    assert found.version == "curl-0:7.61.1-30.el8.x86_64"


def test_a_relationship_comes_down_to_its_component_on_its_platform() -> None:
    identity = read_tree(RHEL).identify("rhel8:curl.x86_64")
    assert [one.id for one in identity.component] == ["curl.x86_64"]
    assert [one.id for one in identity.platforms] == ["rhel8"]
    assert identity.purls == ("pkg:rpm/redhat/curl@7.61.1-30.el8?arch=x86_64",)
    assert identity.cpes == ()
    assert identity.platform_cpes == ("cpe:/o:redhat:enterprise_linux:8::baseos",)


def test_a_component_of_a_component_is_followed_to_the_end() -> None:
    tree = read_tree(
        {
            "full_product_names": [
                product("lib", purl="pkg:npm/lib@1"),
                product("app"),
                product("os", cpe="cpe:/o:x:os"),
            ],
            "relationships": [
                related("app:lib", "lib", "app"),
                related("os:app:lib", "app:lib", "os", "installed_on"),
            ],
        }
    )
    identity = tree.identify("os:app:lib")
    assert [one.id for one in identity.component] == ["lib"]
    assert [one.id for one in identity.platforms] == ["os", "app"]
    assert identity.purls == ("pkg:npm/lib@1",)


@pytest.mark.parametrize(
    "relationships",
    [
        [related("a", "a", "a")],
        [related("a", "b", "b"), related("b", "a", "a")],
        [related("a", "nowhere", "nowhere")],
    ],
)
def test_circles_and_undefined_references_end_the_way(relationships: list[dict[str, Any]]) -> None:
    tree = read_tree({"relationships": relationships})
    assert tree.identify("a").component == ()
    assert tree.identify("never heard of").platforms == ()


def test_an_id_that_is_defined_twice_keeps_both_meanings() -> None:
    tree = read_tree(
        {
            "branches": [
                branch("product_version", version, product=product("P1")) for version in ("6.0.1", "6.0.2")
            ]
        }
    )
    assert [one.version for one in tree.identify("P1").component] == ["6.0.1", "6.0.2"]


def test_a_hostile_tree_costs_no_more_than_its_size() -> None:
    links = [related(f"P{number}", f"P{number + 1}", f"P{number + 2}") for number in range(20_000)]
    again = [product("same", cpe=f"cpe:/a:x:{number}") for number in range(20_000)]
    around = [related(f"Q{number}", "same", "same") for number in range(2_000)]
    tree = read_tree({"relationships": [*links, *around], "full_product_names": again})
    assert len(tree.products) == 22_001
    assert all(
        tree.identify(name).component == () for name in list(tree.products)[:20_000:10] if name != "same"
    )
    assert max(len(tree.identify(f"Q{number}").platforms) for number in range(2_000)) < 100


def test_groups_stand_for_their_members() -> None:
    tree = read_tree({"product_groups": [{"group_id": "G", "product_ids": ["A", "B"]}]})
    assert tree.expand(["B", "C"], ["G", "no such group"]) == ("B", "C", "A")


def test_all_ways_to_identify_a_product_are_read_in_both_versions() -> None:
    helper = {
        "purls": ["pkg:npm/a@1", "pkg:npm/b@1"], "cpe": "cpe:2.3:a:x:y:*:*:*:*:*:*:*:*", "skus": ["S-1"],
        "model_numbers": ["6RA80*"], "serial_numbers": ["0815"], "sbom_urls": ["https://example.com/a.spdx"],
        "hashes": [{"filename": "a.bin", "file_hashes": [{"algorithm": "SHA256", "value": "AB" * 32}]}],
    }  # fmt: skip
    (found,) = read_tree({"full_product_names": [product("P", **helper)]}).products["P"]
    assert found.helper.purls == ("pkg:npm/a@1", "pkg:npm/b@1")
    assert found.helper.hashes == (FileHash("a.bin", "sha256", "ab" * 32),)
    assert (found.helper.skus, found.helper.model_numbers) == (("S-1",), ("6RA80*",))
    assert (found.helper.serial_numbers, found.helper.sbom_urls) == (
        ("0815",),
        ("https://example.com/a.spdx",),
    )


@pytest.mark.parametrize(
    "tree", [None, [], "x", {}, {"branches": "x", "relationships": [None, 3, {}], "product_groups": [[]]},
             {"branches": [{"product": [], "branches": [[{"category": 1, "name": None}]]}]}],
)  # fmt: skip
def test_a_tree_of_any_form_is_read_as_far_as_it_goes(tree: Any) -> None:
    assert read_tree(tree).products == {}


def test_the_versions_of_a_product_are_those_of_its_innermost_branch() -> None:
    tree = read_tree(
        {"branches": [
            branch("product_name", "FortiOS", branch("product_version_range", ">=7.0.0|<=7.0.5", product=product("R")),
                   branch("product_version", "6.4.8", product=product("V")),
                   branch("product_version_range", "before the patch", product=product("W")),
                   product=product("N")),
        ]}
    )  # fmt: skip
    versions = {name: tree.products[name][0].versions for name in "RVWN"}
    assert versions == {
        "R": VersionRange("", (Bound(">=", "7.0.0"), Bound("<=", "7.0.5"))),
        "V": VersionRange("", (Bound("=", "6.4.8"),)),
        "W": None,
        "N": None,
    }


@pytest.mark.parametrize(
    ("text", "scheme", "bounds"),
    [
        ("vers:all/*", "all", []),
        ("vers:none/", "none", []),
        ("vers:npm/*", "npm", []),
        ("vers:npm/1.2.3|>=2.0.0|<5.0.0", "npm", [("=", "1.2.3"), (">=", "2.0.0"), ("<", "5.0.0")]),
        ("vers:PyPI/!=1.0%2Blocal", "pypi", [("!=", "1.0+local")]),
        ("vers:all/<V9.2 SP2 Upd1", "", [("<", "V9.2 SP2 Upd1")]),
        ("<V7.23.37", "", [("<", "V7.23.37")]),
        ("<= 6.08.01.349", "", [("<=", "6.08.01.349")]),
        (">= 7.0 | < 7.1", "", [(">=", "7.0"), ("<", "7.1")]),
        (">=1.0, <2.0", "", [(">=", "1.0"), ("<", "2.0")]),
        ("All versions < V4.33", "", [("<", "V4.33")]),
        ("All versions", "all", []),
    ],
)
def test_version_ranges_are_read(text: str, scheme: str, bounds: list[tuple[str, str]]) -> None:
    assert parse(text) == VersionRange(scheme, tuple(Bound(*bound) for bound in bounds))


@pytest.mark.parametrize(
    "text", ["", "prior to 5", "vers:", "vers:npm/", "vers:npm/>=", "<", ">=1|>", "1.2.3", "1SAP | G1 with BSP <= 1.76",
             "All versions with U-Boot < V2016.05RS09", "vers:npm/>=1|*", "<=>1"],
)  # fmt: skip
def test_what_cannot_be_read_is_not_guessed_at(text: str) -> None:
    assert parse(text) is None


def test_everything_and_nothing_are_told_apart() -> None:
    everything, nothing, some = parse("vers:all/*"), parse("vers:none/"), parse("vers:npm/<1")
    assert everything is not None
    assert nothing is not None
    assert some is not None
    assert (everything.everything, nothing.everything, some.everything) == (True, False, False)
