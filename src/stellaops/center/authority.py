"""Clients, tenants and keys of access tokens, as they are managed: on the stores of this machine.

The command line on a data directory and the API manage through the same class; who asks is told by the `Actor`, and
every change is told to whoever keeps the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from stellaops.authority import manage_clients, manage_tenants
from stellaops.authority.actors import OPERATOR, Actor
from stellaops.authority.audit import Change, digest_of
from stellaops.authority.manage_clients import OVERLAP, ClientTools, Wanted, WithSecret
from stellaops.authority.tenants import Tenant
from stellaops.authority.tokens import TokenKeyNotFound
from stellaops.bootstrap import Local, now
from stellaops.center.noting import Tell, local_audit
from stellaops.center.wire import Wire


class LocalAuthority:
    """What `stella authority client`, `tenant` and `token-key` do, on the stores of this machine.

    Args:
        actor: who asks.
        tell: keeps the audit log.
    """

    def __init__(self, local: Local, actor: Actor, tell: Tell) -> None:
        self._local, self._actor, self._tell = local, actor, tell
        self._tools = ClientTools(local.clients, local.tenants)

    # Clients

    def clients(self) -> list[Wire]:
        """Every client that the actor manages, by id."""
        return [client.to_wire() for client in manage_clients.list_clients(self._tools, self._actor)]

    def client(self, client_id: str) -> Wire:
        """One of them."""
        return manage_clients.find_client(self._tools, self._actor, client_id).to_wire()

    def create_client(self, wanted: Wanted, secret: str | None = None) -> Wire:
        """Make a client; the answer has its `clientSecret`, unless it was given."""
        done = manage_clients.create_client(self._tools, self._actor, wanted, now=now(), secret=secret)
        self._changed("client.created", done.client.id, None, done.client.to_wire())
        return with_secret(done)

    def change_client(self, client_id: str, wanted: Wanted) -> Wire:
        """Change a client's name, tenants or scopes."""
        before, after = manage_clients.change_client(self._tools, self._actor, client_id, wanted, now=now())
        self._changed("client.changed", client_id, before.to_wire(), after.to_wire())
        return after.to_wire()

    def rotate_client(
        self, client_id: str, *, overlap: timedelta = OVERLAP, secret: str | None = None
    ) -> Wire:
        """Give a client another secret; the answer has it as `clientSecret`, unless it was given."""
        before = self.client(client_id)
        done = manage_clients.rotate_secret(
            self._tools, self._actor, client_id, now=now(), overlap=overlap, secret=secret
        )
        details = {"overlapSeconds": int(overlap.total_seconds())}
        self._changed("client.rotated", client_id, before, done.client.to_wire(), details=details)
        return with_secret(done)

    def revoke_client(self, client_id: str, reason: str = "") -> Wire:
        """Revoke a client for ever."""
        before, after = manage_clients.revoke_client(
            self._tools, self._actor, client_id, now=now(), reason=reason
        )
        self._changed("client.revoked", client_id, before.to_wire(), after.to_wire(), reason=reason)
        return after.to_wire()

    def bootstrap(self, client_id: str, secret: str | None = None) -> Wire:
        """Make the first operator; `created` says whether it was made now."""
        done, made = manage_clients.bootstrap(self._tools, client_id, now=now(), secret=secret)
        if made:
            self._changed("client.created", client_id, None, done.client.to_wire(), reason="bootstrap")
        return with_secret(done) | {"created": made}

    # Tenants

    def tenants(self) -> list[Wire]:
        """The tenants that the actor acts for."""
        return [tenant.to_wire() for tenant in manage_tenants.list_tenants(self._local.tenants, self._actor)]

    def tenant(self, name: str) -> Wire:
        """One of them."""
        return manage_tenants.find_tenant(self._local.tenants, self._actor, name).to_wire()

    def create_tenant(
        self,
        name: str,
        max_active_runs: int | None = None,
        max_queued_runs: int | None = None,
        max_storage: int | None = None,
    ) -> Wire:
        """Make a tenant."""
        made = manage_tenants.create_tenant(
            self._local.tenants, self._actor, name, now=now(),
            max_active_runs=max_active_runs, max_queued_runs=max_queued_runs, max_storage=max_storage,
        )  # fmt: skip
        self._tenant_changed("tenant.created", None, made)
        return made.to_wire()

    def set_limits(
        self,
        name: str,
        *,
        max_active_runs: int | None,
        max_queued_runs: int | None,
        max_storage: int | None = None,
        reason: str = "",
    ) -> Wire:
        """Change how much a tenant may run and keep."""
        before, after = manage_tenants.set_limits(
            self._local.tenants, self._actor, name,
            max_active_runs=max_active_runs, max_queued_runs=max_queued_runs, max_storage=max_storage,
        )  # fmt: skip
        self._tenant_changed("tenant.changed", before, after, reason)
        return after.to_wire()

    # Keys of access tokens

    def token_keys(self) -> list[Wire]:
        """Public keys of access tokens, the oldest first."""
        self._actor.demand_operator("see keys of access tokens")
        moment = now()
        return [key.to_wire(moment) for key in self._local.token_keys.list()]

    def rotate_token_keys(self) -> list[Wire]:
        """Let no key that there is sign any more: every process makes another one. Tokens that are out still hold."""
        self._actor.demand_operator("rotate keys of access tokens")
        moment = now()
        ids = [key.id for key in self._local.token_keys.list() if key.signs(moment)]
        self._end(ids, "token_key.rotated", revoke=False)
        return self.token_keys()

    def revoke_token_key(self, key_id: str, reason: str = "") -> Wire:
        """Let a key sign and verify nothing any more: everybody whose token it signed logs in again."""
        self._actor.demand_operator("revoke keys of access tokens")
        if key_id not in {key.id for key in self._local.token_keys.list()}:
            raise TokenKeyNotFound(f"there is no key {key_id[:80]!r} for access tokens")
        self._end([key_id], "token_key.revoked", revoke=True, reason=reason)
        return next(wire for wire in self.token_keys() if wire["keyId"] == key_id)

    def _end(self, ids: Sequence[str], action: str, *, revoke: bool, reason: str = "") -> None:
        self._local.token_keys.end(ids, now(), revoke=revoke)
        self._tell(Change(action, "token_keys", reason=reason, details={"keyIds": list(ids)}))

    def _changed(
        self, action: str, client_id: str, before: Wire | None, after: Wire | None, *,
        reason: str = "", details: Wire | None = None,
    ) -> None:  # fmt: skip
        target = f"client/{client_id}"
        facts = {"tenants": (after or before or {}).get("tenants", []), **(details or {})}
        self._tell(Change(action, target, digest_of(before), digest_of(after), reason, facts))

    def _tenant_changed(self, action: str, before: Tenant | None, after: Tenant, reason: str = "") -> None:
        old = before.to_wire() if before else None
        details = {
            name: after.to_wire()[name] for name in ("maxActiveRuns", "maxQueuedRuns", "maxStorageBytes")
        }
        change = Change(
            action, f"tenant/{after.id}", digest_of(old), digest_of(after.to_wire()), reason, details
        )
        self._tell(change)


def local_authority(local: Local, tenant: str) -> LocalAuthority:
    """For whoever works on the data directory itself: an operator."""
    return LocalAuthority(local, OPERATOR, local_audit(local, tenant))


def with_secret(done: WithSecret) -> Wire:
    """A client as scripts read it, with the secret that is told this once."""
    wire = done.client.to_wire()
    return wire if done.secret is None else wire | {"clientSecret": done.secret}
