"""`/api/authority`: managing clients, tenants and keys over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.api.app import create_app
from stellaops.authority.manage_clients import Wanted
from stellaops.bootstrap import Local
from stellaops.center.authority import local_authority
from tests.support.asgi import Asgi, Reply


class Service:
    """An installation with two tenants, an operator, and an administrator of the first tenant."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.local = Local(settings.load({"dataDir": str(directory)}, {"STELLA_CONFIG": "/nonexistent"}))
        self.app = create_app(self.local)
        authority = local_authority(self.local, "default")
        for name in ("acme", "other"):
            authority.create_tenant(name)
        self.secrets = {"admin": authority.bootstrap("admin")["clientSecret"]}
        scopes = ("authority:manage", "export:read", "export:run")
        for client_id, tenant in (("acme-admin", "acme"), ("other-admin", "other")):
            made = authority.create_client(Wanted(client_id, None, (tenant,), scopes))
            self.secrets[client_id] = made["clientSecret"]

    def by(self, client_id: str) -> Asgi:
        return Asgi(self.app, self.local.issuer.issue(client_id, [self.secrets[client_id]]).token)

    def audit(self, tenant: str) -> list[Any]:
        return list(self.local.audit.list([tenant]))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


NEW = {"clientId": "ci", "scopes": ["export:read"], "tenants": ["acme"]}


def made(service: Service, by: str = "acme-admin", **changes: Any) -> Any:
    reply = service.by(by).ask("POST", "/api/authority/clients", NEW | changes)
    assert reply.status == 201, reply.body
    return reply.json


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["code"]


def test_a_client_is_made_used_rotated_and_revoked(service: Service) -> None:
    admin = service.by("acme-admin")
    first = made(service)["clientSecret"]
    assert service.local.issuer.issue("ci", [first]).claims.tenants == ("acme",)
    rotated = admin.ask("POST", "/api/authority/clients/ci/rotate", {"overlapSeconds": 60})
    second = rotated.json["clientSecret"]
    assert rotated.headers["cache-control"] == "no-store"
    for secret in (first, second):
        token = service.local.issuer.issue("ci", [secret]).token
    caller = Asgi(service.app, token)
    assert caller.ask("GET", "/api/export/profiles").status == 200
    revoked = admin.ask("POST", "/api/authority/clients/ci/revoke", {"reason": "gone"})
    assert (revoked.status, revoked.json["revocationReason"]) == (200, "gone")
    shown = admin.ask("GET", "/api/authority/clients/ci").json
    assert "clientSecret" not in shown
    assert [each["number"] for each in shown["secrets"]] == [1, 2]
    assert code(admin.ask("POST", "/api/authority/clients/ci/rotate")) == (409, "ERR_CLIENT_REVOKED")


def test_a_client_without_a_name_gets_an_id_that_a_repeated_request_keeps(service: Service) -> None:
    admin = service.by("acme-admin")
    body = {"scopes": ["export:read"]}
    headers = {"idempotency-key": "once"}
    first = admin.ask("POST", "/api/authority/clients", body, headers)
    assert (first.status, first.json["tenants"]) == (201, ["acme"])
    assert first.headers["location"] == f"/api/authority/clients/{first.json['clientId']}"
    again = admin.ask("POST", "/api/authority/clients", body, headers)
    assert code(again) == (409, "ERR_IDEMPOTENCY_SECRET_SHOWN")
    assert len(service.local.clients.list()) == 4


def test_every_change_stands_in_the_audit_log_with_who_and_from_where(service: Service) -> None:
    admin = service.by("acme-admin")
    made(service)
    admin.ask("PATCH", "/api/authority/clients/ci", {"name": "build"})
    admin.ask("POST", "/api/authority/clients/ci/rotate")
    admin.ask("POST", "/api/authority/clients/ci/revoke", {"reason": "gone"})
    records = service.audit("acme")[::-1]
    assert [record.change.action for record in records] == [
        "client.created", "client.changed", "client.rotated", "client.revoked",
    ]  # fmt: skip
    for record in records:
        assert (record.actor, record.origin, record.change.target) == (
            "acme-admin",
            admin.address,
            "client/ci",
        )
        assert record.change.after
    assert records[0].change.before is None
    assert records[1].change.before == records[0].change.after
    assert records[3].change.reason == "gone"


TOO_MUCH = (
    {"scopes": ["policy:manage"]},
    {"tenants": ["other"]},
    {"tenants": ["acme", "other"]},
    {"tenants": ["*"]},
)


def test_an_administrator_of_a_tenant_gives_no_more_than_it_has(service: Service) -> None:
    admin = service.by("acme-admin")
    for wanted in TOO_MUCH:
        assert code(admin.ask("POST", "/api/authority/clients", NEW | wanted)) == (403, "ERR_GRANT_EXCEEDS")
    made(service)
    for wanted in TOO_MUCH:
        assert code(admin.ask("PATCH", "/api/authority/clients/ci", wanted)) == (403, "ERR_GRANT_EXCEEDS")


def test_clients_tenants_and_keys_of_others_are_not_there(service: Service) -> None:
    admin = service.by("acme-admin")
    for path in (
        "/api/authority/clients/other-admin",
        "/api/authority/clients/admin",
        "/api/authority/tenants/other",
    ):
        assert admin.ask("GET", path).status == 404
    for verb in ("rotate", "revoke"):
        assert admin.ask("POST", f"/api/authority/clients/other-admin/{verb}").status == 404
    listed = admin.ask("GET", "/api/authority/clients").json["items"]
    assert [each["clientId"] for each in listed] == ["acme-admin"]
    assert [each["tenant"] for each in admin.ask("GET", "/api/authority/tenants").json["items"]] == ["acme"]
    key = service.by("other-admin").ask("POST", "/api/authority/keys").json["keyId"]
    assert admin.ask("GET", "/api/authority/keys").json["items"] == []
    for path in (f"/api/authority/keys/{key}", f"/api/authority/keys/public?keyId={key}"):
        assert admin.ask("GET", path).status == 404
    for verb in ("activate", "revoke"):
        assert admin.ask("POST", f"/api/authority/keys/{key}/{verb}").status == 404
    foreign = admin.ask("GET", "/api/authority/keys", headers={"x-stella-tenant": "other"})
    assert code(foreign) == (403, "ERR_FOREIGN_TENANT")


OPERATORS_ONLY = (
    ("POST", "/api/authority/tenants", {"tenant": "mine"}),
    ("PATCH", "/api/authority/tenants/acme", {"maxActiveRuns": 99}),
    ("GET", "/api/authority/token-keys", None),
    ("POST", "/api/authority/token-keys/rotate", None),
    ("POST", "/api/authority/token-keys/x/revoke", None),
)


def test_what_is_the_installations_own_is_for_operators(service: Service) -> None:
    admin = service.by("acme-admin")
    narrowed = service.local.issuer.issue("admin", [service.secrets["admin"]], tenant="acme").token
    for caller in (admin, Asgi(service.app, narrowed)):
        for method, path, body in OPERATORS_ONLY:
            assert code(caller.ask(method, path, body)) == (403, "ERR_OPERATOR_ONLY"), path


def test_an_operator_makes_a_tenant_limits_it_and_acts_for_it_at_once(service: Service) -> None:
    operator = service.by("admin")
    reply = operator.ask("POST", "/api/authority/tenants", {"tenant": "late", "maxQueuedRuns": 7})
    assert (reply.status, reply.headers["location"]) == (201, "/api/authority/tenants/late")
    reply = operator.ask("PATCH", "/api/authority/tenants/late", {"maxActiveRuns": 0, "reason": "invoice"})
    assert (reply.json["maxActiveRuns"], reply.json["maxQueuedRuns"]) == (0, 7)
    limits = service.local.limits.limits("late")
    assert (limits.max_active_runs, limits.max_queued_runs) == (0, 7)
    later = service.by("admin")
    assert later.ask("GET", "/api/authority/keys", headers={"x-stella-tenant": "late"}).json["items"] == []
    changed = next(r for r in service.audit("default") if r.change.action == "tenant.changed")
    assert (changed.change.target, changed.change.reason) == ("tenant/late", "invoice")


def test_signing_keys_are_made_rotated_revoked_and_exported(service: Service) -> None:
    admin = service.by("acme-admin")
    first = admin.ask("POST", "/api/authority/keys").json
    assert (first["state"], first["encrypted"]) == ("active", False)
    rotated = admin.ask("POST", "/api/authority/keys/rotate").json
    assert (rotated["state"], rotated["resigned"]) == ("active", [])
    states = {each["keyId"]: each["state"] for each in admin.ask("GET", "/api/authority/keys").json["items"]}
    assert states == {first["keyId"]: "retired", rotated["keyId"]: "active"}
    both = admin.ask("GET", "/api/authority/keys/public")
    assert both.body.count(b"BEGIN PUBLIC KEY") == 2
    assert admin.ask("POST", f"/api/authority/keys/{first['keyId']}/activate").json["state"] == "active"
    reply = admin.ask("POST", f"/api/authority/keys/{first['keyId']}/revoke", {"reason": "lost"})
    assert (reply.json["state"], reply.json["revocationReason"]) == ("revoked", "lost")
    one = admin.ask("GET", "/api/authority/keys/public")
    assert one.body.decode() == rotated["publicKey"]
    assert code(admin.ask("POST", f"/api/authority/keys/{first['keyId']}/activate"))[1] == "ERR_KEY_REVOKED"
    assert b"PRIVATE" not in both.body + one.body + reply.body
    actions = [record.change.action for record in service.audit("acme")]
    assert actions == ["key.revoked", "key.activated", "key.rotated", "key.created"]


def test_a_key_under_a_passphrase_is_not_followed_by_one_without(service: Service) -> None:
    passphrase = service.directory / "passphrase"
    passphrase.write_text("a passphrase of some length")
    passphrase.chmod(0o600)
    service.local.key_store(passphrase).create("acme", service.local.audit.list(None)[0].at)
    reply = service.by("acme-admin").ask("POST", "/api/authority/keys/rotate")
    assert code(reply) == (400, "ERR_KEY_PASSPHRASE_NEEDED")


def test_keys_of_access_tokens_are_rotated_and_revoked(service: Service) -> None:
    operator = service.by("admin")
    (key,) = operator.ask("GET", "/api/authority/token-keys").json["items"]
    assert key["state"] == "active"
    (ended,) = operator.ask("POST", "/api/authority/token-keys/rotate").json["items"]
    assert (ended["keyId"], ended["state"]) == (key["keyId"], "retired")
    missing = operator.ask("POST", "/api/authority/token-keys/nothing/revoke")
    assert code(missing) == (404, "ERR_TOKEN_KEY_NOT_FOUND")
    gone = operator.ask("POST", f"/api/authority/token-keys/{key['keyId']}/revoke", {"reason": "copied"})
    assert gone.json["state"] == "revoked"


BAD: tuple[dict[str, Any], ...] = (
    {}, {"scopes": []}, {"scopes": ["nothing"]}, {"scopes": "export:read"}, {"scopes": ["export:read"], "x": 1},
    NEW | {"clientId": "A B"}, NEW | {"clientId": "x" * 300}, NEW | {"name": "a\nb"}, NEW | {"tenants": []},
    NEW | {"tenants": [""]}, NEW | {"scopes": [None]},
)  # fmt: skip


def test_bad_input_makes_no_client(service: Service) -> None:
    admin, before = service.by("acme-admin"), len(service.local.clients.list())
    for body in BAD:
        assert admin.ask("POST", "/api/authority/clients", body).status == 400, body
    assert len(service.local.clients.list()) == before


def test_lists_come_in_pages(service: Service) -> None:
    for number in range(4):
        made(service, clientId=f"ci-{number}")
    operator, found, cursor = service.by("admin"), [], ""
    while True:
        page = operator.ask("GET", f"/api/authority/clients?limit=2{cursor}").json
        found += [each["clientId"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == ["acme-admin", "admin", "ci-0", "ci-1", "ci-2", "ci-3", "other-admin"]


def test_no_secret_lies_in_any_file_of_the_data_directory(service: Service) -> None:
    admin = service.by("acme-admin")
    created = admin.ask("POST", "/api/authority/clients", NEW, {"idempotency-key": "a"}).json["clientSecret"]
    rotated = admin.ask("POST", "/api/authority/clients/ci/rotate", None, {"idempotency-key": "b"})
    tokens = [service.local.issuer.issue("ci", [created]).token, admin.token or ""]
    admin.ask("POST", "/api/authority/keys")
    service.local.service_engine.dispose()
    secrets = [created, rotated.json["clientSecret"], *service.secrets.values()]
    looked = 0
    for path in service.directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            looked += path.suffix == ".db"
            for secret in (*secrets, *tokens):
                assert secret.encode() not in data, path
                assert secret.removeprefix("stella_").encode() not in data, path
            if path.suffix != ".pem":
                assert b"PRIVATE KEY" not in data, path
    assert looked >= 1
