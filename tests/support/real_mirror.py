"""A mirror with everything that is published, and a command line that may reach it on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stellaops.adapters.mirrors.outsider import Outsider, Reached
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy, networks
from stellaops.mirrors.checks.ports import Asker
from tests.support.gateways import basic, write_users
from tests.support.publishing import Publisher

FORMATS = ["osv", "trivy-db"]
VEX_FORMATS = ["json", "jsonl", "openvex", "csaf", "cyclonedx", "repository"]


def publish_all(place: Path) -> Publisher:
    """Two domains in every form, published into `place/mirror`; users of both beside it."""
    found = Publisher(place / "publisher", place / "mirror").filled()
    formats: dict[str, Any] = {"advisories": {"formats": FORMATS}, "vex": {"formats": VEX_FORMATS}}
    found.domain("primary", **formats)
    found.domain("community", **formats, requireAuthentication=False)
    found.publish()
    (place / "mirror-key.pub").write_bytes(found.local.tenant_keys.signer("default").public_key_pem())
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    return found


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def stella(place: Path, *arguments: object, variables: Mapping[str, str] | None = None) -> Told:
    """A command that may reach this machine without TLS; its data directory is a place without anything."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    ours = {
        "STELLA_DATA_DIR": str(place / "no-data"), "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1,localhost",
    }  # fmt: skip
    command = [sys.executable, "-c", "from stellaops.cli.start import main; main()", *map(str, arguments)]
    done = subprocess.run(
        command, env=kept | ours | dict(variables or {}), capture_output=True, text=True, check=False
    )
    return Told(done.returncode, done.stdout, done.stderr)


def outsider(url: str, user: str | None = None, **more: Any) -> Asker:
    """Asks a mirror on this machine."""
    policy = EgressPolicy(networks(["127.0.0.0/8"]), frozenset(["127.0.0.1"]))
    sign = None if user is None else lambda url, headers: {"authorization": basic(user)}
    return Outsider(Reached(url, WebSettings(policy, **more), sign))
