"""The services of the compose file as plain processes, from an upload to a scan: what the files say is what works.

A real PostgreSQL and a real object store take the places of the two images that are not ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgres
from tests.support.api import free_port
from tests.support.certificates import certify
from tests.support.compose_processes import PROGRAMS, Stack, may_be_others, settings_of, stack
from tests.support.deploy import copy_compose, edit, given_to, tool
from tests.support.gateways import PASSWORD, write_users
from tests.support.tools import ROOT, require

pytestmark = pytest.mark.slow  # a dozen processes

EXAMPLES = ROOT / "examples"
HOST = "mirror-primary.example.org"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that other users may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="compose-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def prepared(place: Path) -> Path:
    """What an operator does before the first start, by the page."""
    made = copy_compose(place)
    for name in ("mirror-data", "mirror-data/concelier", "mirror-data/excititor", "objects"):
        (place / name).mkdir()
    edit(
        made / "env/mirror.env", MIRROR_DATA=str(place / "mirror-data"), MIRROR_NETWORK="127.0.0.0/8",
        MIRROR_SYNC_EVERY="2s",
    )  # fmt: skip
    edit(
        made / "env/stellaops.env", OBJECTS_DATA=str(place / "objects"), STORES_NETWORK="127.0.0.0/8",
        MIRROR_PUBLISH_EVERY="2s",
    )  # fmt: skip
    done = tool("make-secrets.sh", made)
    assert done.returncode == 0, done.stderr
    for domain in ("primary", "community"):
        certify(made / "mirror-gateway/tls", f"mirror-{domain}", f"mirror-{domain}.example.org", 1)
        file = made / "mirror-gateway/secrets" / f"mirror-{domain}.htpasswd"
        write_users(file, {"edge": PASSWORD}, {"edge": "recipient: Edge; issued: 2099-01-01"}, cost=10)
    for file in (made / "mirror-gateway").glob("*/*"):
        file.chmod(0o640)
    if may_be_others():
        for each in (
            made / "mirror-gateway",
            made / "mirror-secrets",
            place / "mirror-data",
            place / "objects",
        ):
            given_to(each, 10001)
    else:
        for file in (*(made / "secrets").iterdir(), *(made / "mirror-secrets").iterdir()):
            file.chmod(0o600)
    return made


@pytest.fixture(scope="module")
def service(prepared: Path, place: Path) -> Iterator[Stack]:
    """All of it, running."""
    root = place / "running"
    root.mkdir()
    with stack(prepared, root) as made, ExitStack() as stores:
        with ThreadPoolExecutor() as pool:
            database = pool.submit(_database, made, stores)
            objects = pool.submit(_objects, made)
            database.result()
            for once in ("migrate", "bootstrap"):
                done = made.once(once)
                assert done.returncode == 0, done.stderr
            objects.result()
        for name in ("api", "worker"):
            made.start(name)
        for name in ("api", "worker"):
            made.until_healthy(name)
        yield made


def _database(made: Stack, stores: ExitStack) -> None:
    """PostgreSQL with the password of the secret file, for TCP alone, as the image makes it."""
    told = made.environment("postgres")
    assert (told["POSTGRES_USER"], told["POSTGRES_DB"]) == (postgres.ROLE, "stella")
    settings = settings_of(made.wire, "postgres") | {"shared_buffers": "64MB"}
    server = stores.enter_context(postgres.running(**settings))
    password = Path(told["POSTGRES_PASSWORD_FILE"]).read_text().strip()
    server.run(f"ALTER ROLE {told['POSTGRES_USER']} PASSWORD '{password}'")
    server.run(f"CREATE DATABASE {told['POSTGRES_DB']}")
    made._ports["postgres", 5432] = server.port


def _objects(made: Stack) -> None:
    """The object store on ports of its own, and its buckets."""
    master, filer = (_with_twin() for _ in range(2))
    made._ports |= {("objects", 9333): master, ("objects", 8888): filer}
    # In a container every port is its own; here those that it does not name would be taken.
    more = [f"-master.port={master}", f"-filer.port={filer}", f"-volume.port={_with_twin()}",
            f"-s3.port={made.port('objects', 8333)}", f"-s3.port.grpc={free_port()}"]  # fmt: skip
    made.start("objects", *more)
    made.until_answers("objects", 8333, "/healthz")
    done = made.once("objects-buckets")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{made.log('objects')[-2000:]}"


def _with_twin() -> int:
    """A port whose twin, 10000 above, is free too: SeaweedFS takes it for its own use."""
    while (port := free_port()) > 55000:
        pass
    return port


@pytest.fixture(scope="module")
def client(service: Stack, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`stella` on another machine, logged in as the first operator."""
    home = tmp_path_factory.mktemp("client")
    secret = home / "admin.secret"
    shutil.copy(service.place / "secrets/stella-admin", secret)
    secret.chmod(0o600)
    kept = {
        "PATH": PROGRAMS,
        "HOME": str(home),
        "STELLA_CLIENT": "admin",
        "STELLA_CLIENT_SECRET_FILE": str(secret),
    }
    kept["STELLA_SERVER"] = f"http://127.0.0.1:{service.port('api', 8080)}"

    def stella(*words: str | Path) -> Any:
        command = [str(require("stella")), *map(str, words), "--format", "json"]
        done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    return stella


@pytest.fixture(scope="module")
def bundle(service: Stack, client: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Uploaded, exported, downloaded: the bundle, and the tenant's public key."""
    place = tmp_path_factory.mktemp("bundle")
    taken = client("concelier", "import", EXAMPLES / "advisories/ghsa", "--source", "ghsa")
    assert taken["added"] > 0
    assert client("excititor", "import", EXAMPLES / "vex/acme", "--source", "acme")["added"] > 0
    run = client("export", "run", "submit", "--profile", "trivy:db", "--wait")
    assert (run["status"], run["degraded"]) == ("succeeded", False)
    client("export", "download", run["runId"], "--to", place / "bundle")
    key = place / "acme.pub"
    key.write_bytes((service.here("mirror-sync", "/run/trust") / "default/export-center.pub").read_bytes())
    return place / "bundle", key


def test_what_is_uploaded_is_exported_verified_and_found_by_a_scan(
    bundle: tuple[Path, Path], cosign3: Path, trivy: Path, tmp_path: Path
) -> None:
    root, key = bundle
    for name, program in (("cosign", cosign3), ("trivy", trivy)):
        (tmp_path / name).symlink_to(program)
    cache = tmp_path / "cache"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = tool("verify-bundle.sh", root, "--key", key, "--cache-dir", cache, variables=path)
    assert done.returncode == 0, done.stderr
    assert "sentinels" in done.stdout
    found = _scan(trivy, "--cache-dir", str(cache), "--skip-db-update", "--offline-scan")
    assert "CVE-2021-44228" in found


def test_a_reader_pulls_through_gateway_back_ends_sync_and_object_store(
    bundle: tuple[Path, Path], service: Stack, cosign3: Path, trivy: Path, tmp_path: Path
) -> None:
    for name in ("concelier", "excititor", "mirror-gateway", "mirror-sync"):
        service.start(name)
    service.until_answers("concelier", 8080, "/healthz")
    code, why = service.health("concelier")
    assert (code, "holds no export" in why) == (1, True)
    assert service.health("mirror-sync")[0] == 1
    for domain in ("primary", "community"):
        done = service.run("api", "mirror", "init", domain)
        assert done.returncode == 0, done.stderr
    service.start("mirror-publish")
    for name in ("mirror-publish", "mirror-sync", "concelier", "excititor", "mirror-gateway"):
        service.until_healthy(name)
    login = tmp_path / "login"
    login.write_text(f"edge:{PASSWORD}\n")
    (tmp_path / "cosign").symlink_to(cosign3)
    port = service.port("mirror-gateway", 8443)
    done = tool(
        "smoke-test.sh", f"https://{HOST}", "--domain", "primary", "--user", login, "--key", bundle[1],
        "--connect-to", f"{HOST}:443:127.0.0.1:{port}",
        "--cacert", service.place / "mirror-gateway/tls/mirror-primary.crt",
        variables={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is well" in done.stdout
    assert "VEX export: consensus-" in done.stdout
    found = _scan(
        trivy, "--cache-dir", str(tmp_path / "cache"), "--db-repository", f"127.0.0.1:{port}/primary/trivy-db",
        "--skip-java-db-update", "--insecure", user="edge",
    )  # fmt: skip
    assert "CVE-2021-44228" in found


def _scan(trivy: Path, *options: str, user: str = "") -> set[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVY_")}
    login = {"TRIVY_USERNAME": user, "TRIVY_PASSWORD": PASSWORD} if user else {}
    done = subprocess.run(
        [str(trivy), "fs", *options, "--scanners", "vuln", "--format", "json", "--quiet", "--skip-version-check",
         str(EXAMPLES / "projects/webshop")],
        env=kept | login, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout).get("Results") or ()
    return {each["VulnerabilityID"] for result in results for each in result.get("Vulnerabilities") or ()}


def test_no_secret_is_in_a_log_and_everything_ends_when_asked(
    bundle: tuple[Path, Path], service: Stack
) -> None:
    files = [*(service.place / "secrets").iterdir(), service.place / "mirror-secrets/mirror-sync-key"]
    secrets = [
        word
        for file in files
        if file.name != "README.md"
        for word in file.read_text().split()
        if len(word) > 20
    ]
    logs = {path.name: path.read_text(errors="replace") for path in service.root.glob("*.log")}
    assert len(secrets) > 5
    assert [(name, "…") for name, text in logs.items() for each in secrets if each in text] == []
    codes = service.end()
    assert {name: code for name, code in codes.items() if name not in {"objects", "postgres"} and code} == {}
