"""Hex packages."""

from __future__ import annotations

SAMPLE = {
    "packages/phoenix/GHSA-p8f7-22gq-m7j9.yml": """\
---
description: Phoenix before 1.6.14 mishandles check_origin wildcarding.
disclosure_date: 2022-10-17
first_patched_versions:
  - 1.6.14
id: GHSA-p8f7-22gq-m7j9
link: https://github.com/advisories/GHSA-p8f7-22gq-m7j9
package: phoenix
severity: high
title: Phoenix before 1.6.14 mishandles check_origin wildcarding
vulnerable_version_ranges:
  - < 1.6.14
""",
    "packages/plug/GHSA-2q6v-32mr-8p8x.yml": """\
---
description: Plug.Static is vulnerable to a null byte attack.
disclosure_date: 2022-05-17
first_patched_versions:
  - 1.3.2
  - 1.0.4
id: GHSA-2q6v-32mr-8p8x
link: https://github.com/advisories/GHSA-2q6v-32mr-8p8x
package: plug
severity: moderate
title: Null byte injection
vulnerable_version_ranges:
  - ">= 1.3.0, < 1.3.2"
  - "< 1.0.4"
""",
}
EXPECTED_KEYS = tuple(SAMPLE)
_PLUG = SAMPLE["packages/plug/GHSA-2q6v-32mr-8p8x.yml"]
BROKEN = {
    "packages/a/GHSA-a.yml": (_PLUG.replace("id: GHSA-2q6v-32mr-8p8x\n", ""), "no-id"),
    "packages/b/GHSA-b.yml": (_PLUG.replace("package: plug\n", ""), "schema"),
    "packages/c/GHSA-c.yml": (
        _PLUG.partition("vulnerable_")[0] + "vulnerable_version_ranges: []\n",
        "schema",
    ),
    "packages/d/GHSA-d.yml": (_PLUG.partition("vulnerable_")[0] + "vulnerable_version_ranges: [", "not-yaml"),
}
SHARED = ("elixir-yaml", 108, 0)
COUNTS = {"read": 108, "added": 108, "equalKeys": 0, "ignored": 1}
QUIRKS = {
    "the first patched versions are null": (
        "packages/esaml/GHSA-4g2h-vm7x-747c.yml",
        _PLUG.replace("  - 1.3.2\n  - 1.0.4\n", "  - \n").replace("2q6v-32mr-8p8x", "4g2h-vm7x-747c"),
        ["packages/esaml/GHSA-4g2h-vm7x-747c.yml"],
    ),
}
NO_DOCUMENTS = {".formatter.exs": "[]", "mix.exs": "defmodule A do end\n", "config/a.yml": "a: 1\n"}
