"""Alpine's secdb in both of its forms: YAML of the older releases, JSON of the newer ones."""

from __future__ import annotations

import json

MAIN = """\
---
distroversion: v3.11
reponame: main
archs:
  - x86_64
  - aarch64
urlprefix: http://dl-cdn.alpinelinux.org/alpine
apkurl: "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk"
packages:
  - pkg:
      name: curl
      secfixes:
        7.66.0-r0:
          - CVE-2019-5481
          - CVE-2019-5482
        7.65.0-r0:
          - CVE-2019-5435
          - CVE-2019-5436
        "0":
          - CVE-2019-15601
  - pkg:
      name: openjdk8
      secfixes:
        8.212.04-r0:
          - CVE_2019-2426
          - CVE-2019-2602
  - pkg:
      name: rsync
      secfixes:
        3.1.2-r7:
          - CVE-2017-16548
          - CVE-2017-17433
          - CVE-2017-17434-1
          - CVE-2017-17434-2
  - pkg:
      name: tcpdump
      secfixes:
        4.9.3-r0:
          - CVE-2018-10103 (SMB - partially fixed, but SMB printing disabled)
          - CVE-2018-14469 (IKEv1)
  - pkg:
      name: util-linux
      secfixes:
        2.29.2-r1:
        - CVE-2017-2616 (+ regression fix)
  - pkg:
      name: xen
      secfixes:
        4.12.1-r0:
          - CVE-????-?????  XSA-295
          - CVE-2019-17349 CVE-2019-17350
        4.11.1-r0:
          - CVE-2018-3620 CVE-2018-3646 XSA-273
          - XSA-275  CVE-2018-19961
        4.10.0-r1:
          - XSA-248
"""
COMMUNITY = {
    "apkurl": "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
    "archs": ["x86_64", "aarch64"],
    "reponame": "community",
    "urlprefix": "https://dl-cdn.alpinelinux.org/alpine",
    "distroversion": "v3.11",
    "packages": [
        {"pkg": {"name": "ffmpeg", "secfixes": {"4.2.3-r0": ["CVE-2020-12284"], "0": ["CVE-2019-13390"]}}},
        {"pkg": {"name": "exim", "secfixes": {"4.92.2-r0": ["CVE-2019-15846", "CVE-2019-13917"]}}},
    ],
}
_HEADER = MAIN[: MAIN.index("  - pkg")].replace("v3.11", "v3.12")
SAMPLE = {
    "v3.11/main.yaml": MAIN,
    "v3.11/community.json": json.dumps(COMMUNITY, indent=1),
    # A repository without fixes: the list is null.
    "v3.12/community.yaml": _HEADER.replace("main", "community"),
}
EXPECTED_KEYS = (
    "v3.11/community/exim",
    "v3.11/community/ffmpeg",
    "v3.11/main/curl",
    "v3.11/main/openjdk8",
    "v3.11/main/rsync",
    "v3.11/main/tcpdump",
    "v3.11/main/util-linux",
    "v3.11/main/xen",
)
BROKEN = {
    "v3.12/main.yaml": (MAIN.replace("v3.11", "v3.12")[:200], "not-yaml"),
    "v3.12/community.json": (json.dumps(COMMUNITY | {"distroversion": "v3.12"})[:-3], "not-json"),
    "v3.13/main.yaml": (_HEADER.encode() + b"  - pkg:\n      name: \xe9\n", "not-utf-8"),
    "other/main.yaml": (MAIN.replace("v3.11", "stream"), "no-release"),
    "v3.14/main.json": (json.dumps(COMMUNITY | {"packages": {}}), "schema"),
    "v3.15/main.yaml": (_HEADER + "  - pkg:\n      secfixes: {}\n", "schema"),
    "v3.16/main.yaml": (_HEADER + "  - pkg:\n      name: ' '\n", "no-id"),
}
SHARED = ("alpine-secdb", 1652, 0)
COUNTS = {"added": 1652, "ignored": 2, "equalKeys": 0}
QUIRKS = {
    "a version has no ids": (
        "v3.6/main.yaml",
        _HEADER
        + "  - pkg:\n      name: heimdal\n      secfixes:\n        7.4.0-r0:\n        7.3.0-r0: [CVE-2017-6594]\n",
        ["v3.12/main/heimdal"],
    ),
    "the release is told by the path alone": (
        "secdb/v3.9/main.yaml",
        "reponame: main\npackages:\n- pkg: {name: curl, secfixes: {7.64.0-r0: [CVE-2019-3822]}}\n",
        ["v3.9/main/curl"],
    ),
    "the packages stand in one line": (
        "a.yaml",
        "distroversion: edge\nreponame: main\npackages: [{pkg: {name: a}}, {pkg: {name: b}}]\n",
        ["edge/main/a", "edge/main/b"],
    ),
}
NO_DOCUMENTS = {"v3.11/APKINDEX.tar": "", "last-update": "2020-06-08\n"}
