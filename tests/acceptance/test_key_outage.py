"""Runbook E §7.3, a key service that is away: the tenant is closed, nothing goes out unsigned, it catches up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stellaops.exports.building import make_archive
from stellaops.kit import sealing as kit_sealing
from tests.acceptance.test_server_playbooks import Center, Client
from tests.support import api, openbao
from tests.support.openbao import OpenBao
from tests.support.workers import Service, service, wait_for
from tests.unit.cli.running import Stella, osv, package, until

QUICK = {"STELLA_KEY_SERVICES_ATTEMPTS": "2", "STELLA_KEY_SERVICES_ALLOW": "hashivault://{tenant}"}
SUBMIT = ("export", "run", "submit", "--profile", "json:raw")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao.serving(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def settled(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> OpenBao:
    """The vault, named by the settings of this process."""
    for name, value in (bao.settings | QUICK).items():
        monkeypatch.setenv(name, value)
    return bao


class TestOnOneMachine:
    @pytest.fixture
    def stella(self, settled: OpenBao, tmp_path: Path) -> Stella:
        stella = Stella(tmp_path / "data")
        stella.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1"))))
        settled.make("default")
        stella("authority", "key", "create", "--uri", "hashivault://default")
        return stella

    def test_a_sealed_service_ends_the_run_as_signing_and_a_replay_makes_it_good(
        self, stella: Stella, settled: OpenBao
    ) -> None:
        settled.seal()
        try:
            said = stella.refused(10, "ERR_EXPORT_SIGNING", *SUBMIT)
            tried = stella.ask("authority", "key", "test")
        finally:
            settled.unseal()
        assert (tried.code, tried.value["status"], "sealed" in tried.value["detail"]) == (10, "failed", True)
        assert stella("authority", "key", "test")["status"] == "ok"
        assert "sealed (asked 2 times)" in said
        (failed,) = stella("export", "run", "list")
        assert (failed["status"], failed["errorCode"], failed["exportId"]) == ("failed", "signing", None)
        assert published(stella) == []
        again = stella("export", "run", "replay", failed["runId"])
        assert (again["status"], again["replayOf"]) == ("succeeded", failed["runId"])
        assert stella("export", "verify", again["runId"])["verdict"] == "ok"

    def test_one_that_goes_away_between_plan_and_signature_ends_it_too(
        self, stella: Stella, settled: OpenBao, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sealing = kit_sealing.seal

        def sealed_first(*given: Any, **more: Any) -> Any:
            settled.seal()
            return sealing(*given, **more)

        monkeypatch.setattr(make_archive, "seal", sealed_first)
        try:
            stella.refused(10, "ERR_EXPORT_SIGNING", *SUBMIT)
        finally:
            settled.unseal()
        (failed,) = stella("export", "run", "list")
        assert (failed["status"], failed["errorCode"]) == ("failed", "signing")
        assert published(stella) == []

    def test_a_key_that_the_service_lost_its_permission_for_is_told(
        self, stella: Stella, settled: OpenBao
    ) -> None:
        settled.give(settled.token('path "transit/keys/*" { capabilities = ["read"] }'))
        try:
            assert "permission denied" in stella.refused(10, "ERR_EXPORT_SIGNING", *SUBMIT)
        finally:
            settled.give(settled.token(openbao.USING))
        assert stella.submit("json:raw")["status"] == "succeeded"


def published(stella: Stella) -> list[str]:
    """Whatever of an export can be reached."""
    place = stella.data_dir / "exports"
    return [str(path) for path in place.rglob("export.json") if ".staging" not in path.parts]


@pytest.fixture
def center(bao: OpenBao, tmp_path: Path) -> Iterator[Center]:
    """A server that may use the vault."""
    with ExitStack() as ends:
        found: Service = ends.enter_context(service(tmp_path / "server"))
        found.more |= bao.settings | QUICK
        found.fill(30)
        process = ends.enter_context(api.serving(found, "all"))
        (tmp_path / "home").mkdir()
        yield Center(found, ends, process, tmp_path / "home")


def keeper_of(center: Center, tenant: str) -> Client:
    """Somebody who manages the keys of a tenant over the API."""
    secret = center.home / f"keeper-{tenant}.secret"
    center.operator()(
        "authority", "client", "create", f"keeper-{tenant}", "--scope", "authority:manage", "--for-tenant", tenant,
        "--secret-file", str(secret),
    )  # fmt: skip
    return center.client(f"keeper-{tenant}", secret, f"keeper-{tenant}")


def signing_by_service(center: Center, bao: OpenBao, name: str) -> Client:
    """A tenant whose exports a key of the vault signs; its key is named over the API."""
    client, keeper = center.tenant(name), keeper_of(center, name)
    bao.make(name)
    made = keeper("authority", "key", "create", "--uri", f"hashivault://{name}")
    assert (made["state"], made["uri"]) == ("active", f"hashivault://{name}")
    keeper.refused(3, "ERR_KEY_URI_REFUSED", "authority", "key", "create", "--uri", "hashivault://other")
    listed = keeper("authority", "key", "export-public", "--all", "--format", "json")
    assert [each["keyId"] for each in listed["keys"]] == [made["keyId"]]
    return client


def test_playbook_7_3_a_sealed_key_service_the_tenant_closed_and_the_catch_up(
    center: Center, bao: OpenBao
) -> None:
    acme, operator = signing_by_service(center, bao, "acme"), center.operator()
    other = center.tenant("other")
    first = acme(*SUBMIT, "--wait")
    assert first["status"] == "succeeded"

    bao.seal()
    try:
        # A run that meets the outage says so, and waits for its next attempt.
        met = acme(*SUBMIT, "--selectors", "ids=GHSA-0001-ghsa-bbbb")
        wait_for(
            lambda: "sealed" in (acme("export", "run", "show", met["runId"])["waiting"] or ""), 60,
            lambda: center.service.logs,
        )  # fmt: skip
        # 1. no more submissions of the tenant; tenants with keys of their own go on
        operator(
            "authority",
            "tenant",
            "set",
            "acme",
            "--max-active-runs",
            "0",
            "--reason",
            "key service is sealed",
        )
        acme.refused(10, "ERR_EXPORT_QUOTA", *SUBMIT)
        assert other(*SUBMIT, "--wait")["status"] == "succeeded"
        shown = acme("export", "run", "show", met["runId"])
        assert (shown["exportId"], shown["artifacts"]) == (None, [])
    finally:
        bao.unseal()  # 2. the key service is restored

    # 3. the tenant is opened again, and catches up; what had met the outage ends by itself
    operator("authority", "tenant", "set", "acme", "--max-active-runs", "2")
    caught_up = acme(*SUBMIT, "--selectors", "ids=GHSA-0002-ghsa-bbbb", "--priority", "catch-up", "--wait")
    assert (caught_up["status"], caught_up["priority"]) == ("succeeded", "catch-up")
    ended = acme("export", "run", "watch", met["runId"])
    assert ended["status"] == "succeeded"
    assert ended["attempt"] > 1
    for run in (caught_up, ended):
        assert acme("export", "verify", run["runId"])["verdict"] == "ok"


@pytest.mark.slow
def test_a_run_that_no_attempt_can_sign_fails_as_signing_and_is_replayed_afterwards(
    center: Center, bao: OpenBao
) -> None:
    acme = signing_by_service(center, bao, "acme")
    bao.seal()
    began = time.monotonic()
    try:
        failed = acme.refused(10, "ERR_EXPORT_SIGNING", *SUBMIT, "--wait").value
    finally:
        bao.unseal()
    assert (failed["status"], failed["errorCode"], failed["artifacts"]) == ("failed", "signing", [])
    assert time.monotonic() - began < 400
    again = acme("export", "run", "replay", failed["runId"], "--wait")
    assert (again["status"], again["replayOf"]) == ("succeeded", failed["runId"])
