"""The list of libraries, and that of npm packages."""

from __future__ import annotations

import json
from typing import Any

_EXAMPLE: dict[str, Any] = {
    "vulnerabilities": [
        {"ranges": [{"below": "0.0.2"}], "identifiers": {"CVE": ["CVE-XXXX-XXXX"], "bug": "1234"}}
    ],
    "extractors": {"func": ["retire.VERSION"]},
}
_JQUERY: dict[str, Any] = {
    "npmname": "jquery",
    "vulnerabilities": [
        {
            "ranges": [{"below": "1.6.3"}],
            "summary": "XSS with location.hash",
            "identifiers": {"CVE": ["CVE-2011-4969"], "githubID": "GHSA-579v-mp3v-rrw5"},
            "severity": "medium",
            "cwe": ["CWE-79"],
            "info": ["https://nvd.nist.gov/vuln/detail/CVE-2011-4969"],
        },
        {
            "ranges": [{"atOrAbove": "1.0.3", "below": "1.12.0"}, {"atOrAbove": "2.0.0", "below": "2.2.0"}],
            "summary": "jQuery 1.x and 2.x are End-of-Life “and no longer receive security updates”",
            "identifiers": {"retid": "73", "issue": "162"},
            "severity": "low",
            "info": ["https://github.com/jquery/jquery.com/issues/162"],
        },
    ],
    "extractors": {"func": ["jQuery.fn.jquery"]},
}
_UA = {
    "vulnerabilities": [
        {"ranges": [{"below": "0.7.22"}], "identifiers": {"CVE": ["CVE-2020-7733"]}, "severity": "high"},
        {
            "ranges": [{"atOrAbove": "0.8.0", "below": "0.8.1"}],
            "identifiers": {"CVE": ["CVE-2020-7733"]},
            "severity": "high",
        },
    ]
}
_NPM = {
    "retire-example": {"vulnerabilities": [{"atOrAbove": "0.0.1", "below": "0.0.2", "info": ["http://a/"]}]},
    "angular": {
        "vulnerabilities": [
            {
                "below": "1.8.0",
                "severity": "medium",
                "identifiers": {"summary": "cross site scripting", "CVE": ["CVE-2020-7676"]},
                "info": ["https://nvd.nist.gov/vuln/detail/CVE-2020-7676"],
            },
            {
                "atOrAbove": "1.5.0",
                "below": "1.6.9",
                "severity": "low",
                "identifiers": {"summary": "XSS through SVG if enableSvg is set"},
                "info": ["https://vulnerabledoma.in/ngSanitize1.6.8_bypass.html"],
            },
        ]
    },
}
_MASTER = {"retire-example": _EXAMPLE, "jquery": _JQUERY, "ua-parser-js": _UA}

SAMPLE = {
    "repository/jsrepository-master.json": json.dumps(_MASTER, indent=2, ensure_ascii=False),
    "repository/npmrepository.json": json.dumps(_NPM, indent="\t"),
}
EXPECTED_KEYS = (
    "retire.js:jquery:CVE-2011-4969",
    "retire.js:jquery:retid-73",
    "retire.js:ua-parser-js:CVE-2020-7733",
    "retire.js:ua-parser-js:CVE-2020-7733:0.8.0..0.8.1",
    "retire.js-npm:angular:CVE-2020-7676",
    "retire.js-npm:angular:https://vulnerabledoma.in/ngSanitize1.6.8_bypass.html",
)
BROKEN = {
    "repository/cut.json": (json.dumps(_MASTER)[:-30], "not-json"),
    "repository/no-versions.json": (json.dumps({"a": {"vulnerabilities": [{"summary": "s"}]}}), "schema"),
    "repository/texts.json": (json.dumps({"a": {"vulnerabilities": ["all"]}}), "schema"),
}
SHARED = ("retirejs", 1027, 0)
COUNTS = {"read": 1027, "added": 1027, "equalKeys": 0, "ignored": 11}
QUIRKS = {
    "a vulnerability has no name at all": (
        "repository/jsrepository-master.json",
        json.dumps({"a": {"vulnerabilities": [{"ranges": []}], "extractors": {}}}),
        ["retire.js:a:unnamed"],
    ),
}
NO_DOCUMENTS = {
    "repository/jsrepository.json": json.dumps(_MASTER),
    "repository/jsrepository-v4.json": json.dumps(_MASTER),
    "repository/jsrepository-v6-combined.json": json.dumps({"advisories": _MASTER, "backdoored": {}}),
    "repository/jsrepository-backdoored.json": json.dumps(
        {"polyfill.io": [{"summary": "s", "extractors": []}]}
    ),
}
