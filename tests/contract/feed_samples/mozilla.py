"""YAML with several vulnerabilities, and older Markdown."""

from __future__ import annotations

SAMPLE = {
    "announce/2025/mfsa2025-01.yml": """\
## mfsa2025-01.yml
announced: January 7, 2025
impact: high
fixed_in:
- Firefox 134
title: Security Vulnerabilities fixed in Firefox 134
description: |
  [Update March 4, 2025] *We discovered a Skia library update in Firefox 134 fixed CVE-2024-43097*
advisories:
  CVE-2024-43097:
    title: Overflow when growing an SkRegion's RunArray
    impact: critical
    reporter: Google Android
    feed: false
    description: |
      In resizeToAtLeast of SkRegion.cpp, there was a possible out of bounds write
    bugs:
      - url: 1945624
  CVE-2025-0244:
    title: Address bar spoofing using an invalid protocol scheme on Firefox for Android
    impact: high
    reporter: Umar Farooq
    description: |
      An attacker could spoof the address bar.
    bugs:
      - url: 1929584, 1929585
        desc: two bugs
""",
    "announce/2006/mfsa2006-01.md": """\
---
announced: February 1, 2006
fixed_in:
- Firefox 1.5.0.1
- SeaMonkey 1.0
- Mozilla Suite 1.7.13
impact: Moderate
reporter: Igor Bukanov
title: JavaScript garbage-collection hazards
---

<h3>Description</h3>

<p>Temporary variables were not properly protected. CVE-2006-0292 affects all versions of Firefox.</p>

<h3>References</h3>

<ul>
<li><a href="https://bugzilla.mozilla.org/show_bug.cgi?id=316885">
https://bugzilla.mozilla.org/show_bug.cgi?id=316885</a><br/>
CVE-2006-0292</li>
</ul>
""",
}
EXPECTED_KEYS = ("MFSA-2006-01", "MFSA-2025-01")
_MARKDOWN = SAMPLE["announce/2006/mfsa2006-01.md"]
BROKEN = {
    "announce/2006/mfsa2006-02.md": (_MARKDOWN.replace("---\n\n", "\n"), "no-front-matter"),
    "announce/2006/mfsa2006-03.md": (_MARKDOWN.replace("title: J", "title: [J"), "not-yaml"),
    "announce/2006/mfsa2006-04.md": (_MARKDOWN.encode().replace(b"Temporary", b"\xff"), "not-utf-8"),
    "announce/2006/unnumbered.md": (_MARKDOWN, "no-id"),
    "announce/2025/mfsa2025-02.yml": ("announced: January 7, 2025\nfixed_in: [Firefox 1]\n", "schema"),
}
SHARED = ("mozilla-mfsa", 1578, 0)
COUNTS = {"read": 1578, "added": 1578, "equalKeys": 0, "ignored": 1}
QUIRKS = {
    "a bug is a number, or several in one text, or a link": (
        "mfsa2020-01.yml",
        """\
announced: May 1st, 2020
impact: low
fixed_in: [Firefox ESR 60.8]
title: Security vulnerabilities fixed in Firefox ESR 60.8
advisories:
  CVE-2020-6795:
    title: Crash
    impact: low
    bugs:
    - url: 4420
    - url: 123,456
    - url: https://example.com/1
    - 7
""",
        ["MFSA-2020-01"],
    ),
    "Markdown names no CVE": (
        "mfsa2005-01.md",
        _MARKDOWN.replace("CVE-2006-0292", ""),
        ["MFSA-2005-01"],
    ),
    "a day that no calendar has, and an impact with a condition": (
        "mfsa2005-02.md",
        _MARKDOWN.replace("February 1,", "Febuary 31,").replace("Moderate", "Critical (local)"),
        ["MFSA-2005-02"],
    ),
    "Markdown with other line ends": (
        "mfsa2005-03.md",
        _MARKDOWN.replace("\n", "\r\n"),
        ["MFSA-2005-03"],
    ),
}
NO_DOCUMENTS = {"CODE_OF_CONDUCT.md": "# Community\n", "announce/template.yml": "a: b\n"}
