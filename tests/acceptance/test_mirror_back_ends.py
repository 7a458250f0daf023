"""The gateway before back ends, as Compose starts them: the same answers, kept for a while, and never for others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateways import GatewayProcess, Setup, serving, write_users
from tests.support.mirror_tree import MirrorTree


@dataclass
class World:
    """Both back ends, and a gateway that has no tree."""

    tree: MirrorTree
    concelier: GatewayProcess
    gateway: GatewayProcess
    cache: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("back-ends")
    tree = MirrorTree(place / "mirror")
    tree.publish(files={"big.bin": os.urandom(3_000_000)})
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    secrets = {"GATEWAY__SECRETSDIR": str(place)}
    behind = [Setup(tree.root, place / part, secrets) for part in ("concelier", "excititor")]
    with serving(behind[0], "concelier") as concelier, serving(behind[1], "excititor") as excititor:
        told = {
            **secrets, "GATEWAY__CONCELIER__URL": concelier.url, "GATEWAY__EXCITITOR__URL": excititor.url,
            "GATEWAY__CACHEDIR": str(place / "cache"), "CONCELIER__MIRROR__EXPORTROOT": "",
            "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": "",
        }  # fmt: skip
        with serving(Setup(tree.root, place / "gateway", told)) as gateway:
            yield World(tree, concelier, gateway, place / "cache")


PATHS = (
    "/concelier/exports/index.json", "/concelier/exports/mirror/primary/manifest.json",
    "/concelier/exports/{concelier}/mirror/primary/bundle.json",
    "/concelier/exports/{concelier}/mirror/primary/big.bin",
    "/concelier/exports/mirror/primary/bundle.json.sig", "/concelier/exports/freshness/primary.json",
    "/excititor/mirror/primary/index", "/excititor/mirror/primary/exports/consensus-json/download",
    "/vex/primary/vex-repository.tar.gz", "/osv/primary/ecosystems.txt", "/v2/primary/trivy-db/manifests/2",
    "/v2/primary/trivy-db/tags/list",
)  # fmt: skip
SAME = ("etag", "content-type", "cache-control", "vary", "repr-digest", "content-location", "content-encoding",
        "x-stella-export-id", "content-disposition", "docker-content-digest")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coding", ["identity", "zstd"])
def test_an_answer_is_the_back_ends_own_and_nobody_else_gets_it(world: World, path: str, coding: str) -> None:
    url = path.format(**world.tree.ids)
    told = {"Accept-Encoding": coding}
    first, second = (world.gateway.ask(url, "edge", headers=told) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert second.headers["x-cache-status"] == "HIT"
    assert first.body == second.body
    assert first.headers["etag"] == f'"sha256:{hashlib.sha256(first.body).hexdigest()}"'
    if not url.startswith(("/excititor", "/vex")):
        own = world.concelier.ask(url, "edge", headers=told)
        assert own.body == first.body
        assert {name: own.headers.get(name) for name in SAME} == {
            name: first.headers.get(name) for name in SAME
        }
    assert world.gateway.ask(url).status == 401
    if "primary" in url:
        assert world.gateway.ask(url, "comm").status == 401
    else:
        assert world.gateway.ask(url, "comm").json["domains"] != first.json["domains"]
    assert (
        world.gateway.ask(url, "edge", headers={**told, "If-None-Match": first.headers["etag"]}).status == 304
    )


def test_what_is_not_there_is_not_there(world: World) -> None:
    assert world.gateway.ask("/concelier/exports/mirror/primary/none.json", "edge").status == 404


def test_a_vex_repository_is_where_clients_see_it(world: World) -> None:
    manifest = world.gateway.ask("/vex/primary/.well-known/vex-repository.json", "edge").json
    assert manifest["versions"][0]["locations"][0]["url"].startswith(world.gateway.url)


def test_what_is_kept_goes_on_when_a_back_end_is_gone(world: World) -> None:
    kept = f"/concelier/exports/{world.tree.ids['concelier']}/mirror/primary/big.bin"
    body = world.gateway.ask(kept, "edge").body
    world.concelier.process.terminate()
    world.concelier.process.wait(20)
    assert world.gateway.ask(kept, "edge").body == body
    assert world.gateway.ask(kept).status == 401
    other = world.gateway.ask("/concelier/exports/mirror/community/bundle.json", "comm")
    assert (other.status, other.json["code"]) == (503, "ERR_MIRROR_NOT_READY")
    assert other.headers["cache-control"] == "no-store"
    assert "a request could not be answered" in world.gateway.log()
