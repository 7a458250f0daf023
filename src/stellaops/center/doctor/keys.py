"""Signing keys: whether each tenant's signs at this moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stellaops.authority.keys import KeyRecord, KeyState
from stellaops.authority.manage_keys import try_key
from stellaops.authority.ports import KeyStore, SignerSource
from stellaops.bootstrap import Local
from stellaops.core.errors import StellaError
from stellaops.ingest.doctor import Finding, Verdict

_SHOWN = 10
_HINT = "See `stella authority key list` and `stella authority key test --tenant TENANT`; docs/use/keys.md says more."


def check_keys(local: Local) -> Finding:
    """The keys of every tenant."""
    tenants = [tenant.id for tenant in local.tenants.list()]
    return check_tenants(tenants, local.keys, local.keys)


def check_tenants(tenants: Sequence[str], store: KeyStore, signers: SignerSource) -> Finding:
    """Whether each tenant that has keys has a sound active one that signs."""
    wrong, signing = list[str](), 0
    for tenant in tenants:
        problems = list(_problems(tenant, store, signers))
        wrong += problems
        signing += bool(store.records(tenant)) and not problems
    if wrong:
        return Finding("keys", Verdict.FAILED, "; ".join(wrong[:_SHOWN]), _HINT)
    return Finding(
        "keys", Verdict.OK, f"those of {signing} tenants sign; others get theirs with their first run"
    )


def _problems(tenant: str, store: KeyStore, signers: SignerSource) -> Iterator[str]:
    for damaged in store.damaged(tenant):
        yield f"{tenant}: key {damaged.key_id[:12]}: {damaged.what}"
    records = store.records(tenant)
    active = _active(records)
    if active is not None:
        try:
            try_key(signers, tenant, active.key_id)
        except StellaError as error:
            yield f"{tenant}: {error.what}"
    elif records:
        yield f"{tenant}: no key is active, so nothing can be signed"


def _active(records: Sequence[KeyRecord]) -> KeyRecord | None:
    return next((each for each in records if each.state is KeyState.ACTIVE), None)
