"""The same form without releases, as Wolfi publishes it."""

from __future__ import annotations

import json

SECURITY = {
    "apkurl": "{{urlprefix}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
    "archs": ["x86_64", "aarch64"],
    "reponame": "os",
    "urlprefix": "https://packages.wolfi.dev",
    "packages": [
        {
            "pkg": {
                "name": "curl",
                "secfixes": {
                    "8.4.0-r0": ["CVE-2023-38039", "CVE-2023-38545", "CVE-2023-38546"],
                    "0": ["CVE-2021-22897", "GHSA-7xw9-w465-6x42"],
                },
            }
        },
        {"pkg": {"name": "go-1.21", "secfixes": {"1.21.3-r0": ["GHSA-4374-p667-p6c8 CVE-2023-39325"]}}},
    ],
}
SAMPLE = {"security.json": json.dumps(SECURITY)}
EXPECTED_KEYS = ("wolfi/os/curl", "wolfi/os/go-1.21")
BROKEN = {"os/security.json": (json.dumps(SECURITY | {"urlprefix": "https://example.com"}), "no-release")}
SHARED = None
QUIRKS = {
    f"{word} publishes in it too": (
        "security.json",
        json.dumps(SECURITY | {"urlprefix": address, "reponame": repository}),
        [f"{word}/{repository}/curl", f"{word}/{repository}/go-1.21"],
    )
    for word, address, repository in (
        ("chainguard", "https://packages.cgr.dev", "chainguard"),
        ("minimos", "https://packages.mini.dev/advisories", "os"),
    )
} | {
    "secfixes is an empty list": (
        "a.json",
        json.dumps(SECURITY | {"packages": [{"pkg": {"name": "zlib", "secfixes": []}}]}),
        ["wolfi/os/zlib"],
    )
}
