"""Scripts of `deploy/tools` and of the image, each on the real thing, and on what it has to refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stellaops.signing import ecdsa_p256
from tests.support import registry
from tests.support.deploy import DEPLOY, IMAGES, copy_compose, edit, resolved, tool
from tests.support.gateways import PASSWORD, GatewayProcess, Setup, serving, write_users
from tests.support.publishing import Publisher
from tests.support.tools import find, require

HEALTH = DEPLOY / "docker/stella-health"

# ---- pin-images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A real registry with one image under a tag: its reference, its digest, and how to reach it."""
    place = tmp_path_factory.mktemp("registry")
    with registry.serving(place) as server:
        layout = place / "layout"
        (layout / "blobs/sha256").mkdir(parents=True)
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        config = _blob(layout, b"{}")
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": [],
        }  # fmt: skip
        told = _blob(layout, json.dumps(manifest).encode())
        entry = {
            "mediaType": manifest["mediaType"],
            **told,
            "annotations": {"org.opencontainers.image.ref.name": "1"},
        }
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        reference = f"{server.host}/stellaops:1"
        copied = subprocess.run(
            [require("skopeo"), "copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}:1",
             f"docker://{reference}"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert copied.returncode == 0, copied.stderr
        skopeo = str(require("skopeo").parent)
        variables = {
            "PATH": f"{skopeo}:{os.environ['PATH']}",
            "PIN_IMAGES_SKOPEO_OPTIONS": "--tls-verify=false",
        }
        yield f"{reference}@{told['digest']}", variables


def _blob(layout: Path, data: bytes) -> dict[str, object]:
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = copy_compose(tmp_path) / "env" / "mirror.env"
    edit(found, STELLAOPS_IMAGE="", NGINX_IMAGE="")
    return found


def test_a_tag_gets_the_digest_that_its_registry_says(images: tuple[str, dict[str, str]], file: Path) -> None:
    pinned, variables = images
    tag = pinned.partition("@")[0]
    edit(file, NGINX_IMAGE=IMAGES["NGINX_IMAGE"])
    before = file.read_text()
    done = tool("pin-images.sh", "--set", f"STELLAOPS_IMAGE={tag}", file, variables=variables)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == before.replace("STELLAOPS_IMAGE=\n", f"STELLAOPS_IMAGE={pinned}\n")
    assert tool("pin-images.sh", "--check", file, variables={"PATH": "/usr/bin:/bin"}).returncode == 0
    # What has a digest is not asked about, unless told so.
    stale = pinned.replace(pinned[-8:], "00000000")
    edit(file, STELLAOPS_IMAGE=stale)
    assert tool("pin-images.sh", file, variables=variables).returncode == 0
    assert stale in file.read_text()
    edit(file, NGINX_IMAGE=f"{tag}@sha256:{'0' * 64}")
    assert tool("pin-images.sh", "--update", file, variables=variables).returncode == 0
    assert file.read_text().count(pinned) == 2


def test_nothing_is_invented(images: tuple[str, dict[str, str]], file: Path) -> None:
    pinned, variables = images
    before = file.read_text()
    done = tool("pin-images.sh", file, variables=variables)
    assert done.returncode == 4
    assert "STELLAOPS_IMAGE is empty" in done.stderr
    assert file.read_text() == before
    missing = pinned.partition("/")[0] + "/nothing:1"
    done = tool("pin-images.sh", "--set", f"STELLAOPS_IMAGE={missing}", file, variables=variables)
    assert done.returncode == 10
    assert file.read_text() == before
    edit(file, STELLAOPS_IMAGE=pinned.partition("@")[0])
    done = tool("pin-images.sh", "--check", file)
    assert done.returncode == 4
    assert "has no digest" in done.stderr
    bare = file.parent / "bin"
    bare.mkdir()
    for name in ("bash", "mktemp", "rm", "sed", "env", "chmod", "mv", "sha256sum"):
        (bare / name).symlink_to(str(shutil.which(name)))
    done = tool("pin-images.sh", file, variables={"PATH": str(bare)})
    assert done.returncode == 5
    assert tool("pin-images.sh", file.parent / "none.env").returncode == 2
    assert tool("pin-images.sh").returncode == 2
    assert sorted(each.name for each in file.parent.iterdir() if "mirror.env." in each.name) == [
        "mirror.env.example"
    ]


def test_a_reference_that_is_not_asked_for_is_let_be_until_it_is_set(tmp_path: Path) -> None:
    file = tmp_path / "mirror.env"
    shutil.copy(DEPLOY / "compose/env/mirror.env.example", file)
    ours, nginx = (f"{name}={IMAGES[name]}" for name in ("STELLAOPS_IMAGE", "NGINX_IMAGE"))
    done = tool("pin-images.sh", "--set", ours, file)
    assert done.returncode == 0, done.stderr
    assert f"\n{ours}\n" in file.read_text()
    assert "\n#NGINX_IMAGE=\n" in file.read_text()
    assert tool("pin-images.sh", "--set", nginx, file).returncode == 0
    assert f"\n{nginx}\n" in file.read_text()
    done = tool("pin-images.sh", "--set", f"POSTGRES_IMAGE={IMAGES['POSTGRES_IMAGE']}", file)
    assert (done.returncode, "POSTGRES_IMAGE is in none of these files" in done.stderr) == (2, True)


# ---- make-secrets


def test_secrets_are_made_once_and_fit_together(tmp_path: Path) -> None:
    assert tool("make-secrets.sh", tmp_path).returncode == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in first} == {
        "postgres-password", "key-passphrase", "stella-admin", "objects-key", "objects-identities.json",
        "mirror-sync-key",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o007 == 0 for path in first)
    told = json.loads((tmp_path / "secrets/objects-identities.json").read_text())["identities"]
    for identity, name in zip(told, ("secrets/objects-key", "mirror-secrets/mirror-sync-key"), strict=True):
        text = (tmp_path / name).read_text()
        (credentials,) = identity["credentials"]
        assert f"aws_access_key_id = {credentials['accessKey']}\n" in text
        assert f"aws_secret_access_key = {credentials['secretKey']}\n" in text
    assert told[1]["actions"] == ["Read:mirror-stellaops", "List:mirror-stellaops"]
    assert not any("Admin" in action for identity in told for action in identity["actions"])
    assert tool("make-secrets.sh", tmp_path).returncode == 0
    assert {path: path.read_bytes() for path in first} == first
    (tmp_path / "secrets/objects-key").unlink()
    done = tool("make-secrets.sh", tmp_path)
    assert done.returncode == 5
    assert "objects-key is missing" in done.stderr
    assert tool("make-secrets.sh").returncode == 2


# ---- smoke-test


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    made = Publisher(tmp_path_factory.mktemp("published") / "data").filled()
    made.domain("primary")
    made.domain("community")
    made.publish()
    return made


@pytest.fixture(scope="module")
def gateway(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    place = tmp_path_factory.mktemp("gateway")
    write_users(place / "mirror-primary.htpasswd", {"edge": PASSWORD})
    write_users(place / "mirror-community.htpasswd", {"comm": PASSWORD})
    with serving(Setup(publisher.root.root, place)) as found:
        (place / "login").write_text(f"edge:{PASSWORD}\n")
        (place / "other").write_text(f"comm:{PASSWORD}\n")
        (place / "key.pub").write_bytes(publisher.key().pem())
        yield found


def smoke(
    gateway: GatewayProcess, *words: str | Path, login: str = "login", cosign: Path | None = None
) -> tuple[int, str]:
    place = gateway.place
    programs = place / (cosign.name if cosign else "none")
    programs.mkdir(exist_ok=True)
    if cosign is not None and not (programs / "cosign").exists():
        (programs / "cosign").symlink_to(cosign)
    told = ["--user", place / login, "--key", place / "key.pub", *words]
    domain = [] if "--domain" in words else ["--domain", "primary"]
    done = tool("smoke-test.sh", gateway.url, *domain, *told, variables={"PATH": f"{programs}:/usr/bin:/bin"})
    return done.returncode, done.stdout + done.stderr


def test_a_mirror_that_is_well_passes_with_each_cosign_and_with_openssl(
    gateway: GatewayProcess, cosign: Path
) -> None:
    code, told = smoke(gateway, cosign=cosign)
    assert (code, "bundle.json: signature (cosign)" in told) == (0, True), told
    assert "without credentials: 401" in told
    if shutil.which("cosign", path="/usr/bin:/bin") is None:
        code, told = smoke(gateway)
        assert (code, "bundle.json: signature (openssl)" in told) == (0, True), told


@pytest.mark.slow
def test_each_trouble_has_its_exit_code(gateway: GatewayProcess, publisher: Publisher, cosign3: Path) -> None:
    place = gateway.place
    assert smoke(gateway, login="other", cosign=cosign3)[0] == 4  # its index lists another domain
    assert smoke(gateway, "--side", "excititor", login="other", cosign=cosign3)[0] == 3
    (place / "wrong").write_text("edge:wrong\n")
    assert smoke(gateway, login="wrong", cosign=cosign3)[0] == 3
    stranger = place / "stranger.pub"
    stranger.write_bytes(ecdsa_p256.generate().public_key_pem())
    code, told = smoke(gateway, "--key", stranger, cosign=cosign3)
    assert (code, "is not by" in told) == (6, True)
    assert smoke(gateway, "--domain", "edge", cosign=cosign3)[0] == 4
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    done = tool("smoke-test.sh", f"http://127.0.0.1:{port}", "--domain", "a", "--key", place / "key.pub")
    assert done.returncode == 10
    assert tool("smoke-test.sh", gateway.url).returncode == 2
    assert tool("smoke-test.sh", "--domain", "a").returncode == 2
    assert PASSWORD not in told


@pytest.mark.slow
def test_a_mirror_whose_bundle_is_not_what_was_signed_fails(
    publisher: Publisher, tmp_path: Path, cosign3: Path
) -> None:
    tree = Path(shutil.copytree(publisher.root.root, tmp_path / "tree", symlinks=True))
    bundle = tree / "concelier/latest/mirror/primary/bundle.json"
    for packed in bundle.parent.glob("bundle.json.*z*"):
        packed.unlink()
    bundle.write_bytes(bundle.read_bytes().replace(b"GHSA-aaaa", b"GHSA-aaab"))
    place = tmp_path / "gateway"
    place.mkdir()
    for domain in ("primary", "community"):
        write_users(place / f"mirror-{domain}.htpasswd", {"edge": PASSWORD})
    (place / "login").write_text(f"edge:{PASSWORD}")
    (place / "key.pub").write_bytes(publisher.key().pem())
    with serving(Setup(tree, place)) as gateway:
        code, told = smoke(gateway, cosign=cosign3)
    assert (code, "bundle.json is not what the index says" in told) == (6, True), told


# ---- stella-health


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/good" else 503)
        self.end_headers()
        self.wfile.write(b"the tree is away")

    def log_message(self, *_: object) -> None:
        pass


def health(*words: str, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, HEALTH, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    return done.returncode, done.stderr


def test_health_is_told_by_answers_and_by_the_age_of_files(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"127.0.0.1:{server.server_port}"
    try:
        assert health(f"http://{url}/good") == (0, "")
        assert health(f"any://{url}/good", http_proxy="http://127.0.0.1:1")[0] == 0
        code, told = health(f"http://{url}/bad")
        assert (code, "503 the tree is away" in told) == (1, True)
    finally:
        server.shutdown()
        server.server_close()
    assert health(f"any://{url}/good")[0] == 1
    pattern = f"fresh:{tmp_path}/*/a.json?seconds=60"
    assert "there is no" in health(pattern)[1]
    (tmp_path / "x").mkdir()
    file = tmp_path / "x/a.json"
    file.touch()
    assert health(pattern) == (0, "")
    os.utime(file, (time.time() - 100, time.time() - 100))
    assert re.search(r"is 10\d s old", health(pattern)[1])
    assert health()[0] == 2


def test_health_follows_how_often_a_loop_runs_and_looks_at_every_domain(tmp_path: Path) -> None:
    for name, age in (("primary", 10), ("community", 4000)):
        file = tmp_path / f"{name}.json"
        file.touch()
        os.utime(file, (time.time() - age, time.time() - age))
    pattern = f"fresh:{tmp_path}/*.json"
    for options, code in (
        ("every=5m", 1), ("every=30m", 0), ("every=2s&seconds=5000", 0), ("every=1h&seconds=60", 0),
        ("every=20m&seconds=60", 1), ("every=90", 1),
    ):  # fmt: skip
        assert health(f"{pattern}?{options}")[0] == code, options
    told = health(f"{pattern}?every=2s")[1]
    assert re.search(r"community\.json is 40\d\d s old, and at most 900 s are allowed", told)


def test_health_checks_of_the_compose_files_take_their_turns_from_the_settings(tmp_path: Path) -> None:
    place = copy_compose(tmp_path)
    edit(place / "env/mirror.env", MIRROR_SYNC_EVERY="2h")
    edit(place / "env/stellaops.env", MIRROR_PUBLISH_EVERY="3h")
    services = resolved(place, "full")["services"]
    assert services["mirror-sync"]["healthcheck"]["test"][-1].endswith("?every=2h")
    assert "?every=3h&" in services["mirror-publish"]["healthcheck"]["test"][-1]


def test_health_of_a_worker_is_what_the_queue_knows_of_it(tmp_path: Path) -> None:
    program = tmp_path / "stella"
    me = socket.gethostname()
    path = f"{tmp_path}:{os.environ['PATH']}"
    for workers, code in (
        ([{"id": f"{me}-7-abc", "state": "running"}, {"id": "other-1-a", "state": "lost"}], 0),
        ([{"id": f"{me}-7-abc", "state": "lost"}], 1), ([{"id": "other-1-a", "state": "running"}], 1), ([], 1),
    ):  # fmt: skip
        program.write_text(f"#!/bin/sh\necho '{json.dumps(workers)}'\n")
        program.chmod(0o755)
        assert health("worker", PATH=path)[0] == code
    program.write_text("#!/bin/sh\necho the database is away >&2\nexit 10\n")
    assert "the database is away" in health("worker", PATH=path)[1]


# ---- verify-bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle of a database, and the public key."""
    place = tmp_path_factory.mktemp("bundle")
    stella = str(require("stella"))
    common = ["--data-dir", str(place / "data"), "--format", "json"]
    for words in (
        ["concelier", "import", str(DEPLOY.parent / "examples/advisories/pypa"), "--source", "pypa"],
        ["export", "run", "submit", "--profile", "trivy:db"],
        ["export", "download", "latest", "--to", str(place / "bundle")],
        ["authority", "key", "export-public", "--to", str(place / "key.pub")],
    ):
        done = subprocess.run([stella, *words, *common], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place / "bundle", place / "key.pub"


def verify(root: Path, key: Path, cosign: Path, *words: str) -> tuple[int, str]:
    programs = root.parent / f"programs-{cosign.name}"
    if not programs.exists():
        programs.mkdir()
        (programs / "cosign").symlink_to(cosign)
        trivy = find("trivy")
        if trivy is not None:
            (programs / "trivy").symlink_to(trivy)
    done = tool(
        "verify-bundle.sh", root, "--key", key, *words, variables={"PATH": f"{programs}:/usr/bin:/bin"}
    )
    return done.returncode, done.stdout + done.stderr


def test_a_sound_bundle_is_verified_with_each_cosign(
    bundle: tuple[Path, Path], cosign: Path, trivy: Path
) -> None:
    code, told = verify(*bundle, cosign)
    assert code == 0, told
    assert "trivy/db.bundle: signed" in told
    assert "provenance: signed" in told
    assert re.search(r"trivy finds (\d+) of \1 sentinels", told)


@pytest.mark.parametrize(
    "what",
    ["export.json", "files.json", "README.md", "provenance.json", "trivy/db.bundle", "trivy/sentinels.json"],
)
def test_one_flipped_byte_is_found(
    bundle: tuple[Path, Path], cosign3: Path, tmp_path: Path, what: str
) -> None:
    root = Path(shutil.copytree(bundle[0], tmp_path / "bundle"))
    data = bytearray((root / what).read_bytes())
    data[len(data) // 2] ^= 1
    (root / what).write_bytes(data)
    code, told = verify(root, bundle[1], cosign3, "--no-scan")
    assert code == 6, told


def test_what_nothing_explains_another_key_and_no_bundle_are_refused(
    bundle: tuple[Path, Path], cosign3: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(bundle[0], tmp_path / "bundle"))
    (root / "more.txt").write_text("x")
    assert verify(root, bundle[1], cosign3, "--no-scan")[0] == 6
    (root / "more.txt").rename(root / "signatures" / "more.sig")
    code, told = verify(root, bundle[1], cosign3, "--no-scan")
    assert (code, "signatures/more.sig is in the bundle, and nothing signed names it" in told) == (6, True)
    (root / "signatures" / "more.sig").unlink()
    (root / "link").symlink_to("export.json")
    assert verify(root, bundle[1], cosign3, "--no-scan")[0] == 6
    (root / "link").unlink()
    assert verify(root, bundle[1], cosign3, "--no-scan")[0] == 0
    stranger = tmp_path / "stranger.pub"
    stranger.write_bytes(ecdsa_p256.generate().public_key_pem())
    assert verify(root, stranger, cosign3, "--no-scan")[0] == 6
    assert verify(tmp_path, bundle[1], cosign3)[0] == 2
    assert tool("verify-bundle.sh", root).returncode == 2


@pytest.mark.parametrize("option", ["--key", "--cache-dir"])
def test_an_option_of_verify_bundle_without_its_value_is_wrong_use(tmp_path: Path, option: str) -> None:
    done = tool("verify-bundle.sh", tmp_path, option)
    assert done.returncode == 2
    assert f"error: {option} needs a value" in done.stderr
    assert "verify-bundle.sh BUNDLE --key" in done.stderr
