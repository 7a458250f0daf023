"""A pass of retention on each database, and with bundles in a bucket: the same goes, the same stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stellaops.exports.errors import SnapshotPruned
from stellaops.exports.retention.pin_runs import pin_run
from stellaops.exports.retention.rules import Mode, PinKind, Rule, holds_bundle
from stellaops.exports.run import Run
from tests.support import s3
from tests.support.postgres import Server
from tests.unit.exports.retaining import TENANT, Keeper, document


@pytest.fixture(params=["postgresql", "bucket"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    """What differs from a data directory alone, which the unit tests have."""
    if request.param == "bucket":
        (tmp_path / "s3").mkdir()
        with s3.serving(tmp_path / "s3") as bucket:
            key = tmp_path / "key"
            key.write_text(
                f"[default]\naws_access_key_id = {bucket.key.id}\naws_secret_access_key = {bucket.key.secret}\n"
            )
            key.chmod(0o600)
            yield Keeper(
                tmp_path,
                variables={
                    "STELLA_ARTEFACTS_STORE": f"s3://{s3.BUCKET}/exports",
                    "STELLA_ARTEFACTS_ENDPOINT": bucket.url.rstrip("/").removesuffix(f"/{s3.BUCKET}"),
                    "STELLA_ARTEFACTS_REGION": "us-east-1",
                    "STELLA_ARTEFACTS_KEY_FILE": str(key),
                    "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
                },
            )
        return
    server: Server
    server, template = request.getfixturevalue("postgres_template")
    with server.database(template) as name:
        url = server.url(name)
        found = Keeper(tmp_path, variables={"STELLA_STORE_EVIDENCE": url, "STELLA_STORE_SERVICE": url})
        yield found
        found.local.evidence_engine.dispose()
        found.local.service_engine.dispose()


def there(keeper: Keeper) -> set[str]:
    """The runs whose archives the store has."""
    runs = keeper.local.runs.list(TENANT)
    return {run.id for run in runs if run.archive is not None and keeper.local.artefacts.exists(run.archive)}


def test_bundles_evidence_and_pins(keeper: Keeper) -> None:
    keeper.rules = {"json": Rule(Mode.COUNT, 1), "mirror": Rule(Mode.DAYS, 5)}
    keeper.take(document(1), document(2))
    runs: list[Run] = []
    for day in range(1, 5):
        runs.append(keeper.make())
        keeper.day = day
        keeper.take(document(1, summary=f"Of day {day}"), prune=day == 2)
    full = keeper.make("mirror:full")
    keeper.take(document(3))
    delta = keeper.make("mirror:delta")
    pin_run(TENANT, runs[1].id, PinKind.HOLD, "case 12", keeper.pins, by="kim")
    keeper.day = 60
    report = keeper.prune()
    assert report.ok, report.failures
    stays = [runs[1], runs[3], full, delta]
    assert there(keeper) == {run.id for run in stays}
    assert {run.id for run in keeper.local.runs.list(TENANT) if holds_bundle(run)} == there(keeper)
    assert all(keeper.is_there(run) for run in stays)
    assert report.evidence is not None
    assert (report.evidence.floor, report.evidence.documents) == (runs[1].sequence, 1)
    assert [keeper.snapshot(run) for run in stays] == [run.snapshot for run in stays]
    with pytest.raises(SnapshotPruned):
        keeper.make(sequence=runs[0].sequence)
