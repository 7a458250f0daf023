"""What statements are about, in a form that can be compared."""

from __future__ import annotations

import pytest

from stellaops.vex.products import LONGEST, applies, best, bounded, identify, package_of, product


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("pkg:golang/k8s.io/api@v0.27.1", "pkg:golang/k8s.io/api@v0.27.1"),
        ("PKG:Golang//k8s.io/api", "pkg:golang/k8s.io/api"),
        ("pkg:pypi/Django_Rest@4.2", "pkg:pypi/django-rest@4.2"),
        ("pkg:deb/debian/openssl@3.0.11-1?distro=bookworm&arch=amd64&x=",
         "pkg:deb/debian/openssl@3.0.11-1?arch=amd64&distro=bookworm"),
        ("pkg:oci/dhi%2fredis", "pkg:oci/dhi%2Fredis"),
        ("pkg:npm/@angular/core@16.0.0", "pkg:npm/%40angular/core@16.0.0"),
        ("pkg:npm/%40angular/core@16.0.0", "pkg:npm/%40angular/core@16.0.0"),
        ("pkg:oci/nginx@sha256%3A13d2?repository_url=docker.io%2Flibrary%2Fnginx",
         "pkg:oci/nginx@sha256:13d2?repository_url=docker.io/library/nginx"),
        ("pkg:dhi/node#bin/../node", "pkg:dhi/node#bin/node"),
        ("cpe:2.3:A:Haxx:Curl:8.4.0:*:*:*:*:*:*:*", "cpe:2.3:a:haxx:curl:8.4.0:*:*:*:*:*:*:*"),
        (" plain id ", "plain id"),
    ],
)  # fmt: skip
def test_package_urls_written_in_several_ways_become_one(written: str, canonical: str) -> None:
    assert identify(written) == canonical
    assert identify(canonical) == canonical


@pytest.mark.parametrize(
    ("identity", "package"),
    [
        ("pkg:npm/%40angular/core@16.0.0?a=b", "pkg:npm/%40angular/core"),
        ("pkg:golang/k8s.io/api", "pkg:golang/k8s.io/api"),
        ("cpe:2.3:a:haxx:curl:8.4.0:*:*:*:*:*:*:*", "cpe:2.3:a:haxx:curl"),
        ("cpe:/a:haxx:curl:8.4.0", "cpe:/a:haxx:curl"),
        ("a product", "a product"),
    ],
)
def test_the_package_is_the_identity_without_what_tells_versions_apart(identity: str, package: str) -> None:
    assert package_of(identity) == package


@pytest.mark.parametrize(
    ("stated", "asked", "holds"),
    [
        ("pkg:deb/debian/curl", "pkg:deb/debian/curl@7.88.1", True),
        ("pkg:deb/debian/curl@7.88.1", "pkg:deb/debian/curl@7.88.1?arch=amd64", True),
        ("pkg:deb/debian/curl@7.88.1", "pkg:deb/debian/curl@8.0.0", False),
        ("pkg:deb/debian/curl@7.88.1?arch=arm64", "pkg:deb/debian/curl@7.88.1?arch=amd64", False),
        ("pkg:deb/debian/curl@7.88.1?arch=arm64", "pkg:deb/debian/curl@7.88.1", False),
        ("pkg:deb/debian/curl", "pkg:deb/ubuntu/curl", False),
        ("pkg:golang/x#a", "pkg:golang/x@1#b", False),
        ("one", "one", True),
        ("one", "two", False),
    ],
)
def test_a_statement_holds_for_what_it_leaves_open(stated: str, asked: str, holds: bool) -> None:
    assert applies(stated, asked) is holds


def test_a_product_without_package_urls_goes_by_cpe_then_hash_then_name() -> None:
    assert [each.identity for each in best((), ("cpe:/a:haxx:curl",), ("sha-256:ab",), "curl")] == [
        "cpe:/a:haxx:curl"
    ]
    assert [each.identity for each in best((), (), ("sha-256:ab",), "curl")] == ["sha-256:ab"]
    assert [each.identity for each in best((), (), (), "curl")] == ["curl"]
    assert best((), (), (), "") == ()
    assert product("pkg:deb/debian/curl", ("cpe:/a:haxx:curl",)).others == ("cpe:/a:haxx:curl",)


def test_a_name_too_long_for_an_index_ends_in_its_digest() -> None:
    one, other = ("x" * 3000) + "1", ("x" * 3000) + "2"
    assert len(bounded(one)) <= LONGEST
    assert bounded(one) != bounded(other)
    assert bounded("short") == "short"
