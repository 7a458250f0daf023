"""The JSON of the Debian security tracker: one statement of each kind."""

from __future__ import annotations

import json
from typing import Any


def release(
    status: str, version: str, fixed: str = "", urgency: str = "not yet assigned", **more: Any
) -> dict[str, Any]:
    """One release of one vulnerability; `more` names the repositories' versions and the reason for no advisory."""
    repositories = {more.pop("repository", "bullseye"): version, **more.pop("repositories", {})}
    return {
        "status": status,
        "repositories": repositories if version else {},
        **({"fixed_version": fixed} if fixed else {}),
        "urgency": urgency,
        **more,
    }


def sid(version: str, fixed: str = "", urgency: str = "not yet assigned") -> dict[str, Any]:
    return release("resolved" if fixed else "open", version, fixed, urgency, repository="sid")


def security(version: str) -> dict[str, str]:
    return {"bullseye-security": version}


DATA: dict[str, Any] = {
    "bash": {
        "TEMP-0841856-B18BAF": {
            "debianbug": 841856,
            "releases": {
                "bullseye": release("open", "5.1-2+deb11u1", urgency="unimportant"),
                "bookworm": release("open", "5.2.15-2", urgency="unimportant", repository="bookworm"),
                "sid": sid("5.2.21-2", urgency="unimportant"),
            },
        }
    },
    "chromium": {
        "CVE-2024-0519": {
            "description": "Out of bounds memory access in V8 in Google Chrome prior to 120.0.6099.224",
            "scope": "remote",
            "releases": {
                "bullseye": release("open", "116.0.5845.180-1~deb11u1", urgency="end-of-life"),
                "sid": sid("120.0.6099.224-1", "120.0.6099.224-1"),
            },
        }
    },
    "curl": {
        "CVE-2021-22922": {
            "description": "When curl is instructed to download content using the metalink feature …",
            "scope": "remote",
            "releases": {
                "bullseye": release("resolved", "7.74.0-1.3+deb11u7", "7.74.0-1.3+deb11u2", "unimportant",
                                    repositories=security("7.74.0-1.3+deb11u13")),
                "sid": sid("8.5.0-2", "7.79.1-1", "unimportant"),
            },
        },
        "CVE-2023-38545": {
            "description": "This flaw makes curl overflow a heap based buffer in the SOCKS5 proxy handshake.",
            "scope": "remote",
            "releases": {
                "bullseye": release("resolved", "7.74.0-1.3+deb11u7", "7.74.0-1.3+deb11u10",
                                    repositories=security("7.74.0-1.3+deb11u13")),
                "sid": sid("8.5.0-2", "8.3.0-3"),
                "stretch": release("resolved", "", "7.52.1-5"),
            },
        },
        "CVE-2023-46219": {
            "description": "When saving HSTS data to an excessively long file name, curl could end up …",
            "releases": {
                "bullseye": release("resolved", "7.74.0-1.3+deb11u7", "0"),
                "sid": sid("8.5.0-2", "8.5.0-1"),
            },
        },
    },
    "libxml2": {
        "CVE-2024-25062": {
            "description": "An issue was discovered in libxml2 before 2.11.7 and 2.12.x before 2.12.5.",
            "scope": "remote",
            "releases": {
                "bullseye": release("open", "2.9.10+dfsg-6.7+deb11u4", nodsa="Minor issue", nodsa_reason="postponed"),
                "sid": sid("2.9.14+dfsg-1.3"),
            },
        },
        "CVE-2016-3709": {
            "description": "Possible cross-site scripting vulnerability in libxml after commit 960f0e2.",
            "releases": {"bullseye": release("undetermined", "2.9.10+dfsg-6.7+deb11u4")},
        },
    },
    "openssl": {
        "CVE-2023-5678": {
            "description": "Generating excessively long X9.42 DH keys or checking them may be very slow.",
            "scope": "remote",
            "releases": {
                # The fix waits for a point release.
                "bullseye": release("resolved", "1.1.1w-0+deb11u1", "1.1.1w-0+deb11u2", "low",
                                    repositories={"bullseye-proposed-updates": "1.1.1w-0+deb11u2"}),
                "sid": sid("3.1.5-1", "3.0.12-2", "low"),
            },
        },
        "CVE-2023-0464": {
            "description": "A security vulnerability related to the verification of X.509 certificate chains.",
            "releases": {
                # Fixed by what came with unstable.
                "bullseye": release("resolved", "1.1.1w-0+deb11u1", repositories=security("1.1.1w-0+deb11u1")),
                "sid": sid("3.1.5-1", "1.1.1n-0+deb11u5"),
            },
        },
    },
    "perl": {
        "CVE-2023-31484": {
            "description": "CPAN.pm before 2.35 does not verify TLS certificates when downloading over HTTPS.",
            "scope": "remote",
            "releases": {
                "bullseye": release("open", "5.32.1-4+deb11u2", nodsa="Minor issue", nodsa_reason=""),
                "sid": sid("5.38.2-3", "5.36.0-8"),
            },
        },
        "CVE-2011-4116": {
            "description": "_is_safe in the File::Temp module for Perl does not properly handle symlinks.",
            "releases": {
                "bullseye": release("open", "5.32.1-4+deb11u2", urgency="unimportant"),
                "sid": sid("5.38.2-3", urgency="unimportant"),
            },
        },
    },
    "python3.9": {
        "CVE-2023-27043": {
            "description": "The email module of Python through 3.11.3 incorrectly parses e-mail addresses.",
            "releases": {
                "bullseye": release("open", "3.9.2-1", urgency="medium**", nodsa="Minor", nodsa_reason="ignored"),
            },
        }
    },
    "zlib": {
        "CVE-2022-37434": {
            "description": "zlib through 1.2.12 has a heap-based buffer over-read or buffer overflow in inflate.",
            "scope": "remote",
            "releases": {
                "bullseye": release("resolved", "1:1.2.11.dfsg-2+deb11u2", "1:1.2.11.dfsg-2+deb11u2", "high"),
                "sid": sid("1:1.3.dfsg-3", "1:1.2.11.dfsg-4.1"),
            },
        }
    },
}  # fmt: skip

SAMPLE = {"data/json": json.dumps(DATA, ensure_ascii=False)}
EXPECTED_KEYS = tuple(sorted(f"{package}/{name}" for package, names in DATA.items() for name in names))
BROKEN = {
    "cut.json": (json.dumps(DATA)[:-2], "not-json"),
    "latin.json": (json.dumps(DATA, ensure_ascii=False).encode().replace("…".encode(), b"\x85"), "not-utf-8"),
    "two.json": ('{"curl": {"CVE-2023-38546": {"releases": {}}}} {}', "not-json"),
    "nameless.json": ('{"": {"CVE-2023-38546": {"releases": {}}}}', "no-id"),
    "typed.json": ('{"curl": {"CVE-2023-38546": {"releases": {"bullseye": {"urgency": 1}}}}}', "schema"),
}
SHARED = None
QUIRKS = {
    "a package stands twice": (
        "twice.json",
        '{"curl": {"CVE-2023-38545": {"releases": {}}}, "curl": {"CVE-2023-38546": {"releases": {}}}}',
        ["curl/CVE-2023-38545", "curl/CVE-2023-38546"],
    ),
    "releases that nobody knows yet": (
        "unknown.json",
        json.dumps({"curl": {"CVE-2023-38545": {"releases": {"zurg": release("open", "9")}}}}),
        ["curl/CVE-2023-38545"],
    ),
}
