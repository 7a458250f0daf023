"""Bills of materials in each form say the same; what cannot be read is refused by our error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories.canonical import Malformed
from stellaops.sboms.component import Component, Platform, Sbom
from stellaops.sboms.feed import SbomFeed
from stellaops.sboms.purl import parse

FEED = SbomFeed()

JSON: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    "metadata": {
        "timestamp": "2026-02-01T10:00:00Z",
        "component": {"type": "container", "name": "shop", "version": "1.2", "purl": "pkg:oci/shop@1.2"},
    },
    "components": [
        {"type": "operating-system", "name": "debian", "version": "12.4"},
        {
            "type": "library",
            "name": "libssl3",
            "version": "3.0.11-1",
            "purl": "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64",
            "properties": [
                {"name": "aquasecurity:trivy:SrcName", "value": "openssl"},
                {"name": "aquasecurity:trivy:SrcVersion", "value": "3.0.11"},
                {"name": "aquasecurity:trivy:SrcRelease", "value": "1"},
            ],
            "components": [
                {"type": "library", "name": "inner", "version": "1", "purl": "pkg:npm/%40acme/inner@1"}
            ],
        },
        {"type": "file", "name": "README"},
    ],
}

XML = """<?xml version="1.0"?>
<bom xmlns="http://cyclonedx.org/schema/bom/1.5" serialNumber="urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79">
  <metadata><timestamp>2026-02-01T10:00:00Z</timestamp>
    <component type="container"><name>shop</name><version>1.2</version><purl>pkg:oci/shop@1.2</purl></component>
  </metadata>
  <components>
    <component type="operating-system"><name>debian</name><version>12.4</version></component>
    <component type="library"><name>libssl3</name><version>3.0.11-1</version>
      <purl>pkg:deb/debian/libssl3@3.0.11-1?arch=amd64</purl>
      <components><component type="library"><name>inner</name><version>1</version>
        <purl>pkg:npm/%40acme/inner@1</purl></component></components>
      <properties>
        <property name="aquasecurity:trivy:SrcName">openssl</property>
        <property name="aquasecurity:trivy:SrcVersion">3.0.11</property>
        <property name="aquasecurity:trivy:SrcRelease">1</property>
      </properties>
    </component>
    <component type="file"><name>README</name></component>
  </components>
</bom>"""

SPDX: dict[str, Any] = {
    "spdxVersion": "SPDX-2.3",
    "name": "shop",
    "documentNamespace": "https://example.org/shop",
    "creationInfo": {"created": "2026-02-01T10:00:00Z"},
    "packages": [
        {"SPDXID": "SPDXRef-OperatingSystem-1", "name": "debian", "versionInfo": "12.4"},
        {
            "SPDXID": "SPDXRef-1",
            "name": "libssl3",
            "versionInfo": "3.0.11-1",
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": "pkg:deb/debian/libssl3@3.0.11-1?upstream=openssl%403.0.11-1",
                }
            ],
        },
    ],
    "relationships": [
        {
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-1",
        }
    ],
}

TAGS = """SPDXVersion: SPDX-2.3
DocumentName: shop
DocumentNamespace: https://example.org/shop
Created: 2026-02-01T10:00:00Z
PackageName: debian
SPDXID: SPDXRef-OperatingSystem-1
PackageVersion: 12.4
PackageName: libssl3
SPDXID: SPDXRef-1
PackageVersion: 3.0.11-1
PackageComment: <text>Two lines:
PackageName: of a comment</text>
ExternalRef: PACKAGE-MANAGER purl pkg:deb/debian/libssl3@3.0.11-1?upstream=openssl%403.0.11-1
Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-1
"""

SSL = Component("pkg:deb/debian/libssl3@3.0.11-1?arch=amd64", "libssl3", "3.0.11-1", "openssl", "3.0.11-1")


def read(path: str, content: str | dict[str, Any]) -> Sbom | None:
    raw = (content if isinstance(content, str) else json.dumps(content)).encode()
    return FEED.read(FEED.canonical(path, raw).parsed)


def test_cyclonedx_says_the_same_as_json_and_as_xml() -> None:
    found = read("a.json", JSON)
    assert found is not None
    assert found == read("a.xml", XML)
    assert found.id == "pkg:oci/shop@1.2"
    assert found.platform == Platform("debian", "12.4")
    assert found.published == "2026-02-01T10:00:00Z"
    assert SSL in found.components
    assert Component("pkg:npm/%40acme/inner@1", "inner", "1") in found.components
    assert Component("", "README", "") in found.components


def test_spdx_says_the_same_as_json_and_as_tag_value() -> None:
    found = read("a.json", SPDX)
    assert found is not None
    assert found == read("a.spdx", TAGS)
    assert found.id == "pkg:deb/debian/libssl3@3.0.11-1?upstream=openssl%403.0.11-1"
    assert found.platform == Platform("debian", "12.4")
    (only,) = found.components
    assert (only.source_name, only.source_version) == ("openssl", "3.0.11-1")


def test_the_platform_is_told_from_package_urls_where_no_component_tells_it() -> None:
    purl = "pkg:alpine/zlib@1.2.12-r3?arch=x86_64&distro=alpine-3.16.2"
    found = read("a.json", {**JSON, "components": [{"type": "library", "name": "zlib", "purl": purl}]})
    assert found is not None
    assert found.platform == Platform("alpine", "3.16.2")


def test_two_operating_systems_are_none() -> None:
    systems = [{"type": "operating-system", "name": "debian", "version": v} for v in ("11", "12")]
    found = read("a.json", {**JSON, "components": systems})
    assert found is not None
    assert found.platform is None


def test_order_of_components_does_not_matter() -> None:
    turned = {**JSON, "components": list(reversed(JSON["components"]))}
    assert read("a.json", turned) == read("a.json", JSON)


def test_vex_without_components_is_no_bill_of_materials() -> None:
    vex = {"bomFormat": "CycloneDX", "specVersion": "1.5", "vulnerabilities": []}
    assert not FEED.recognises("a.json", json.dumps(vex).encode())
    assert read("a.json", vex) is None


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a.xml", XML.replace("<bom", '<!DOCTYPE b [<!ENTITY a "b">]><bom'), "xml-declarations"),
        ("a.xml", XML[:-20], "not-xml"),
        ("a.xml", XML.replace("<file>", "") + "x", "not-xml"),
        ("a.xml", XML.replace("<components>", "<c>" * 200, 1), "too-deep"),
        ("a.json", '{"bomFormat": "CycloneDX", "components": [', "not-json"),
        ("a.json", '{"bomFormat": "CycloneDX", "components": []}', "no-id"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(path: str, content: str, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(path, content)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("text", "full", "version"),
    [
        ("pkg:npm/%40angular/core@1.0", "@angular/core", "1.0"),
        ("pkg:npm/@angular/core@1.0", "@angular/core", "1.0"),
        ("pkg:npm/@angular/core", "@angular/core", ""),
        ("PKG:golang/golang.org/x/net@v0.17.0#http2", "golang.org/x/net", "v0.17.0"),
        ("pkg://deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64", "debian/g++", "4:12.2.0-3"),
    ],
)
def test_package_urls_are_taken_apart(text: str, full: str, version: str) -> None:
    found = parse(text)
    assert found is not None
    assert (found.full_name, found.version) == (full, version)
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "npm/x", "pkg:", "pkg:npm", "pkg:npm/", "pkg:npm/" + "x" * 5000])
def test_what_is_no_package_url_is_none(text: str) -> None:
    assert parse(text) is None
