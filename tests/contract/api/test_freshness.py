"""Freshness statements over the API: read as they were signed, and issued anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from stellaops.authority.audit import AuditFilter
from stellaops.bundles import freshness
from stellaops.exports.run import Run
from stellaops.signing import cosign_blob, ecdsa_p256
from tests.support.api import Api, api
from tests.support.workers import TENANT


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Run]]:
    """An API, and a run of a mirror that succeeded."""
    with api(tmp_path_factory.mktemp("api")) as found:
        found.service.fill(5)
        yield found, found.finished_run("mirror:full")


def path(run: Run) -> str:
    return f"/api/export/runs/{run.id}/freshness"


def test_the_statement_is_given_as_it_was_signed(mirror: tuple[Api, Run]) -> None:
    asked, run = mirror
    told = asked.get(path(run)).json()
    statement = freshness.parse(told["statement"].encode())
    assert (statement.export_id, statement.version) == (run.export_id, told["version"])
    digest = hashlib.sha256(told["statement"].encode()).digest()
    (pem, *_), _ = asked.local.tenant_keys.trusted(TENANT)
    cosign_blob.verify(told["signature"].encode(), digest, ecdsa_p256.load_public_key(pem))


def test_a_renewed_statement_has_the_next_version_and_is_told_in_the_audit(mirror: tuple[Api, Run]) -> None:
    asked, run = mirror
    before = asked.get(path(run)).json()
    after = asked.post(path(run)).json()
    assert after["version"] == before["version"] + 1
    assert asked.get(path(run)).json() == after
    records = asked.local.audit.list([TENANT], AuditFilter())
    assert any(record.change.target == f"run/{run.id}/freshness" for record in records)


def test_a_run_without_a_mirror_archive_has_no_statement(mirror: tuple[Api, Run]) -> None:
    asked, _ = mirror
    other = asked.finished_run("json:raw")
    answer = asked.get(path(other))
    assert (answer.status_code, answer.json()["code"]) == (404, "ERR_FRESHNESS_NONE")


def test_a_statement_can_be_read_by_whoever_may_download_and_renewed_by_whoever_may_run(
    mirror: tuple[Api, Run],
) -> None:
    asked, run = mirror
    assert asked.get(path(run), scopes=("export:download",)).status_code == 200
    assert asked.post(path(run), scopes=("export:download",)).status_code == 403
    assert asked.post(path(run), scopes=("export:run",)).status_code == 200
