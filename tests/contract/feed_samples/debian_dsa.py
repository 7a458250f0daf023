"""The text lists of the Debian security tracker: CVEs, and advisories of the two teams."""

from __future__ import annotations

CVES = """\
CVE-2023-1393 (A flaw was found in X.Org Server Overlay Window. A Use-After-Free may ...)
\t{DSA-5380-1 DLA-3372-1}
\t- xorg-server 2:21.1.7-2 (bug #1033701)
\t- xwayland 2:22.1.9-1
\t[bullseye] - xwayland <not-affected> (Vulnerable code not present)
\tNOTE: https://www.openwall.com/lists/oss-security/2023/03/29/1
CVE-2023-28686 (Dino before 0.2.3, 0.3.x before 0.3.2, and 0.4.x before 0.4.2 allows ...)
\t{DSA-5379-1}
\t- dino-im 0.4.2-1
CVE-2023-24056 (In pkgconf through 1.9.3, variable duplication can cause unbounded string ...)
\t- pkgconf 1.8.1-1 (bug #1029592; low)
\t[bullseye] - pkgconf <no-dsa> (Minor issue)
\t[buster] - pkgconf <postponed> (Minor issue; can be fixed next time)
CVE-2022-4899 (A vulnerability was found in zstd v1.4.10, where an attacker can supply ...)
\t- libzstd 1.5.4+dfsg2-1
\t[bullseye] - libzstd <ignored> (Minor issue)
CVE-2022-3857
\tREJECTED
CVE-2021-46322 (Duktape v2.99.99 was discovered to contain a SEGV vulnerability via ...)
\t{DLA-3378-1}
\t- duktape 2.7.0-1
\t[bullseye] - duktape <no-dsa> (Minor issue)
CVE-2021-31239 (An issue found in SQLite SQLite3 v.3.35.4 that allows a remote ...)
\tNOT-FOR-US: nobody has it
CVE-2019-19882 (shadow 4.8, in certain circumstances affecting at least Gentoo, Arch Linux, ...)
\t- shadow <not-affected> (Debian does not build with the flag)
CVE-2016-XXXX [Privilege escalation possible to other user than root]
\t- bash <unfixed> (unimportant; bug #841856)
CVE-2011-3374 (It was found that apt-key in apt, all versions, do not correctly validate ...)
\t- apt <unfixed> (unimportant; bug #642480)
CVE-2005-2541 (Tar 1.15.1 does not properly warn the user when extracting setuid or ...)
\t- tar <unfixed> (unimportant; bug #328228)
CVE-2023-0001
\tRESERVED
"""
DSAS = """\
[29 Mar 2023] DSA-5380-1 xorg-server - security update
\t{CVE-2023-1393}
\t[bullseye] - xorg-server 2:1.20.11-1+deb11u6
[27 Mar 2023] DSA-5379-1 dino-im - security update
\t{CVE-2023-28686}
\t[bullseye] - dino-im 0.2.0-3+deb11u1
[17 Mar 2023] DSA-5356-2 sox - regression update
\t[bullseye] - sox 14.4.2+git20190427-2+deb11u2
[20 Mar 2023] DSA-5376-1 apache2 - security update
\t{CVE-2006-20001 CVE-2022-36760 CVE-2022-37436 CVE-2023-25690 CVE-2023-27522}
\t[bullseye] - apache2 2.4.56-1~deb11u1
[20 Apr 2023] DSA-5376-2 apache2 - regression update
\t{CVE-2023-25690}
\t[bullseye] - apache2 2.4.56-1~deb11u2
\t[buster] - apache2 <not-affected> (Regression not present)
[18 Apr 2018] DSA-4205-1 jessie end-of-life
"""
DLAS = """\
[29 Mar 2023] DLA-3372-1 xorg-server - security update
\t{CVE-2023-1393}
\t[buster] - xorg-server 2:1.20.4-1+deb10u9
[01 Apr 2023] DLA-3378-1 duktape - security update
\t{CVE-2021-46322}
\t[buster] - duktape 2.3.0-1+deb10u1
"""
DTSAS = """\
[August 26th, 2005] DTSA-1-1 kismet - various
\t{CVE-2005-2626 CVE-2005-2627 }
\t[etch] - kismet 2005.08.R1-0.1etch1 (high)
"""
SAMPLE = {"data/CVE/list": CVES, "data/DSA/list": DSAS, "data/DLA/list": DLAS, "data/DTSA/list": DTSAS}
EXPECTED_KEYS = (
    "CVE-2005-2541", "CVE-2011-3374", "CVE-2016-XXXX/TEMP-0841856-B18BAF", "CVE-2019-19882", "CVE-2021-46322",
    "CVE-2022-4899", "CVE-2023-1393", "CVE-2023-24056", "CVE-2023-28686",
    "DLA-3372-1", "DLA-3378-1", "DSA-5356-2", "DSA-5376-1", "DSA-5376-2", "DSA-5379-1", "DSA-5380-1", "DTSA-1-1",
)  # fmt: skip
BROKEN = {
    "a/DSA/list": (
        "[29 Mar 2023] DSA xorg-server - security update\n\t[bullseye] - xorg-server 1\n",
        "no-id",
    ),
    "b/CVE/list": (b"CVE-2023-1393 (A \xe9)\n\t- xorg-server 2:21.1.7-2\n", "not-utf-8"),
    "c/CVE/list": ("<<<<<<< HEAD\n", "no-id"),
}
SHARED = ("debian-dsa", 9120, 0)
COUNTS = {"added": 9120, "equalKeys": 0}
QUIRKS = {
    "ids with a blank before the brace": ("DTSA/list", DTSAS, ["DTSA-1-1"]),
    "two blanks before a version, and carriage returns": (
        "DLA/list",
        "[01 Jan 2014] DLA-1-1 curl - security update\r\n\t{CVE-2014-0138}\r\n\t[wheezy] - curl  7.26.0-1+wheezy5\r\n",
        ["DLA-1-1"],
    ),
    "nothing but a title": ("DSA/list", "[26 Sep 2010] DSA-2114-1 git-core\n\t[lenny] - git-core 1:1.5.6.5-3\n",
                            ["DSA-2114-1"]),
}  # fmt: skip
NO_DOCUMENTS = {
    "data/next-point-update.txt": "CVE-2022-3650\n\t[bullseye] - ceph 14.2.21-1+deb11u1\n",
    "data/dsa-needed.txt": "--\napache2\n  Regressions: #1033408\n",
    "data/package-tags": "[wheezy] php5 <limited-support> (See README.Debian.security)\n",
    "data/config.json": '{"distributions": {"bullseye": {}}}',
}
