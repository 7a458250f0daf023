"""A pass of retention on each database, and with bundles in a bucket: the same goes, the same stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stellaops.exports.errors import SnapshotPruned
from stellaops.exports.pin_runs import pin_run
from stellaops.exports.retention import Mode, PinKind, Rule, holds_bundle
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
        runs += [keeper.make("json:raw"), keeper.make("mirror:full" if day == 1 else "mirror:delta")]
        keeper.day = day
        keeper.take(document(1, summary=f"Of day {day}"), prune=day == 2)
    pin_run(TENANT, runs[2].id, PinKind.HOLD, "case 12", keeper.pins, by="kim")
    keeper.day = 60
    report = keeper.prune()
    assert report.ok, report.failures
    stays = {run.id for number, run in enumerate(runs) if number % 2 or number in (2, 6)}
    assert there(keeper) == stays
    assert {run.id for run in keeper.local.runs.list(TENANT) if holds_bundle(run)} == stays
    assert all(keeper.is_there(run) for run in runs if run.id in stays)
    assert report.evidence is not None
    assert report.evidence.floor == runs[1].sequence
    keeper.take(document(3))
    keeper.make("mirror:full")
    for _ in range(5):
        keeper.day += 1
        keeper.take(document(3, summary=f"Of day {keeper.day}"))
        keeper.make("mirror:delta")
    keeper.day += 30
    report = keeper.prune()
    assert report.evidence is not None
    assert (report.evidence.floor, report.evidence.documents > 0) == (runs[2].sequence, True)
    assert all(
        keeper.snapshot(run) == run.snapshot for run in keeper.local.runs.list(TENANT) if holds_bundle(run)
    )
    with pytest.raises(SnapshotPruned):
        keeper.make(sequence=runs[0].sequence)
