"""CVEs of the NVD: a page of its API, and files with one each as mirrors keep them."""

from __future__ import annotations

import json

from tests.support.cves import V2, V31, nvd, nvd_metric, nvd_metric_2, page

LEAK = nvd("CVE-2023-32681", {"cvssMetricV31": [nvd_metric(V31, 9.8, "CRITICAL")]})
OLD = nvd("CVE-1999-0001", {"cvssMetricV2": [nvd_metric_2(V2, 10.0, "HIGH")]})
SAMPLE = {
    "page-0.json": page(LEAK, OLD, indent=2),
    "CVE-2021/CVE-2021-442xx/CVE-2021-44228.json": json.dumps(nvd("CVE-2021-44228"), indent=2),
    "wrapped.json": json.dumps({"cve": nvd("CVE-2023-44487")}),
}
EXPECTED_KEYS = ["CVE-1999-0001", "CVE-2021-44228", "CVE-2023-32681", "CVE-2023-44487"]
BROKEN = {
    "no-id.json": (page(nvd("CVE-2023-1")), "no-id"),
    "cut.json": (page(LEAK)[:-3], "not-json"),
    "surrogate.json": (page(nvd("CVE-2020-0001")).replace(b"Todo", b"\xff"), "not-utf-8"),
}
QUIRKS = {
    "one CVE as a page and as a file is one record": (
        "again/CVE-1999-0001.json",
        json.dumps({"vulnerabilities": [{"cve": OLD}]}),
        ["CVE-1999-0001"],
    ),
    "a CVE that is not UTF-16 does not cost its neighbours": (
        "page-1.json",
        page(OLD, nvd("CVE-2020-0002")).replace(b"Todo", b"\\ud800"),
        ["CVE-1999-0001", "CVE-2020-0002"],
    ),
}
NO_DOCUMENTS = {
    "overrides/CVE-2007-2379.json": json.dumps(
        {"_annotation": {"cve_id": "CVE-2007-2379"}, "cve": {"configurations": [{"nodes": []}]}}
    ),
    "empty.json": "{}",
}
SHARED = None
