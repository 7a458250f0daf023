"""Access tokens at a mirror host that asks their authority: revoked ones end, whatever else happens goes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from stellaops.authority.actors import OPERATOR
from stellaops.authority.manage_clients import (
    ClientTools,
    Wanted,
    create_client,
    revoke_client,
    rotate_secret,
)
from stellaops.bootstrap import now
from tests.support.api import Api, ApiProcess, api
from tests.support.api import serving as serving_api
from tests.support.gateways import GatewayProcess, Setup, serving, until, write_users
from tests.support.mirror_tree import MirrorTree

STABLE = "/concelier/exports/mirror/primary/manifest.json"
READ = ("concelier.mirror.read",)


@dataclass
class World:
    """An authority, and a back end with a client of its own."""

    authority: Api
    server: ApiProcess
    back_end: GatewayProcess
    secret_file: Path
    own: str

    def tools(self) -> ClientTools:
        return ClientTools(self.authority.local.clients, self.authority.local.tenants)

    def client(self, *tenants: str, scopes: tuple[str, ...] = READ) -> tuple[str, str]:
        """A client and an access token of it."""
        made = create_client(self.tools(), OPERATOR, Wanted(tenants=tenants, scopes=scopes), now=now())
        token = self.authority.local.issuer.issue(made.client.id, [made.secret or ""]).token
        self.authority.local.access.forget()
        return made.client.id, token

    def status(self, token: str, scheme: str = "Bearer") -> int:
        return self.back_end.ask(STABLE, headers={"Authorization": f"{scheme} {token}"}).status


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("tokens")
    tree = MirrorTree(place / "mirror")
    tree.publish()
    write_users(place / "mirror-primary.htpasswd", {"edge": "correct-horse"})
    with api(place / "authority") as authority, serving_api(authority.service) as server:
        authority.tenant("acme")
        wanted = Wanted(tenants=("acme",), scopes=READ)
        made = create_client(
            ClientTools(authority.local.clients, authority.local.tenants), OPERATOR, wanted, now=now()
        )
        secret = place / "concelier-authority-client"
        secret.write_text(f"{made.secret}\n")
        told = {
            "CONCELIER__AUTHORITY__URL": server.url, "CONCELIER__AUTHORITY__CLIENTID": made.client.id,
            "CONCELIER__AUTHORITY__CLIENTSECRETFILE": str(secret), "GATEWAY__SECRETSDIR": str(place),
            "CONCELIER__MIRROR__DOMAINS__0__TENANT": "acme", "CONCELIER__MIRROR__DOMAINS__1__ID": "",
        }  # fmt: skip
        with serving(Setup(tree.root, place / "back-end", told), "concelier") as back_end:
            yield World(authority, server, back_end, secret, made.client.id)


def test_a_revoked_client_reads_no_more_once_what_is_remembered_is_over(world: World) -> None:
    client, token = world.client("acme")
    assert [world.status(token), world.status(token)] == [200, 200]
    revoke_client(world.tools(), OPERATOR, client, now=now())
    # Headers that were not seen before, of which nothing is remembered.
    others = (f"Bearer{' ' * number}" for number in itertools.count(1))
    until(lambda: world.status(token, next(others)) == 401)
    world.back_end.reload()
    assert world.status(token) == 401
    assert token not in world.back_end.log()


def test_scopes_and_tenants_are_those_that_the_authority_tells(world: World) -> None:
    world.authority.tenant("other")
    assert world.status(world.client("other")[1]) == 401  # nothing is told of clients of other tenants
    assert world.status(world.client("acme", scopes=("excititor.mirror.read",))[1]) in (401, 403)
    assert world.status(world.client("*")[1]) == 200


def test_the_back_ends_own_secret_is_rotated_without_a_restart(world: World) -> None:
    assert world.status(world.client("acme")[1]) == 200
    changed = rotate_secret(world.tools(), OPERATOR, world.own, now=now(), overlap=timedelta(0))
    world.secret_file.write_text(f"{changed.secret}\n")
    until(lambda: world.status(world.client("acme")[1]) == 200, 30)


def test_only_clients_that_read_mirrors_may_ask_about_tokens(world: World) -> None:
    _, token = world.client("acme")
    form = {
        "headers": {"content-type": "application/x-www-form-urlencoded"},
        "content": urlencode({"token": token}),
    }
    asked = world.authority.post("/authority/introspect", tenants=("acme",), scopes=READ, **form)
    assert (asked.status_code, asked.json()["active"], asked.json()["tenants"]) == (200, True, ["acme"])
    assert asked.headers["cache-control"] == "no-store"
    asked = world.authority.post("/authority/introspect", tenants=("acme",), scopes=("export:read",), **form)
    assert (asked.status_code, asked.json()["code"]) == (403, "ERR_SCOPE_MISSING")
    form["content"] = urlencode({"token": f"{token}x"})
    asked = world.authority.post("/authority/introspect", tenants=("acme",), scopes=READ, **form)
    assert asked.json() == {"active": False}
    form["content"] = "x=1"
    assert (
        world.authority.post("/authority/introspect", scopes=READ, **form).json()["code"]
        == "ERR_TOKEN_QUESTION"
    )


def test_passwords_go_on_while_the_authority_is_away_and_tokens_wait(world: World) -> None:
    _, token = world.client("acme")
    world.server.stop()
    reply = world.back_end.ask(STABLE, headers={"Authorization": f"Bearer {token}"})
    assert (reply.status, reply.json["code"]) == (503, "ERR_MIRROR_NOT_READY")
    assert reply.headers["retry-after"] == "5"
    assert world.back_end.ask(STABLE, "edge").status == 200
    assert "ERR_AUTHORITY_UNREACHABLE" in world.back_end.log()
