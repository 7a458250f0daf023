"""Deployment files as tests read them: resolved by the real Compose, with values in place of what operators fill in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stellaops.adapters.settings.load import describe
from stellaops.adapters.settings.mirrors import describe_mirror_host
from stellaops.adapters.settings.targets import PREFIX
from tests.support.certificates import certify
from tests.support.gateways import PASSWORD, write_users
from tests.support.tools import ROOT, require

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
PROFILES: Mapping[str, tuple[str, ...]] = {
    "mirror": ("docker-compose.mirror.yaml",),
    "nginx": ("docker-compose.mirror.yaml", "docker-compose.nginx.yaml"),
    "full": ("docker-compose.yaml",),
}
DIGEST = f"sha256:{'a' * 64}"
IMAGES = {
    name: f"registry.example/{name.lower()}:1@{DIGEST}"
    for name in ("STELLAOPS_IMAGE", "NGINX_IMAGE", "POSTGRES_IMAGE", "OBJECTS_IMAGE")
}
NOT_SETTINGS = re.compile(
    r"POSTGRES_\w+|PGDATA|TMPDIR|OTEL_\w+|\w+_IMAGE|MIRROR_(SOURCE|SYNC_OPTIONS|SYNC_EVERY|DATA|LISTEN|NETWORK|CACHE|"
    r"PUBLISH_EVERY|TENANT)|(API|API_TLS)_LISTEN|WORKERS|\w+_(CPUS|MEMORY)|OBJECTS_DATA|STORES_NETWORK"
)
"""Variables of Compose itself and of other programs."""


def is_setting(variable: str) -> bool:
    """Whether the product reads a variable."""
    if variable.startswith(PREFIX):
        return True
    general = re.sub(r"__\d+(?=__|$)", "__N", variable)
    return general in {name for name, _ in describe_mirror_host()} | {name for _, name, _ in describe()}


def copy_compose(place: Path) -> Path:
    """The files of `deploy/compose` as an operator has them: environment files made of the examples, images named."""
    target = place / "compose"
    shutil.copytree(COMPOSE, target, ignore=shutil.ignore_patterns("*.env"))
    for example in (target / "env").glob("*.example"):
        text = example.read_text()
        for name, value in IMAGES.items():
            text = re.sub(rf"(?m)^#?{name}=$", f"{name}={value}", text)
        example.with_suffix("").write_text(text)
    return target


def edit(file: Path, **values: str) -> None:
    """Set variables of an environment file."""
    text = file.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^#?{name}=.*$", lambda _, line=f"{name}={value}": line, text)  # type: ignore[misc]
        text = text if count else f"{text}{name}={value}\n"
    file.write_text(text)


def resolved(place: Path, profile: str, *options: str) -> dict[str, Any]:
    """A profile as Compose understands it; a `$` stands once, as the container gets it."""
    done = compose(place, profile, *options, "config", "--format", "json")
    assert done.stdout.strip(), done.stderr
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))
    return found


def compose(place: Path, profile: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The real Compose on a profile's files."""
    environments = ["env/mirror.env", *(["env/stellaops.env"] if profile == "full" else [])]
    command = [str(require("docker-compose"))]
    for file in environments:
        command += ["--env-file", file]
    for file in PROFILES[profile]:
        command += ["-f", file]
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*command, *words], cwd=place, env=variables, capture_output=True, text=True, check=False
    )


def tool(
    name: str, *words: str | Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A script of `deploy/tools`."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [str(DEPLOY / "tools" / name), *map(str, words)], env=environment | dict(variables or {}),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def mirror_host(place: Path, mirrors: Path, key: bytes) -> Path:
    """A mirror host with everything in its place: environment, secrets, users, certificates, and trees.

    Args:
        mirrors: holds `concelier` and `excititor` of the domains `primary` and `community`.
        key: of their publisher, in PEM.
    """
    made = copy_compose(place)
    edit(made / "env" / "mirror.env", MIRROR_DATA=str(mirrors))
    secrets = made / "mirror-secrets"
    (secrets / "mirror-key.pub").write_bytes(key)
    (secrets / "mirror-sync-key").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    for domain in ("primary", "community"):
        certify(made / "mirror-gateway/tls", f"mirror-{domain}", f"mirror-{domain}.example.org", 1)
        users = made / "mirror-gateway/secrets" / f"mirror-{domain}.htpasswd"
        today = datetime.now(UTC).date().isoformat()
        write_users(users, {"edge": PASSWORD}, {"edge": f"recipient: Edge team; issued: {today}"}, cost=10)
    for file in (*secrets.iterdir(), *(made / "mirror-gateway").glob("*/*")):
        file.chmod(0o640)
    return made


def given_to(place: Path, uid: int) -> None:
    """Let a container's user own what lies below a place; as root, as an operator does it."""
    for path in (place, *place.rglob("*")):
        os.chown(path, 0 if path.is_file() else uid, uid, follow_symlinks=False)
