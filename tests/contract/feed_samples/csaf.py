"""CSAF: about CVE-2021-44228 and CVE-2024-22042, in the forms of several publishers."""

from __future__ import annotations

import json
from typing import Any


def _document(identifier: str, **parts: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "category": "csaf_security_advisory",
        "csaf_version": "2.0",
        "distribution": {"tlp": {"label": "WHITE", "url": "https://www.first.org/tlp/"}},
        "publisher": {"category": "other", "name": "CISA", "namespace": "https://www.cisa.gov/"},
        "title": "Siemens Unicam FX",
        "tracking": {
            "current_release_date": "2024-02-13T00:00:00.000000Z", "id": identifier,
            "initial_release_date": "2024-02-13T00:00:00.000000Z", "status": "final", "version": "1",
        },
    }  # fmt: skip
    return told | parts


_UNICAM = {
    "document": _document("ICSA-24-046-06"),
    "product_tree": {
        "branches": [
            {"category": "vendor", "name": "Siemens", "branches": [
                {"category": "product_name", "name": "Unicam FX", "branches": [
                    {"category": "product_version_range", "name": "vers:all/*",
                     "product": {"name": "Unicam FX", "product_id": "CSAFPID-0001"}}]}]}
        ]
    },
    "vulnerabilities": [
        {
            "cve": "CVE-2024-22042", "cwe": {"id": "CWE-648", "name": "Incorrect Use of Privileged APIs"},
            "notes": [{"category": "summary", "text": "A local attacker gains SYSTEM privileges.", "title": "Summary"}],
            "product_status": {"known_affected": ["CSAFPID-0001"]},
            "remediations": [{"category": "no_fix_planned", "details": "None.", "product_ids": ["CSAFPID-0001"]}],
            "scores": [{"cvss_v3": {"baseScore": 7.8, "baseSeverity": "HIGH", "version": "3.1",
                                    "vectorString": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
                        "products": ["CSAFPID-0001"]}],
            "title": "CVE-2024-22042",
        }
    ],
}  # fmt: skip

_LOG4SHELL = {
    "document": _document(
        "EXAMPLE-2021-0001", csaf_version="2.1", title="Log4Shell in Example Server",
        distribution={"tlp": {"label": "CLEAR"}}, aggregate_severity={"text": "Critical"},
    ),
    "product_tree": {
        "full_product_names": [
            {"name": "Log4j 2.14", "product_id": "LOG4J",
             "product_identification_helper": {"purls": ["pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"]}},
            {"name": "Example Server", "product_id": "SERVER",
             "product_identification_helper": {"cpe": "cpe:2.3:a:example:server:4:*:*:*:*:*:*:*"}},
        ],
        "relationships": [
            {"category": "default_component_of", "product_reference": "LOG4J", "relates_to_product_reference": "SERVER",
             "full_product_name": {"name": "Log4j in Example Server", "product_id": "SERVER:LOG4J"}},
        ],
    },
    "vulnerabilities": [
        {
            "cve": "CVE-2021-44228", "ids": [{"system_name": "GitHub", "text": "GHSA-jfh8-c2jp-5v3q"}],
            "cwes": [{"id": "CWE-502", "name": "Deserialization of Untrusted Data"}],
            "product_status": {"known_affected": ["SERVER:LOG4J"]},
            "metrics": [{"content": {"cvss_v3": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}},
                         "products": ["SERVER:LOG4J"]}],
            "threats": [{"category": "impact", "details": "Critical"}],
        },
        {"cve": "CVE-2021-45046", "product_status": {"under_investigation": ["SERVER:LOG4J"]}},
    ],
}  # fmt: skip


def _bytes(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _broken(**parts: Any) -> bytes:
    return _bytes({"document": _document("EXAMPLE-BROKEN", **parts)})


SAMPLE: dict[str, bytes | str] = {
    "white/2024/icsa-24-046-06.json": _bytes(_UNICAM),
    "clear/2021/example-2021-0001.json": _bytes(_LOG4SHELL),
}
EXPECTED_KEYS = ("EXAMPLE-2021-0001", "ICSA-24-046-06")
BROKEN: dict[str, tuple[bytes | str, str]] = {
    "cut-off.json": (_bytes(_UNICAM)[:700], "not-json"),
    "no-id.json": (_broken(tracking={"status": "final"}), "no-id"),
    "blank-id.json": (_broken(tracking={"id": " "}), "no-id"),
    "long-id.json": (_broken(tracking={"id": "X" * 300}), "no-id"),
    "headless.json": (_bytes({"product_tree": {}, "vulnerabilities": []}), "schema"),
}
SHARED = ("cisa-csaf", 2383, 0)
COUNTS = {"read": 2383, "added": 2383, "equalKeys": 0, "ignored": 4773}
QUIRKS: dict[str, tuple[str, bytes | str, tuple[str, ...] | str]] = {
    "a stub of a deleted document, as Red Hat leaves it": (
        "2023/cve-2023-0030.json",
        _bytes({"document": {"tracking": {"id": "CVE-2023-0030", "status": "deleted"}}}),
        ("CVE-2023-0030#2023/cve-2023-0030.json",),
    ),
    "vulnerabilities in a list inside a list, as Fortinet writes them": (
        "2017/fg-ir-17-173.json",
        _bytes(
            {
                "document": _document("ICSA-17-173", category="Fortinet PSIRT Advisories"),
                "vulnerabilities": [
                    [{"cve": "CVE-2017-7342", "product_status": {"known_affected": ["no such id"]}}]
                ],
            }
        ),
        ("ICSA-17-173",),
    ),
    "an empty product tree and no vulnerabilities, as SUSE writes them": (
        "1999/cve-1999-0003.json",
        _bytes({"document": _document("CVE-1999-0003"), "product_tree": {}}),
        ("CVE-1999-0003",),
    ),
    "line ends of Windows and capitals in the name, as Cisco publishes": (
        "2024/Cisco-SA-snmp-dos-sdxnSUcW.json",
        _bytes({"document": _document("cisco-sa-snmp-dos-sdxnSUcW")}).replace(b"\n", b"\r\n"),
        ("cisco-sa-snmp-dos-sdxnSUcW",),
    ),
    "a document that is not JSON from some line on, as one of openEuler": (
        "csaf-openeuler-cve-2024-50187.json",
        _bytes(_UNICAM).replace(b'"vulnerabilities"', b"vulnerabilities"),
        "not-json",
    ),
}
NO_DOCUMENTS: dict[str, bytes | str] = {
    "white/index.txt": "2024/icsa-24-046-06.json\n",
    "white/changes.csv": "2024/icsa-24-046-06.json,2024-02-13T00:00:00.000000Z\n",
    "white/cisa-csaf-ot-feed-tlp-white.json": _bytes({"feed": {"entry": []}}),
    "provider-metadata.json": _bytes({"publisher": {"name": "Example"}, "distributions": []}),
    "white/2024/cve-2024-22042.json": _bytes(
        {"dataType": "CVE_RECORD", "cveMetadata": {"cveId": "CVE-2024-22042"}}
    ),
    "white/2024/icsa-24-046-06.json.asc": "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
}
