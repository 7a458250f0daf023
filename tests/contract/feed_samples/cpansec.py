"""Distributions of CPAN with several advisories, and with one id twice."""

from __future__ import annotations

SAMPLE = {
    "cpansa/CPANSA-Log-Any.yml": """\
---
advisories:
- affected_versions:
  - '>=1.712,<=1.715'
  cves: []
  description: |
    The WithStackTrace proxy may expose sensitive information (“naïve”)
  fixed_versions:
  - 1.716
  github_security_advisory: []
  id: CPANSA-Log-Any-2023-001
  references:
  - https://metacpan.org/dist/Log-Any/changes
  reported: ~
  severity: ~
cpansa_version: 2
distribution: Log-Any
last_checked: 1785398915
latest_version: '1.720'
metacpan: https://metacpan.org/pod/Log::Any
""",
    "cpansa/CPANSA-Crypt-JWT.yml": """\
# Two advisories of one id.
advisories:
  - affected_versions:
      - '<0.023'
    cves:
      - CVE-2019-1010263
    description: Perl Crypt::JWT prior to 0.023 is affected by incorrect access control.
    fixed_versions: ['>=0.023']
    github_security_advisory: [GHSA-54vx-xvq8-jh85]
    id: CPANSA-Crypt-JWT-2019-01
    reported: 2019-03-20
    severity: high

  # The second.
  -   affected_versions: ['<0.022']
      cves: [CVE-2019-1010161]
      description: perl-CRYPT-JWT 0.022 and earlier is affected by incorrect access control.
      fixed_versions: ['>=0.022']
      id: CPANSA-Crypt-JWT-2019-01
      reported: 2019-03-20
distribution: Crypt-JWT
cpansa_version: 2
""",
}
EXPECTED_KEYS = (
    "CPANSA-Crypt-JWT-2019-01#cpansa/CPANSA-Crypt-JWT.yml",
    "CPANSA-Crypt-JWT-2019-01:<0.022#cpansa/CPANSA-Crypt-JWT.yml",
    "CPANSA-Log-Any-2023-001#cpansa/CPANSA-Log-Any.yml",
)
_LOG = SAMPLE["cpansa/CPANSA-Log-Any.yml"]
BROKEN = {
    "cpansa/CPANSA-A.yml": (_LOG.replace("  id: CPANSA-Log-Any-2023-001\n", ""), "no-id"),
    "cpansa/CPANSA-B.yml": (_LOG.replace("distribution: Log-Any\n", ""), "schema"),
    "cpansa/CPANSA-C.yml": (_LOG.replace("'>=1.712,<=1.715'", "'>=1.712"), "not-yaml"),
    "cpansa/CPANSA-D.yml": ("distribution: D\nadvisories: [{id: CPANSA-D-1}, {id: CPANSA-D-2}]\n", "schema"),
    "cpansa/CPANSA-E.yml": ("distribution: E\nadvisories:\n- CPANSA-E-1\n", "schema"),
    "cpansa/CPANSA-F.yml": ("distribution: F\nadvisories: none\n", "schema"),
}
SHARED = ("cpansec", 722, 0)
COUNTS = {"read": 722, "added": 722, "equalKeys": 0, "ignored": 3}
QUIRKS = {
    "a version is written as a number": (
        "CPANSA-Net-DNS.yml",
        "distribution: Net-DNS\nadvisories:\n- id: CPANSA-Net-DNS-2007-01\n  affected_versions: 0.60\n",
        ["CPANSA-Net-DNS-2007-01#CPANSA-Net-DNS.yml"],
    ),
    "a distribution has no advisory left": (
        "cpansa/CPANSA-Empty.yml",
        "advisories: []\ndistribution: Empty\n",
        [],
    ),
    "several documents stand in one file": ("CPANSA-Log-Any.yml", _LOG + "---\n", "several-documents"),
}
NO_DOCUMENTS = {
    "cpan-security-advisory.json": '{"meta": {"generator": "util/generate"}, "dists": {}, "module2dist": {}}',
    "Changes": "0.001\n",
}
