"""The pods of the whole service as processes: migration, first operator, API, a worker, publishing, sync, mirrors."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgres, s3
from tests.support.certificates import certify
from tests.support.gateways import PASSWORD, write_users
from tests.support.helm import whole
from tests.support.object_places import key_file
from tests.support.pods import Pods, Served, until_answers
from tests.unit.cli.running import osv, package, until

pytestmark = pytest.mark.slow

SOCKET = "directory-of-the-socket"
SECRET = "q3vJ8sLx0pZr5WmT2yBn7KcD4fGh6AeU"  # noqa: S105 - of a client that the test makes


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    place = tmp_path_factory.mktemp("service")
    (place / "weed").mkdir()
    with ExitStack() as stack:
        database = stack.enter_context(postgres.running())
        bucket = stack.enter_context(s3.serving(place / "weed"))
        name = stack.enter_context(database.database())
        base, _, folder = bucket.url.rstrip("/").rpartition("/")
        store = f"postgresql://{postgres.ROLE}@/{name}?host={SOCKET}&port={database.port}"
        near = {"STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1", "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8"}
        there = {"endpoint": base, "region": "us-east-1"}
        key = {"keySecret": {"name": "key"}}
        values = whole(
            domains=[{"id": "primary", "hosts": ["primary.example.org"]}],
            store={"evidence": store, "service": store, "passwordSecret": {"name": ""}},
            artefacts={"store": f"s3://{folder}/bundles", **there, **key},
            publish={"target": f"s3://{folder}/mirrors", **there, **key},
            sync={"source": f"s3://{folder}/mirrors", **there, "settings": near},
            keys={"passphraseSecret": {"name": "passphrase"}},
            api={"bootstrapSecret": {"name": "admin"}, "settings": near},
            worker={"slots": 3},
        )
        secrets = _secrets(place, key_file(place, bucket))
        yield Pods(values, place / "cluster", secrets, addresses={SOCKET: str(database.directory)})


def _secrets(place: Path, key: Path) -> dict[str, dict[str, str | bytes]]:
    write_users(place / "users", {"edge": PASSWORD})
    tls = certify(place, "own", "primary.example.org", 1)
    return {
        "key": {"credentials": key.read_bytes()},
        "mirror-sync-aws": {"credentials": key.read_bytes()},
        "passphrase": {"passphrase": "a passphrase of this test\n"},
        "admin": {"secret": SECRET},
        "mirror-gateway-htpasswd": {"mirror-primary.htpasswd": (place / "users").read_bytes()},
        "mirror-gateway-tls": {"tls.crt": tls.read_bytes(), "tls.key": tls.with_suffix(".key").read_bytes()},
    }


@pytest.fixture(scope="module")
def api(pods: Pods) -> Iterator[Served]:
    for name in ("migrate", "bootstrap", "migrate", "bootstrap"):  # a pod that starts again does both again
        done = pods.run("stellaops-api", name)
        assert done.returncode == 0, done.stderr
    with pods.serving("stellaops-api") as part:
        until_answers("readinessProbe", part)
        yield part


def told(pods: Pods, *arguments: str) -> Any:
    """`kubectl exec deploy/stellaops-api -- stella …`."""
    done = pods.run("stellaops-api", "api", [*arguments, "--format", "json"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_service_makes_a_bundle_and_publishes_a_mirror_that_readers_get(pods: Pods, api: Served) -> None:
    brought = pods.claim("concelier-mirror-jobs") / "feed"
    brought.mkdir()
    advisory = osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.5.0")))
    (brought / "left.json").write_text(json.dumps(advisory))
    taken = told(pods, "concelier", "import", "/var/lib/stellaops/feed", "--source", "ghsa")
    assert taken["added"] == 1
    assert pods.ready_command("export-center-worker").returncode == 1  # nobody works yet
    with pods.serving("export-center-worker") as worker:
        run = _exported(api)
        assert worker.process.poll() is None, worker.log.read_text()
        assert pods.ready_command("export-center-worker").returncode == 0
    assert run["status"] == "succeeded", run
    told(pods, "mirror", "init", "primary")
    for pod in ("mirror-publish", "mirror-sync"):
        done = pods.run(pod)
        assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        names = ("stellaops-concelier", "stellaops-mirror-gateway")
        parts = [stack.enter_context(pods.serving(name)) for name in names]
        until_answers("readinessProbe", *parts)
        arguments = next(each for each in pods.documents if each["kind"] == "Pod")["spec"]["containers"][0][
            "args"
        ]
        place = arguments.index("excititor") - 1
        done = pods.run("stellaops-smoke", arguments=[*arguments[:place], *arguments[place + 4 :]])
        assert done.returncode == 0, done.stdout
        assert re.findall(r"ok +(\w+)", done.stdout) == ["concelier", "api", "gateway", "primary"]


def _exported(api: Served) -> Any:
    """A run, submitted by the first operator over HTTP, to its end."""
    url = f"http://127.0.0.1:{api.port}"
    login = _ask(
        f"{url}/authority/token", f"grant_type=client_credentials&client_id=admin&client_secret={SECRET}"
    )
    token = login["access_token"]
    made = _ask(f"{url}/api/export/runs", json.dumps({"profile": "json:raw"}), token)
    for _ in range(600):
        run = _ask(f"{url}/api/export/runs/{made['runId']}", None, token)
        if run["status"] not in ("pending", "running"):
            return run
        time.sleep(0.2)
    return run


def _ask(url: str, body: str | None, token: str | None = None) -> Any:
    kind = "application/json" if token else "application/x-www-form-urlencoded"
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else body.encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as reply:  # noqa: S310
        return json.load(reply)
