"""CVE records as the CVE list and CISA's enrichment of it keep them."""

from __future__ import annotations

import json

from tests.support.cves import V31, V31_MEDIUM, V40, cisa, cve, cvss

LEAK = cve(
    "CVE-2023-32681",
    cisa(cvss(V31, 9.8, "CRITICAL"), problemTypes=[{"descriptions": [{"cweId": "CWE-522", "lang": "en"}]}]),
    {
        "title": "CVE Program Container",
        "providerMetadata": {"orgId": "af854a3a-2127-422b-91ae-364da2661108", "shortName": "CVE"},
        "references": [{"url": "https://lists.debian.example/1", "tags": ["x_transferred"]}],
    },
    title="Unintended leak of Proxy-Authorization header in requests",
    metrics=[cvss(V31_MEDIUM, 6.1, "MEDIUM")],
    problemTypes=[
        {"descriptions": [{"cweId": "CWE-200", "description": "CWE-200: Exposure", "type": "CWE"}]}
    ],
    references=[{"url": "https://github.com/psf/requests/security/advisories/GHSA-j8r2-6x86-q33q"}],
)
NEWEST = cve("CVE-2024-45744", metrics=[cvss(V40, 6.9, "MEDIUM", "cvssV4_0")])
SAMPLE = {
    "cves/2023/32xxx/CVE-2023-32681.json": json.dumps(LEAK, indent=4),
    "cves/2024/45xxx/CVE-2024-45744.json": json.dumps(NEWEST),
    "lines.jsonl": json.dumps(cve("CVE-2021-44228")) + "\n" + json.dumps(cve("CVE-2023-44487")) + "\n",
    "array.json": json.dumps([cve("CVE-2019-10099")]),
}
EXPECTED_KEYS = [
    "CVE-2019-10099", "CVE-2021-44228", "CVE-2023-32681", "CVE-2023-44487", "CVE-2024-45744",
]  # fmt: skip
BROKEN = {
    "no-id.json": (json.dumps(cve("CVE-2023-1")), "no-id"),
    "no-cna.json": (json.dumps(cve("CVE-2023-0001") | {"containers": {}}), "schema"),
    "cut.json": (json.dumps(LEAK)[:-20], "not-json"),
}
QUIRKS = {
    "a rejected record has neither scores nor ADPs": (
        "cves/2022/48xxx/CVE-2022-48936.json",
        json.dumps(cve("CVE-2022-48936", state="REJECTED")),
        ["CVE-2022-48936"],
    ),
    "an older data version stands beside the newer one": (
        "CVE-2019-10099.json",
        json.dumps(cve("CVE-2019-10099") | {"dataVersion": "5.0"}),
        ["CVE-2019-10099"],
    ),
}
NO_DOCUMENTS = {
    "cves/delta.json": json.dumps({"fetchTime": "2024-10-09T00:00:00Z", "new": [{"cveId": "CVE-2024-1"}]}),
    "cves/deltaLog.json": "[]",
    "package-lock.json": '{"lockfileVersion": 3}',
}
SHARED = ("vulnrichment-subset", 5224, 0)
COUNTS = {"read": 5224, "added": 5224, "equalKeys": 0}
