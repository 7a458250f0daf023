"""Syncing: by signed lists, whole or not at all, never back."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stellaops.adapters.files.export_trees import ExportTree
from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.sources import DirectorySource
from stellaops.bundles.freshness import Freshness, encode
from stellaops.mirrors import domain_list, forms, sync_state
from stellaops.mirrors.domain import SIDES, Side
from stellaops.mirrors.errors import (
    BadTree,
    DomainNotFound,
    DomainsLost,
    SourceUnreachable,
    StaleTree,
    SyncRuns,
)
from stellaops.mirrors.publish import publish
from stellaops.mirrors.signed_files import measure, sign_file
from stellaops.mirrors.status import hosted
from stellaops.mirrors.sync import Synced, SyncTools, Trusted, Wish, sync
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature
from tests.support.publishing import LEFT, RIGHT, Publisher, demand_listed, follow, snapshot, statement


class Counting(DirectorySource):
    """A directory that notes what is fetched from it, and may break."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fetched: list[str] = []
        self.breaks_after: int | None = None

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        if self.breaks_after is not None and len(self.fetched) >= self.breaks_after:
            raise SourceUnreachable("the line is dead")
        self.fetched.append(path)
        return super().pieces(side, path)


class Host:
    """A mirror host that syncs from a publisher."""

    def __init__(self, publisher: Publisher, root: Path) -> None:
        self.publisher, self.root = publisher, MirrorDirectory(root)
        self.source = Counting(publisher.root.root)
        self.naps: list[float] = []
        self.nap: Callable[[float], None] = self.naps.append
        self.trusted = Trusted.of([publisher.key().pem()], [])
        self.clock = timedelta(0)

    def sync(self, **more: object) -> tuple[Synced, ...]:
        """One sync; its source's notes begin anew."""
        self.source.fetched.clear()
        wish = replace(Wish(SIDES), **more)  # type: ignore[arg-type]
        tools = SyncTools(
            self.source, self.root, self.trusted, lambda: datetime.now(UTC) + self.clock, self.nap
        )
        return sync(wish, tools)

    def files(self, side: Side) -> dict[str, bytes]:
        """The tree that readers follow."""
        return snapshot(self.root.root / side / forms.LATEST)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose mirror was published once; nothing of it is open."""
    made = Publisher(tmp_path_factory.mktemp("published") / "data").filled()
    few = {"formats": ["osv"]}
    made.domain(
        "community", advisories={**few, "selectors": {"ecosystems": ["PyPI"]}}, vex={"formats": ["json"]}
    )
    made.domain("primary", advisories=few, vex={"formats": ["json"]})
    made.publish()
    made.close()
    return made.local.data_dir


@pytest.fixture
def publisher(published: Path, tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(shutil.copytree(published, tmp_path / "data", symlinks=True))
    yield made
    made.close()


@pytest.fixture
def host(publisher: Publisher, tmp_path: Path) -> Host:
    return Host(publisher, tmp_path / "host")


def change(publisher: Publisher, word: str = "another word") -> None:
    publisher.take({"right.json": {**RIGHT, "summary": word}}, "ghsa")
    publisher.publish()


def test_the_copy_is_the_tree_and_a_second_sync_fetches_nothing(host: Host, publisher: Publisher) -> None:
    first = host.sync()
    assert [(each.side, each.domain, each.changed) for each in first] == [
        (side, domain, True) for side in SIDES for domain in ("community", "primary")
    ]
    for side in SIDES:
        assert host.files(side) == snapshot(publisher.tree(side))
        for domain in ("community", "primary"):
            own = statement(host.root.root, side, domain, publisher.key())
            assert own == statement(publisher.root.root, side, domain, publisher.key())
    assert sum(each.files for each in first) == len(host.source.fetched)
    again = host.sync()
    assert {(each.changed, each.files, each.bytes) for each in again} == {(False, 0, 0)}
    assert host.source.fetched == []
    assert all(each.age(datetime.now(UTC)) is not None for each in again)


def test_after_a_change_only_what_differs_is_fetched_and_the_rest_is_linked(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    old = host.root.root / "concelier" / str(host.root.latest("concelier"))
    change(publisher)
    host.sync()
    new = host.root.root / "concelier" / str(host.root.latest("concelier"))
    assert host.files("concelier") == snapshot(publisher.tree())
    names = {path.partition("/")[2] for path in host.source.fetched}
    assert "osv/primary/npm/all.zip" in names
    assert "vex/primary" not in "".join(names)
    right = f"osv/primary/npm/{RIGHT['id']}.json"
    assert not (old / right).samefile(new / right)
    assert (old / f"osv/primary/npm/{LEFT['id']}.json").samefile(new / f"osv/primary/npm/{LEFT['id']}.json")
    demand_listed(host.root.root, "concelier", old.name, "primary", publisher.key())
    follow(host.root.root, "primary", publisher.key())


def singles(host: Host) -> set[str]:
    """Documents of buckets that were fetched one by one."""
    paths = {path.partition("/")[2] for path in host.source.fetched}
    return {path for path in paths if path.startswith("osv/") and path.endswith(".json")}


def test_documents_come_out_of_the_archives_that_come_anyway(host: Host, publisher: Publisher) -> None:
    host.sync()
    assert singles(host) == set()
    lost = host.root.root / "concelier" / forms.LATEST / f"osv/primary/npm/{LEFT['id']}.json"
    lost.unlink()
    assert host.sync()[1].files == 0
    assert host.source.fetched == []
    assert host.files("concelier") == snapshot(publisher.tree())


@pytest.mark.parametrize("rot", ["a document", "the directory"])
def test_what_an_archive_does_not_give_as_it_was_signed_is_fetched_by_itself(
    host: Host, publisher: Publisher, rot: str
) -> None:
    host.sync()
    folder = host.root.root / "concelier" / forms.LATEST / "osv/primary/npm"
    archive, name = folder / "all.zip", f"{LEFT['id']}.json"
    data = bytearray(archive.read_bytes())
    place = data.index(name.encode()) + len(name) + 3 if rot == "a document" else data.rindex(b"PK\5\6")
    data[place] ^= 0xFF
    archive.unlink()
    archive.write_bytes(data)
    (folder / name).unlink()
    host.sync()
    assert singles(host) == {f"osv/primary/npm/{name}"}
    assert (folder / name).read_bytes() == (publisher.tree() / "osv/primary/npm" / name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\5\6", bytes(100)])
def test_what_is_no_archive_holds_no_document(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "all.zip"
    archive.write_bytes(content)
    assert list(MirrorDirectory(tmp_path).members(archive, {"one.json"}, 100)) == []


def test_documents_of_a_tree_without_archives_are_fetched_one_by_one(
    host: Host, publisher: Publisher
) -> None:
    tree = publisher.tree()
    place = tree / forms.place("primary") / forms.TREE
    listed = forms.parse_tree(place.read_bytes())
    kept = [entry for entry in listed.files if not entry.path.endswith("/npm/all.zip")]
    for suffix in ("", ".sig", ".sigstore.json"):
        place.with_name(place.name + suffix).unlink()
    place.write_bytes(b"".join(forms.tree_lines("concelier", "primary", tree.name, kept)))
    sign_file(place, publisher.local.tenant_keys.signer("default"), jws=False)
    host.sync(sides=("concelier",), domains=("primary",))
    names = (LEFT["id"], RIGHT["id"])
    assert singles(host) == {f"osv/primary/npm/{name}.json" for name in names}


def test_a_file_of_equal_size_that_is_not_as_it_was_signed_is_refused(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    before = {side: host.files(side) for side in SIDES}
    change(publisher)
    file = publisher.tree() / "mirror/primary/bundle.json"
    data = file.read_bytes()
    file.write_bytes(data[:-10] + b" " + data[-9:])
    with pytest.raises(BadTree, match=r"mirror/primary/bundle\.json .* is not what its publisher signed"):
        host.sync()
    assert {side: host.files(side) for side in SIDES} == before
    file.write_bytes(data)
    host.sync()
    assert host.files("concelier") == snapshot(publisher.tree())


@pytest.mark.parametrize("name", ["tree.json", "tree.json.sig", "tree.json.sigstore.json"])
def test_a_list_that_no_trusted_key_signed_is_refused(host: Host, publisher: Publisher, name: str) -> None:
    file = publisher.tree() / "mirror/primary" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BadSignature):
        host.sync()
    assert host.root.latest("concelier") is None


def test_strangers_and_revoked_keys_are_not_believed(host: Host, publisher: Publisher) -> None:
    own = publisher.key()
    stranger = ecdsa_p256.generate().public_key_pem()
    for trusted in (Trusted.of([stranger], []), Trusted.of([own.pem()], [own.key_id])):
        host.trusted = trusted
        with pytest.raises(BadSignature, match="no trusted key") as refused:
            host.sync()
        assert "--key EARLIER --key PRESENT" in refused.value.advice
    host.trusted = Trusted.of([stranger, own.pem()], [])
    host.sync()


def test_a_statement_that_has_expired_is_refused_unless_told(host: Host) -> None:
    host.clock = timedelta(days=4)
    with pytest.raises(StaleTree, match="expired at"):
        host.sync()
    assert host.root.latest("concelier") is None
    host.sync(allow_stale=True)
    assert host.root.latest("concelier") is not None


def test_an_older_statement_than_the_one_held_is_refused(host: Host, publisher: Publisher) -> None:
    folder = publisher.root.root / "concelier" / forms.FRESHNESS
    old = snapshot(folder)
    change(publisher)
    host.sync()
    latest = host.root.latest("concelier")
    for name, data in old.items():
        (folder / name).write_bytes(data)
    with pytest.raises(StaleTree, match="version 1 is offered, and 2 is held"):
        host.sync()
    assert host.root.latest("concelier") == latest
    assert host.sync(allow_stale=True)[0].export_id != latest


def test_a_tree_without_a_statement_is_refused_unless_told(host: Host, publisher: Publisher) -> None:
    for file in (publisher.root.root / "concelier" / forms.FRESHNESS).iterdir():
        file.unlink()
    with pytest.raises(StaleTree, match="no freshness statement"):
        host.sync()
    done = host.sync(allow_stale=True)
    assert done[0].statement is None
    assert host.files("concelier") == snapshot(publisher.tree())


def test_a_statement_about_something_else_is_refused(host: Host, publisher: Publisher) -> None:
    folder = publisher.root.root / "concelier" / forms.FRESHNESS
    for suffix in ("", ".sig"):
        (folder / f"primary.json{suffix}").write_bytes((folder / f"community.json{suffix}").read_bytes())
    with pytest.raises(BadTree, match="is about 'mirror/concelier/community'"):
        host.sync()


def signed(publisher: Publisher, made: Freshness) -> dict[str, bytes]:
    data = encode(made)
    signer = publisher.local.tenant_keys.signer("default")
    return {"": data, ".sig": cosign_blob.encode(signer.sign(data))}


def test_domains_that_name_different_trees_are_asked_again(host: Host, publisher: Publisher) -> None:
    own = statement(publisher.root.root, "concelier", "primary", publisher.key())
    other = replace(own, export_id="b" * 26, version=9)
    publisher.root.put_freshness("concelier", "primary", signed(publisher, other))
    with pytest.raises(SourceUnreachable, match="name different trees"):
        host.sync()
    assert len(host.naps) == 4
    good = signed(publisher, replace(own, version=10))
    host.nap = lambda seconds: publisher.root.put_freshness("concelier", "primary", good)
    host.sync()
    assert host.files("concelier") == snapshot(publisher.tree())


def test_a_sync_that_breaks_goes_on_where_it_was(host: Host, publisher: Publisher) -> None:
    host.source.breaks_after = 7
    with pytest.raises(SourceUnreachable, match="the line is dead"):
        host.sync(at_once=1)
    assert host.root.latest("concelier") is None
    first = set(host.source.fetched)
    host.source.breaks_after = None
    host.sync()
    assert len(first) == 7
    assert not first & set(host.source.fetched)
    assert host.files("concelier") == snapshot(publisher.tree())
    assert not list((host.root.root / "concelier/.gathered").iterdir())


def test_what_an_attempt_left_is_believed_by_its_digest_alone(host: Host, publisher: Publisher) -> None:
    host.source.breaks_after = 7
    with pytest.raises(SourceUnreachable):
        host.sync(at_once=1)
    (left,) = (host.root.root / "concelier/.gathered").iterdir()
    for file in (left / "root").rglob("*"):
        if file.is_file():
            file.write_bytes(b"x" * file.stat().st_size)
    (left / "root/mirror/primary").mkdir(parents=True, exist_ok=True)
    (left / "root/mirror/primary/stranger.json").write_bytes(b"{}")
    host.source.breaks_after = None
    host.sync()
    assert host.files("concelier") == snapshot(publisher.tree())


def test_a_dry_run_says_what_would_be_fetched_and_changes_nothing(host: Host) -> None:
    would = host.sync(dry_run=True)
    assert host.source.fetched == []
    assert host.root.latest("concelier") is None
    assert [(each.files, each.bytes) for each in host.sync()] == [(each.files, each.bytes) for each in would]


def test_some_domains_may_be_synced_and_others_later(host: Host, publisher: Publisher) -> None:
    host.sync(domains=("community",))
    tree = host.root.root / "concelier" / forms.LATEST
    index = json.loads((tree / forms.INDEX).read_bytes())
    assert [each["id"] for each in index["domains"]] == ["community"]
    assert not (tree / "mirror/primary").exists()
    follow(host.root.root, "community", publisher.key())
    later = host.sync()
    assert {(each.domain, each.changed) for each in later} == {("community", False), ("primary", True)}
    assert host.files("concelier") == snapshot(publisher.tree())


@pytest.mark.parametrize("first", [(), ("primary",)], ids=["all at first", "one at first"])
def test_under_an_export_id_domains_add_up_and_none_is_removed(
    host: Host, publisher: Publisher, first: tuple[str, ...]
) -> None:
    host.sync(domains=first)
    (done,) = host.sync(domains=("community",), sides=("concelier",))
    assert done.changed == bool(first)
    host.sync(domains=("community",), drops=("primary",))
    for side in SIDES:
        assert host.files(side) == snapshot(publisher.tree(side))
        for domain in ("community", "primary"):
            statement(host.root.root, side, domain, publisher.key())
    follow(host.root.root, "primary", publisher.key())


def test_another_tree_without_a_domain_in_force_is_refused_unless_told(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    before = {side: host.files(side) for side in SIDES}
    change(publisher)
    for dry_run in (True, False):
        with pytest.raises(DomainsLost, match=r"would come from .* without primary") as refused:
            host.sync(domains=("community",), dry_run=dry_run)
    assert "--drop primary" in refused.value.advice
    assert {side: host.files(side) for side in SIDES} == before
    host.sync(domains=("community",), drops=("primary",))
    assert host.root.domains("concelier", str(host.root.latest("concelier"))) == {"community"}
    assert host.root.freshness("concelier", "primary") is None
    assert {each.domain for each in hosted(host.root) if each.side == "concelier"} == {"community"}
    host.sync(domains=("primary", "community"))
    assert host.files("concelier") == snapshot(publisher.tree())


def tree_of(host: Host, side: Side = "concelier") -> set[str]:
    """Domains that readers of a host have."""
    return set(host.root.domains(side, str(host.root.latest(side))))


def test_a_domain_that_its_publisher_gave_up_goes_by_his_signed_word(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    publisher.local.mirror_domains.delete("default", "community")
    publisher.publish()
    would = host.sync(dry_run=True)
    assert {(each.side, each.domain) for each in would if each.given_up} == {(s, "community") for s in SIDES}
    assert tree_of(host) == {"community", "primary"}
    done = host.sync()
    assert {(each.side, each.domain, each.given_up) for each in done} == {
        (side, domain, domain == "community") for side in SIDES for domain in ("community", "primary")
    }
    for side in SIDES:
        assert host.files(side) == snapshot(publisher.tree(side))
        assert host.root.freshness(side, "community") is None
    assert not any(each.given_up for each in host.sync())
    shown = ExportTree(host.root.root / "concelier").syncs(time.monotonic())
    assert (set(shown.synced), set(shown.given_up)) == ({"primary"}, {"community"})
    assert sync_state.lag("community", [shown], datetime.now(UTC), datetime(2026, 1, 1, tzinfo=UTC)) == 0
    publisher.domain("community", advisories={"formats": ["osv"]}, vex={"formats": ["json"]})
    publisher.publish()
    host.sync()
    shown = ExportTree(host.root.root / "concelier").syncs(time.monotonic())
    assert (set(shown.synced), set(shown.given_up)) == ({"community", "primary"}, set())


def test_that_a_domain_was_given_up_is_noted_though_the_sync_is_killed_then(
    host: Host, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.sync()
    publisher.local.mirror_domains.delete("default", "community")
    publisher.publish()

    def killed(side: Side, kept: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(host.root, "drop_freshness", killed)
        with pytest.raises(KeyboardInterrupt):
            host.sync()
    assert tree_of(host) == {"primary"}
    host.sync()
    shown = ExportTree(host.root.root / "concelier").syncs(time.monotonic())
    assert (set(shown.synced), set(shown.given_up)) == ({"primary"}, {"community"})


def test_a_job_that_names_its_domains_goes_on_when_one_was_given_up(host: Host, publisher: Publisher) -> None:
    both = ("community", "primary")
    host.sync(domains=both)
    publisher.local.mirror_domains.delete("default", "community")
    change(publisher)
    for is_first in (True, False):
        done = host.sync(domains=both)
        gone = [(each.domain, each.changed) for each in done if each.given_up]
        assert gone == [("community", is_first), ("community", is_first)]
    assert host.files("concelier") == snapshot(publisher.tree())
    with pytest.raises(DomainNotFound, match="has no domain nobody") as refused:
        host.sync(domains=("primary", "nobody"))
    assert refused.value.advice == "Name one that is there: primary."
    with pytest.raises(DomainNotFound, match="has no domain community"):
        host.sync(domains=("community",))
    with pytest.raises(DomainNotFound, match="cannot be the id"):
        host.sync(domains=("No Body",))


def test_a_domain_that_comes_back_is_in_force_again(host: Host, publisher: Publisher) -> None:
    host.sync()
    publisher.local.mirror_domains.delete("default", "community")
    publisher.publish()
    host.sync()
    gone = publisher.id_of()
    publisher.domain("community", advisories={"formats": ["osv"]}, vex={"formats": ["json"]})
    publisher.publish()
    assert publisher.id_of() != gone
    host.sync()
    assert tree_of(host) == {"community", "primary"}
    change(publisher)
    with pytest.raises(DomainsLost, match="and their publisher still has"):
        host.sync(domains=("primary",))


def test_a_domain_whose_side_ends_is_given_up_on_that_side_alone(host: Host, publisher: Publisher) -> None:
    host.sync()
    few = {"formats": ["osv"], "selectors": {"ecosystems": ["PyPI"]}}
    publisher.domain("community", advisories=few, vex={"enabled": False})
    publisher.publish()
    done = host.sync()
    assert [(each.side, each.domain) for each in done if each.given_up] == [("excititor", "community")]
    assert (tree_of(host), tree_of(host, "excititor")) == ({"community", "primary"}, {"primary"})


@pytest.mark.parametrize(
    "how", ["unsigned", "of another export", "of another form", "gone", "without a list"]
)
def test_without_a_signed_list_no_domain_goes(host: Host, publisher: Publisher, how: str) -> None:
    host.sync()
    before = host.files("concelier")
    publisher.local.mirror_domains.delete("default", "community")
    publisher.publish()
    tree = publisher.tree()
    file = tree / forms.place("primary") / domain_list.FILE
    data = file.read_bytes()
    match how:
        case "unsigned":
            file.write_bytes(data.replace(b"givenUp", b"givenup"))
        case "gone":
            file.unlink()
        case "of another export":
            relist(publisher, {domain_list.FILE: data.replace(tree.name.encode(), b"b" * 26)})
        case "of another form":
            relist(publisher, {domain_list.FILE: b"[]"})
        case "without a list":
            relist(publisher, {domain_list.FILE: None})
    expected = DomainsLost if how == "without a list" else (BadTree, SourceUnreachable)
    with pytest.raises(expected):
        host.sync(sides=("concelier",))
    assert host.files("concelier") == before
    if how == "without a list":
        host.sync(sides=("concelier",), drops=("community",))
        assert tree_of(host) == {"primary"}


def relist(publisher: Publisher, changed: dict[str, bytes | None]) -> None:
    """Other files in a domain's folder, signed as the publisher would; None removes one."""
    tree, folder = publisher.tree(), forms.place("primary")
    place = tree / folder / forms.TREE
    entries = {entry.path: entry for entry in forms.parse_tree(place.read_bytes()).files}
    for name, data in changed.items():
        file = tree / folder / name
        file.unlink()
        entries.pop(f"{folder}/{name}")
        if data is not None:
            file.write_bytes(data)
            measured = measure(file)
            entries[f"{folder}/{name}"] = forms.Entry(f"{folder}/{name}", measured.sha256, measured.bytes)
    for suffix in ("", ".sig", ".sigstore.json"):
        place.with_name(place.name + suffix).unlink()
    listed = [entries[path] for path in sorted(entries)]
    place.write_bytes(b"".join(forms.tree_lines("concelier", "primary", tree.name, listed)))
    sign_file(place, publisher.local.tenant_keys.signer("default"), jws=False)


def test_an_old_tree_that_was_asked_for_takes_no_domain_away(host: Host, publisher: Publisher) -> None:
    host.sync()
    publisher.local.mirror_domains.delete("default", "community")
    publisher.publish()
    with pytest.raises(DomainsLost):
        host.sync(allow_stale=True)


def test_logins_in_turn_bring_a_host_to_another_tree_when_all_have_come(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    change(publisher)
    before = {side: host.files(side) for side in SIDES}
    wanted = publisher.id_of()
    first = host.sync(domains=("community",), in_turn=True)
    assert {(each.side, each.changed, each.waits_for) for each in first} >= {
        ("concelier", False, ("primary",))
    }
    assert {side: host.files(side) for side in SIDES} == before
    assert statement(host.root.root, "concelier", "community", publisher.key()).export_id != wanted
    assert {each.export_id for each in hosted(host.root) if each.side == "concelier"} != {wanted}
    fetched = len(host.source.fetched)
    host.sync(domains=("community",), in_turn=True)
    assert (fetched > 0, host.source.fetched) == (True, [])
    later = host.sync(domains=("primary",), in_turn=True)
    assert {each.changed for each in later if each.side == "concelier"} == {True}
    for side in SIDES:
        assert host.files(side) == snapshot(publisher.tree(side))
    for domain in ("community", "primary"):
        assert statement(host.root.root, "concelier", domain, publisher.key()).export_id == wanted
        follow(host.root.root, domain, publisher.key())
    assert {each.export_id for each in hosted(host.root) if each.side == "concelier"} == {wanted}
    assert not list((host.root.root / "concelier/.waiting").iterdir())


def test_what_waits_is_no_way_back_and_is_not_mixed_with_another_tree(
    host: Host, publisher: Publisher
) -> None:
    host.sync()
    change(publisher, "the second")
    host.sync(domains=("community",), in_turn=True)
    change(publisher, "the third")
    done = host.sync(domains=("primary",), in_turn=True)
    assert {each.waits_for for each in done if each.side == "concelier"} == {("community",)}
    host.sync(domains=("community",), in_turn=True)
    assert host.files("concelier") == snapshot(publisher.tree())
    old = snapshot(publisher.root.root / "concelier" / forms.FRESHNESS)
    change(publisher, "the fourth")
    host.sync(domains=("community",), in_turn=True)
    for name, data in old.items():
        (publisher.root.root / "concelier" / forms.FRESHNESS / name).write_bytes(data)
    with pytest.raises(StaleTree, match="version 3 is offered, and 4 is held"):
        host.sync(domains=("community",), in_turn=True)


@pytest.mark.parametrize("how", ["expired", "of somebody", "cut off"])
def test_a_statement_that_waits_is_believed_while_it_holds(
    host: Host, publisher: Publisher, how: str
) -> None:
    host.sync()
    change(publisher)
    host.sync(domains=("community",), in_turn=True)
    folder = host.root.root / "concelier/.waiting"
    if how == "expired":
        host.clock = timedelta(days=4)
        publisher.root.put_freshness("concelier", "primary", renewed(publisher, timedelta(days=4)))
    elif how == "of somebody":
        (folder / "community.json.sig").write_bytes(b"AAAA")
    else:
        (folder / "community.json.sig").unlink()
    done = host.sync(domains=("primary",), sides=("concelier",), in_turn=True)
    assert done[0].waits_for == ("community",)


def renewed(publisher: Publisher, later: timedelta) -> dict[str, bytes]:
    own = statement(publisher.root.root, "concelier", "primary", publisher.key())
    return signed(
        publisher,
        replace(own, version=own.version + 1, issued=own.issued + later, expires=own.expires + later),
    )


def test_who_would_wait_for_ever_is_refused(host: Host, publisher: Publisher) -> None:
    host.sync()
    change(publisher)
    with pytest.raises(
        DomainsLost, match="primary, which readers of this host have and their publisher"
    ) as told:
        host.sync(domains=("community",))
    assert "--in-turn" in told.value.advice
    relist(publisher, {domain_list.FILE: lists_only(publisher, "primary")})
    with pytest.raises(DomainsLost):
        host.sync(domains=("primary",), sides=("concelier",), in_turn=True)


def lists_only(publisher: Publisher, domain: str) -> bytes:
    return domain_list.encode("concelier", publisher.id_of(), [domain], [])


def test_domains_whose_keys_differ_are_brought_one_after_the_other(host: Host, publisher: Publisher) -> None:
    host.sync(domains=("primary",))
    key = host.root.root / "concelier" / forms.LATEST / "mirror/primary" / forms.KEY
    assert key.read_bytes() == publisher.key().pem()
    host.sync(domains=("community",))
    (index,) = {
        (host.root.root / "concelier" / forms.LATEST / forms.INDEX).read_bytes(),
        (publisher.tree() / forms.INDEX).read_bytes(),
    }
    assert {each["id"] for each in json.loads(index)["domains"]} == {"community", "primary"}


def test_a_domain_that_is_damaged_here_is_not_carried_on(host: Host, publisher: Publisher) -> None:
    host.sync(domains=("primary",))
    file = host.root.root / "concelier" / forms.LATEST / "osv/primary/all.zip"
    file.unlink()
    with pytest.raises(BadTree, match=r"primary of concelier .* is damaged here"):
        host.sync(domains=("community",))
    host.sync()
    assert host.files("concelier") == snapshot(publisher.tree())


def test_what_rotted_here_is_found_when_it_is_asked_for(host: Host, publisher: Publisher) -> None:
    host.sync()
    file = host.root.root / "concelier" / forms.LATEST / "osv/primary/all.zip"
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.unlink()
    file.write_bytes(data)
    assert sum(each.files for each in host.sync()) == 0
    assert sum(each.files for each in host.sync(check_held=True)) == 1
    assert host.files("concelier") == snapshot(publisher.tree())


def test_a_tree_that_is_not_followed_any_more_goes_after_a_while(host: Host, publisher: Publisher) -> None:
    host.sync()
    first = host.root.latest("concelier")
    assert first is not None
    change(publisher)
    host.sync()
    assert first in host.root.ids("concelier")
    host.clock = timedelta(hours=23)
    host.sync()
    assert first in host.root.ids("concelier")
    host.clock = timedelta(hours=25)
    host.sync()
    assert host.root.ids("concelier") == [host.root.latest("concelier")]


def test_a_tree_that_was_there_but_not_followed_yet_is_not_fetched_again(
    host: Host, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.sync()
    change(publisher)

    class Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(host.root, "switch", die)
        with pytest.raises(Killed):
            host.sync(sides=("concelier",))
    assert host.source.fetched
    host.sync(sides=("concelier",))
    assert host.source.fetched == []
    assert host.files("concelier") == snapshot(publisher.tree())


def test_names_that_lead_elsewhere_are_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.source, "domains", lambda side: ["../../etc"])
    with pytest.raises(BadTree, match="names the domain"):
        host.sync()
    monkeypatch.setattr(host.source, "domains", lambda side: ["primary"])
    monkeypatch.setattr(host.source, "small", lambda side, path, most: None)
    monkeypatch.setattr(host.source, "latest", lambda side, domain: "../../etc")
    with pytest.raises(BadTree, match="names the export"):
        host.sync(allow_stale=True)


def test_one_process_syncs_a_root_at_a_time(host: Host) -> None:
    with host.root.turn(), pytest.raises(SyncRuns):
        host.sync()


def test_a_source_without_a_mirror_is_told(host: Host, tmp_path: Path) -> None:
    host.source = Counting(tmp_path / "nothing")
    with pytest.raises(SourceUnreachable, match="has no published domain"):
        host.sync()
    with pytest.raises(SourceUnreachable, match="has no domain primary"):
        host.sync(domains=("primary",))


def test_when_a_domain_was_synced_is_noted_beside_the_tree_and_forgotten_by_who_publishes_there(
    host: Host, publisher: Publisher
) -> None:
    (dry, *_) = host.sync(dry_run=True)
    assert dry.synced_at is None
    host.sync()
    host.clock = timedelta(minutes=7)
    (dry, *_) = host.sync(dry_run=True)
    lag = dry.lag(datetime.now(UTC) + host.clock)
    assert lag is not None
    assert 420 <= lag < 480
    assert {
        (each.side, each.domain, each.lag(datetime.now(UTC) + host.clock)) for each in hosted(host.root)
    } == {(side, domain, lag) for side in SIDES for domain in ("community", "primary")}
    again = host.sync()
    assert {each.lag(datetime.now(UTC) + host.clock) for each in again} == {0}
    host.clock = timedelta(minutes=9)
    host.sync(domains=("primary",))
    assert {(each.domain, each.lag(datetime.now(UTC) + host.clock)) for each in hosted(host.root)} == {
        ("community", 120),
        ("primary", 0),
    }
    before = {each.synced_at for each in hosted(host.root)}
    host.source.breaks_after = 0
    change(publisher)
    with pytest.raises(SourceUnreachable):
        host.sync()
    assert {each.synced_at for each in hosted(host.root)} == before
    publish(host.root, publisher.local.publish_tools)
    assert list(hosted(host.root)) == []
