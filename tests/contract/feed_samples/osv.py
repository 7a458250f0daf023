"""OSV documents in every container that buckets and repositories use."""

from __future__ import annotations

import json
from typing import Any

_GO: dict[str, Any] = {
    "id": "GO-2020-0017",
    "modified": "0001-01-01T00:00:00Z",
    "published": "2021-04-14T20:04:52Z",
    "aliases": ["CVE-2020-26160", "GHSA-w73w-5m7g-f7qc"],
    "summary": "Authorization bypass in github.com/dgrijalva/jwt-go",
    "affected": [
        {
            "package": {"name": "github.com/dgrijalva/jwt-go", "ecosystem": "Go"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-20150717181359-44718f8a89b0"}]}],
        }
    ],
}
_RUST: dict[str, Any] = {
    "id": "RUSTSEC-2020-0071",
    "modified": "2023-06-13T13:10:24Z",
    "aliases": ["CVE-2020-26235", "GHSA-wcg3-cvx6-7396"],
    "affected": [
        {
            "package": {"ecosystem": "crates.io", "name": "time"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.1.0"}, {"fixed": "0.2.23"}]}],
        }
    ],
}
_PYPI = """\
id: PYSEC-2021-66
details: Jinja2 before 2.11.3 is open to a regular expression denial of service.
aliases: [CVE-2020-28493, GHSA-g3rq-g295-4j3m]
modified: "2021-02-11T20:32:00Z"
affected:
- package: {name: jinja2, ecosystem: PyPI}
  ranges:
  - type: ECOSYSTEM
    events:
    - introduced: "0"
    - fixed: 2.11.3
  versions: ["2.10", "2.11"]
"""

SAMPLE = {
    "go/GO-2020-0017.json": json.dumps(_GO),
    "crates.io/all.jsonl": f"{json.dumps(_RUST)}\n{json.dumps(_RUST | {'id': 'RUSTSEC-2020-0159'})}\n",
    "pypi/PYSEC-2021-66.yaml": _PYPI,
    "several.json": json.dumps([_GO | {"id": "GO-2020-0018"}, _RUST | {"id": "RUSTSEC-2020-0052"}]),
}
EXPECTED_KEYS = (
    "GO-2020-0017",
    "GO-2020-0018",
    "PYSEC-2021-66",
    "RUSTSEC-2020-0052",
    "RUSTSEC-2020-0071",
    "RUSTSEC-2020-0159",
)
BROKEN = {
    "cut.json": (json.dumps(_GO)[:-40], "not-json"),
    "latin.json": (json.dumps(_GO).encode().replace(b"Authorization", b"Autoris\xe9"), "not-utf-8"),
    "nameless.json": (json.dumps({**_GO, "id": ""}), "no-id"),
    "typed.json": (json.dumps({**_GO, "affected": "everything"}), "schema"),
}
SHARED = ("ghsa-sample", 13, 0)
QUIRKS = {
    "modified is in year 1": ("go/a.json", json.dumps(_GO), ["GO-2020-0017"]),
    "aliases have blanks around them": (
        "b.json",
        json.dumps(_RUST | {"aliases": [" CVE-2020-26235 "]}),
        ["RUSTSEC-2020-0071"],
    ),
    "an id holds a colon": ("c.json", json.dumps(_RUST | {"id": "ALSA-2024:8127"}), ["ALSA-2024:8127"]),
    "a range has no events": (
        "d.json",
        json.dumps(
            _RUST | {"affected": [{"package": _RUST["affected"][0]["package"], "ranges": [{"events": []}]}]}
        ),
        ["RUSTSEC-2020-0071"],
    ),
}
NO_DOCUMENTS = {"index.json": "{}", "LICENSE": "CC-BY-4.0", "all/README.md": "# Advisories\n"}
