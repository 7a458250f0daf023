"""What the audit log and the log say of every verb, for a command on a data directory and over a server: the same."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from stellaops.api.frame.problems import status_of
from stellaops.authority.download_tokens import Wanted as TokenWanted
from stellaops.authority.manage_clients import Wanted as ClientWanted
from stellaops.center.interface import Center, ImportWanted, PullWanted, RunFailed, Submission
from stellaops.center.local_exports import LocalCenter
from stellaops.center.noting import leaves_doubt, local_audit
from stellaops.client.connection import Connection
from stellaops.client.remote_exports import RemoteCenter
from stellaops.core.errors import DependencyFailed, NotFound, StellaError
from stellaops.exports.ports import RunFilter
from tests.support.api import EVERY_SCOPE, Api, api
from tests.support.workers import TENANT
from tests.unit.client.serving import Asked, Said, serving

EXAMPLES = Path(__file__).parents[3] / "examples"
DROPPED = ("host", "connection", "content-length", "accept-encoding")


@dataclass
class Mode:
    """A center, and the service whose stores it changes."""

    api: Api
    center: Center

    def said(self) -> list[dict[str, Any]]:
        """The audit log, oldest first, without what each run of the tests makes up anew."""
        found = [each.to_wire() for each in self.api.local.audit.list([TENANT], limit=500)]
        return [_plain(each) for each in reversed(found)]


@dataclass(frozen=True)
class _Token:
    text: str

    def token(self, *, renew: bool = False) -> str:
        assert not renew, "the token is refused"
        return self.text


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: record[name] for name in ("action", "reason", "outcome", "tenant")}
    places = {name: record[name] is not None for name in ("before", "after")}
    target = re.sub(
        r"run-[0-9a-z-]+|(?<=download-token/)[0-9a-z]+|[0-9A-Za-z_-]{26,}", "ID", record["target"]
    )
    details = {name: _value(name, value) for name, value in record["details"].items()}
    return kept | places | {"target": target, "details": details}


def _value(name: str, value: Any) -> Any:
    return (
        type(value).__name__
        if name in ("sequence", "expectedBytes", "keyIds", "replayOf", "resigned", "removed")
        else value
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mode]:
    """A data directory, without a server."""
    with api(tmp_path_factory.mktemp("here")) as found:
        found.service.more["STELLA_API_PUBLIC_URL"] = "https://export.test"
        yield Mode(found, LocalCenter(found.local, TENANT, "me"))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mode]:
    """The same over HTTP."""
    with api(tmp_path_factory.mktemp("there")) as found:
        token = found.token(("*",), (*EVERY_SCOPE,))

        def forward(asked: Asked) -> Said:
            headers = {name: value for name, value in asked.headers.items() if name not in DROPPED}
            got = found.client.request(asked.method, asked.path, headers=headers, content=asked.body)
            told = {name: value for name, value in got.headers.items() if name != "content-length"}
            return Said(got.status_code, got.content, told)

        with serving(forward) as server:
            pools = urllib3.PoolManager(retries=False)
            connection = Connection(server.url, pools, _Token(token), TENANT, pauses=())
            yield Mode(found, RemoteCenter(connection))


@pytest.fixture(params=["here", "there"])
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.getfixturevalue(request.param)
    return found


def _evidence(mode: Mode, place: Path) -> None:
    center = mode.center
    center.concelier.import_paths(ImportWanted("ghsa"), [EXAMPLES / "advisories"])
    center.excititor.import_paths(ImportWanted("vex"), [EXAMPLES / "vex"])
    center.evidence.import_sboms([EXAMPLES / "sboms"])
    broken = place / "broken.json"
    broken.write_text('{"schema_version": "1.6.0", "id": "')
    center.concelier.import_paths(ImportWanted("ghsa"), [broken])
    center.concelier.retry("ghsa")
    center.concelier.define(
        "mine", {"layout": "http-file", "url": "https://feeds.test/all.json", "feed": "osv"}
    )
    center.concelier.switch(["mine"], enabled=False)
    center.concelier.pull(PullWanted(due=True))  # none is: nothing to tell
    center.concelier.forget("mine")


def _policies(mode: Mode, place: Path) -> None:
    overlay = place / "overlay.yaml"
    overlay.write_text(
        "apiVersion: stellaops.io/policy.v1\nkind: PolicyOverlay\nmetadata: {name: house}\n"
        "spec: {ignoreRules: [{id: test-only, reason: Used by tests alone., match: {packages: ['pkg:pypi/x']}}]}\n"
    )
    mode.center.policies.apply([overlay])
    mode.center.policies.snapshot()
    mode.center.policies.snapshot(keep=False)


def _profiles(mode: Mode, place: Path) -> None:
    exports = mode.center.exports
    wire: dict[str, Any] = {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "mine"},
        "spec": {"kind": "json", "variant": "raw"},
    }  # fmt: skip
    exports.create_profile(wire)
    changed = wire | {"spec": wire["spec"] | {"include": ["advisories"]}}
    exports.update_profile(changed, "less")
    exports.update_profile(changed, "the same")
    exports.clone_profile("mine", "other")
    exports.delete_profile("other")


def _runs(mode: Mode, place: Path) -> None:
    exports = mode.center.exports
    made = exports.submit(Submission("json:raw"))
    again = exports.replay(made["runId"])
    for run in (made, again):
        with suppress(StellaError):  # over there it waits for a worker, here it has ended
            exports.cancel(run["runId"])
    found = mode.api.finished_run()
    mode.center.retention.pin(found.id, "kept for the audit")
    mode.center.retention.unpin(found.id, "no more")
    mode.center.downloads.links(found.id, life=timedelta(hours=1))
    exports.delete(found.id, dry_run=True)
    exports.delete(found.id)
    mode.center.retention.run(dry_run=True)
    mode.center.retention.run()


def _keys(mode: Mode, place: Path) -> None:
    keys = mode.center.keys
    keys.create()
    waiting = keys.create(activate=False)
    keys.activate(waiting["keyId"])
    keys.rotate()
    keys.resign()
    keys.revoke(waiting["keyId"], "lost")


def _notify(mode: Mode, place: Path) -> None:
    notify = mode.center.notify
    hook = {
        "id": "hook",
        "kind": "webhook",
        "settings": {"url": "https://hooks.test/in", "secretRef": "hook"},
    }
    notify.create_channel(hook)
    notify.change_channel("hook", {**hook, "name": "ours"})
    notify.change_channel("hook", {**hook, "name": "ours"})
    notify.test_channel("hook", preview=True)
    notify.create_rule({"id": "all", "events": ["run.failed"], "channel": "hook"})
    notify.change_rule("all", {"events": ["run.failed", "run.held"], "channel": "hook"})
    notify.delete_rule("all")
    notify.delete_channel("hook")


def _people(mode: Mode, place: Path) -> None:
    center = mode.center
    made = center.downloads.create_token(TokenWanted(name="ci"))
    center.downloads.rotate_token(made["tokenId"], overlap=timedelta(hours=1))
    center.downloads.revoke_token(made["tokenId"], "over")
    center.authority.create_client(ClientWanted(id="robot", tenants=(TENANT,), scopes=("export:read",)))
    center.authority.change_client("robot", ClientWanted(name="a robot"))
    center.authority.rotate_client("robot", overlap=timedelta(hours=1))
    center.authority.revoke_client("robot", "gone")
    center.authority.create_tenant("acme", max_active_runs=2)
    center.authority.set_limits("acme", max_active_runs=3, max_queued_runs=None, reason="more")
    center.authority.rotate_token_keys()


def _queue(mode: Mode, place: Path) -> None:
    queue = mode.center.queue
    queue.pause()
    queue.pause()
    queue.resume()


VERBS: tuple[Callable[[Mode, Path], None], ...] = (
    _evidence, _policies, _profiles, _runs, _keys, _notify, _people, _queue,
)  # fmt: skip


@pytest.mark.parametrize("verbs", VERBS, ids=lambda each: each.__name__.strip("_"))
def test_commands_and_requests_leave_the_same_records_and_events(
    here: Mode,
    there: Mode,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    verbs: Callable[[Mode, Path], None],
) -> None:
    found = []
    for mode in (here, there):
        before = len(mode.said())
        caplog.clear()
        with caplog.at_level(logging.INFO, "stellaops"):
            verbs(mode, tmp_path)
        records = [each for each in mode.said()[before:] if each["action"] != "run.cancelled"]
        events = [each.__dict__.get("event") for each in caplog.records if each.name == "stellaops.audit"]
        assert records, "a verb that changes something is told"
        assert [event for event in events if event != "run.cancelled"] == [each["action"] for each in records]
        found.append(records)
    assert found[0] == found[1]


def test_a_run_is_submitted_once_its_record_stands_whatever_becomes_of_it(here: Mode) -> None:
    before = len(here.said())
    with pytest.raises(RunFailed):
        here.center.exports.submit(Submission("json:raw", selectors={"ecosystems": ["Hex"]}))
    told = [each for each in here.said()[before:] if each["action"] == "run.submitted"]
    runs = here.api.local.runs.list(TENANT, RunFilter("json:raw", "failed"))
    assert len(told) == len(runs) == 1
    assert told[0]["outcome"] == "ok"


def test_a_change_that_ends_in_doubt_is_noted_with_its_error_and_a_refusal_is_not(mode: Mode) -> None:
    before = len(mode.said())
    noting = local_audit(mode.api.local, TENANT).noting
    errors = (
        DependencyFailed("the store is away"), ValueError("a mistake of ours"), NotFound("none"),
        KeyboardInterrupt(),
    )  # fmt: skip
    for error in errors:
        with pytest.raises(type(error)), noting("thing.changed", "thing/one"):
            raise error
    told = [(each["action"], each["outcome"]) for each in mode.said()[before:]]
    codes = ("ERR_DEPENDENCY_FAILED", "ERR_INTERNAL", "ERR_INTERRUPTED")
    assert told == [("thing.changed", code) for code in codes]


def test_doubt_is_what_servers_answer_with_a_status_of_their_own_fault() -> None:
    def below(kind: type[StellaError]) -> Iterator[type[StellaError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    wrong = [
        each.__name__ for each in below(StellaError) if leaves_doubt(each) is not (status_of(each) >= 500)
    ]
    assert wrong == []
