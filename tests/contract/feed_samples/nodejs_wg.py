"""npm packages, and Node.js itself."""

from __future__ import annotations

import json

_MINIMATCH = {
    "id": 118,
    "created_at": "2016-05-25",
    "updated_at": "2016-08-09",
    "title": "Regular Expression Denial of Service",
    "author": {"name": "Nick Starke", "website": None, "username": None},
    "module_name": "minimatch",
    "publish_date": "2016-06-20",
    "cves": [],
    "vulnerable_versions": "<=3.0.1",
    "patched_versions": ">=3.0.2",
    "overview": "`minimatch(path, pattern)` is vulnerable in the `pattern` parameter.",
    "recommendation": "Updated to version 3.0.2 or greater",
    "references": ["https://www.owasp.org/index.php/Regular_expression_Denial_of_Service_-_ReDoS"],
    "cvss_vector": "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
    "cvss_score": 7.5,
    "coordinating_vendor": "^Lift Security",
}
_NODE_EXTEND = _MINIMATCH | {
    "id": 490,
    "module_name": "node.extend",
    "cves": ["CVE-2018-16491"],
    "vulnerable_versions": "<2.0.1 || <1.1.7",
    "patched_versions": "^1.1.7 || >= 2.0.1",
    "references": None,
}
_CARES = {
    "cve": ["CVE-2017-1000381"],
    "ref": "https://nodejs.org/en/blog/vulnerability/july-2017-security-releases/",
    "vulnerable": "8.x || 7.x || 4.x || 6.x || 5.x",
    "patched": "^8.1.4 || ^7.10.1 || ^4.8.4 || ^6.11.1",
    "description": "memory overread when parsing invalid NAPTR responses",
    "overview": "The c-ares function ares_parse_naptr_reply() could be triggered to read memory outside.",
    "affectedEnvironments": ["all"],
    "severity": "high",
}
_UNAFFECTED = {
    "cve": ["CVE-2024-7535"],
    "description": "Inappropriate implementation in V8",
    "overview": "The vulnerable code path is not exposed through Node.js APIs.",
    "ref": "https://github.com/nodejs/nodejs-dependency-vuln-assessments/issues/190",
    "reason": "vulnerable_code_not_in_execute_path",
}

SAMPLE = {
    "vuln/npm/118.json": json.dumps(_MINIMATCH, indent=2),
    "vuln/npm/490.json": json.dumps(_NODE_EXTEND, indent=2),
    "vuln/core/1.json": json.dumps(_CARES, indent=2),
}
EXPECTED_KEYS = tuple(SAMPLE)
BROKEN = {
    "vuln/npm/1.json": (json.dumps(_MINIMATCH)[:300], "not-json"),
    "vuln/npm/2.json": (json.dumps(_MINIMATCH | {"id": None}), "no-id"),
    "vuln/npm/3.json": (json.dumps(_MINIMATCH | {"vulnerable_versions": ""}), "schema"),
    "vuln/npm/4.json": (json.dumps(_MINIMATCH | {"module_name": None}), "schema"),
    "vuln/npm/5.json": (json.dumps(_MINIMATCH | {"patched_versions": {"not": "read"}}), "schema"),
    "vuln/core/2.json": (json.dumps(_CARES | {"vulnerable": []}), "schema"),
}
SHARED = ("nodejs-wg", 638, 0)
COUNTS = {"read": 638, "added": 638, "equalKeys": 0, "ignored": 10}
QUIRKS = {
    "no version is patched": (
        "vuln/npm/410.json",
        json.dumps(_MINIMATCH | {"id": 410, "patched_versions": None, "cvss_vector": None, "cvss_score": 2}),
        ["vuln/npm/410.json"],
    ),
    "a CVE has a letter too many": (
        "vuln/npm/12.json",
        json.dumps(_MINIMATCH | {"id": 12, "cves": ["CVE-2014-4671A"]}),
        ["vuln/npm/12.json"],
    ),
}
NO_DOCUMENTS = {
    "vuln/npm/index.json": json.dumps({"118": _MINIMATCH}),
    "vuln/deps/2.json": json.dumps(_UNAFFECTED),
    "package.json": '{"name": "security-wg"}',
}
