"""Gems and Ruby engines, with ids in every form in which they stand."""

from __future__ import annotations

SAMPLE = {
    "gems/actionpack/CVE-2021-22881.yml": """\
---
gem: actionpack
framework: rails
cve: 2021-22881
ghsa: 8877-prq4-9xfw
url: https://groups.google.com/g/rubyonrails-security/c/zN_3qA26l6E
title: Possible Open Redirect in Host Authorization Middleware
date: 2021-02-10
description: |
  Specially crafted "Host" headers can redirect users to a malicious website.
cvss_v3: 6.1
unaffected_versions:
  - "< 6.0.0"
patched_versions:
  - "~> 6.0.3, >= 6.0.3.5"
  - ">= 6.1.2.1"
related:
  url:
    - https://hackerone.com/reports/1047447
""",
    "gems/rwiki/OSVDB-25608.yml": """\
gem: rwiki
osvdb: 25608
url: https://rubysec.com/advisories/OSVDB-25608/
title: Wiki content cross-site scripting
date: 2006-05-26
description: No version is fixed.
cvss_v2: 4.3
""",
    "rubies/jruby/CVE-2011-4838.yml": """\
engine: jruby
cve: 2011-4838
osvdb: 78116
ghsa: cgqc-fqxr-q6r6
url: https://nvd.nist.gov/vuln/detail/CVE-2011-4838
title: Hash collisions
date: 2011-12-28
description: JRuby before 1.6.5.1 computes hash values that collisions can be made for.
cvss_v2: 5.0
patched_versions:
  - ">= 1.6.5.1"
""",
}
EXPECTED_KEYS = tuple(SAMPLE)
BROKEN = {
    "gems/broken/CVE-2021-1.yml": ("gem: broken\ntitle: [\n", "not-yaml"),
    "gems/untitled/CVE-2021-2.yml": ("gem: untitled\ncve: 2021-2\n", "schema"),
    "gems/odd/CVE-2021-3.yml": ("gem: odd\ntitle: a\npatched_versions: {at: 1.2}\n", "schema"),
    "gems/gemless/CVE-2021-4.yml": ("gem: []\ntitle: a\n", "schema"),
    "gems/twice/CVE-2021-5.yml": ("gem: a\ntitle: a\n---\ngem: b\n", "several-documents"),
}
SHARED = ("rubysec", 1381, 0)
COUNTS = {"read": 1381, "added": 1381, "equalKeys": 0, "ignored": 1}
QUIRKS = {
    "scores are floats, OSVDB numbers are integers, days are dates": (
        "gems/gollum/CVE-2015-7314.yml",
        "gem: gollum\ncve: 2015-7314\nosvdb: 127779\nurl: u\ntitle: t\ndate: 2015-09-20\ncvss_v3: 7.50\n",
        ["gems/gollum/CVE-2015-7314.yml"],
    ),
    "a list of versions is null": (
        "gems/a/GHSA-cgqc-fqxr-q6r6.yml",
        "gem: a\nurl: u\ntitle: t\ndate: 2015-09-20\npatched_versions: ~\nunaffected_versions:\n",
        ["gems/a/GHSA-cgqc-fqxr-q6r6.yml"],
    ),
}
NO_DOCUMENTS = {".rubocop.yml": "AllCops: {}\n", "Gemfile": 'gem "yaml"\n', "config/settings.yml": "a: 1\n"}
