"""`stella mirror check`: a good mirror passes, and each requirement finds the fault that it is about."""

from __future__ import annotations

import io
import re
import ssl
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.mirrors.outsider import Outsider, Reached
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy, networks
from stellaops.mirrors import domain_list, forms
from stellaops.mirrors.checks.ports import (
    Asker,
    CheckThrottled,
    CheckUnreachable,
    Login,
    Question,
    Seen,
    TlsSeen,
)
from stellaops.mirrors.checks.report import Report
from stellaops.mirrors.checks.requirements import BY_NAME, REQUIREMENTS
from stellaops.mirrors.checks.run import Wish, check
from stellaops.signing.ecdsa_p256 import generate, load_public_key
from tests.support.api import free_port
from tests.support.certificates import certify
from tests.support.gateways import GatewayProcess, Setup, basic, serving, until
from tests.support.real_mirror import Told, publish_all, stella
from tests.unit.cli.running import osv, package

PAGE = Path(__file__).resolve().parents[2] / "docs" / "use" / "mirror-check.md"
TLS = ("https", "tls-version", "certificate-lasts")
OPEN = {
    "CONCELIER__MIRROR__DOMAINS__1__REQUIREAUTHENTICATION": "false",
    "EXCITITOR__MIRROR__DOMAINS__0__ID": "primary",
    "EXCITITOR__MIRROR__DOMAINS__1__ID": "community",
    "EXCITITOR__MIRROR__DOMAINS__1__REQUIREAUTHENTICATION": "false",
}

Change = Callable[[Question, Seen], Seen]


@dataclass
class World:
    """A mirror with everything, and a gateway before it."""

    place: Path
    gateway: GatewayProcess
    key: Any
    remembered: dict[tuple[Any, ...], Seen]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("check")
    publisher = publish_all(place)
    (place / "password").write_text("correct-horse\n")
    (place / "login").write_text("edge:correct-horse\n")
    setup = Setup(
        place / "mirror",
        place / "gateway",
        {"GATEWAY__SECRETSDIR": str(place), "GATEWAY__METRICSFROM": "10.0.0.0/8", **OPEN},
    )
    key = publisher.key()
    publisher.close()
    with serving(setup) as gateway:
        yield World(place, gateway, key, {})


class Faulty:
    """Asks the mirror, each thing once; answers are changed before anybody sees them."""

    is_secure, is_local, is_exact, has_login = False, False, True, True
    requests = 0

    def __init__(self, world: World, change: Change, seen: TlsSeen | None = None) -> None:
        policy = EgressPolicy(networks(["127.0.0.0/8"]), frozenset(["127.0.0.1"]))
        reached = Reached(
            world.gateway.url, WebSettings(policy), lambda url, headers: {"authorization": basic("edge")}
        )
        self._asker, self._known, self._change, self._tls = Outsider(reached), world.remembered, change, seen
        self.is_secure = seen is not None
        self.place = world.gateway.url

    def ask(self, question: Question) -> Seen:
        key = (question.path, question.login, question.method, tuple(sorted(question.headers.items())))
        if key not in self._known:
            self._known[key] = self._asker.ask(replace(question, hasher=None, keep=1 << 24))
        seen = self._change(question, self._known[key])
        if question.hasher is not None:
            question.hasher.update(seen.body)
        return replace(seen, body=seen.body[: question.keep])

    def tls(self) -> TlsSeen:
        assert self._tls is not None
        return self._tls


def _report(
    world: World, change: Change, tls: TlsSeen | None = None, after: timedelta = timedelta(0), **more: Any
) -> Report:
    asker: Asker = Faulty(world, change, tls)
    wish = Wish(**{"domains": ("primary",), "keys": {world.key.key_id: world.key}, "inside": True, **more})
    return check(wish, asker, datetime.now(UTC) + after)


def _failed(report: Report) -> set[str]:
    return {each.requirement.name for each in report.judged if each.status == "failed"}


def _same(question: Question, seen: Seen) -> Seen:
    del question
    return seen


def where(pattern: str, make: Callable[[Seen], Seen], **wanted: object) -> Change:
    """Changes answers whose path has a pattern, for questions with these attributes."""

    def change(question: Question, seen: Seen) -> Seen:
        told = all(getattr(question, name) == value for name, value in wanted.items())
        return make(seen) if told and re.search(pattern, question.path) else seen

    return change


def header(name: str, value: str | None) -> Callable[[Seen], Seen]:
    def make(seen: Seen) -> Seen:
        rest = {key: text for key, text in seen.headers.items() if key != name}
        return replace(seen, headers=rest if value is None else {**rest, name: value})

    return make


def status(number: int) -> Callable[[Seen], Seen]:
    return lambda seen: replace(seen, status=number)


def body(old: bytes, new: bytes) -> Callable[[Seen], Seen]:
    """Another body of the right description."""

    def make(seen: Seen) -> Seen:
        found = re.sub(old, new, seen.body, flags=re.DOTALL)
        return replace(seen, body=found, size=len(found), sha256=sha256(found).hexdigest())

    return make


NOW = datetime.now(UTC)
GOOD_TLS = TlsSeen("TLSv1.3", NOW + timedelta(days=60), "")


def _coded(question: Question, seen: Seen) -> Seen:
    if seen.headers.get("content-encoding"):
        return replace(seen, headers={**seen.headers, "etag": '"the same for all"'})
    return header("etag", '"the same for all"')(seen) if "bundle.json" in question.path else seen


FAULTS: Mapping[str, Change] = {
    "challenge": where("^/osv/", status(200), login=Login.NONE),
    "wrong-credentials": where("manifest.json$", status(200), login=Login.WRONG),
    "after-hit": where("index.json$|manifest.json$", status(200), login=Login.NONE),
    "refusals-not-kept": where("there-is-no", header("cache-control", "max-age=60")),
    "problems": where("there-is-no", header("content-type", "text/html")),
    "not-found": where("there-is-no-such-export", status(500)),
    "paths": where("%2e%2e", status(200), login=Login.NONE),
    "methods": where("index.json", status(204), method="DELETE"),
    "insides": where("^/metrics", status(200)),
    "server-version": where("index.json", header("server", "nginx/1.27.1")),
    "policy": where("api-policy", body(b"primary", b"another")),
    "index": where("^/concelier/exports/index.json", body(b"exportId", b"exported")),
    "index-paths": where(
        "^/concelier/exports/index.json", body(rb'"path": ?"[^/]+/mirror/primary', b'"path":"mirror/primary')
    ),
    "manifest": where("manifest.json$", body(b'"advisories":', b'"advisories" :')),
    "bundle": where("bundle.json$", body(b"GHSA-", b"GHSB-")),
    "signatures": where(r"bundle.json.sigstore.json$", body(b"^.*$", b"{}")),
    "jws": where(r"manifest.json.jws$", body(rb"\.\..{10}", b"..AAAAAAAAAA")),
    "key": where("mirror-key.pub$", body(b"^.*$", generate().public_key_pem())),
    "stable-names": where(
        "^/concelier/exports/mirror/primary/bundle.json$", header("content-location", None)
    ),
    "tree-list": where("^/excititor/.*tree.json$", body(b"excititor", b"concelier")),
    "tree-files": where("ecosystems.txt$|all.zip$", body(b"^.", b"?")),
    "freshness-signed": where("^/excititor/exports/freshness/primary.json.sig$", body(b"^.{20}", b"A" * 20)),
    "freshness-holds": where(
        "^/concelier/exports/freshness/primary.json$", body(rb'"exportId": ?"..', b'"exportId":"zz')
    ),
    "excititor-index": where(
        "^/excititor/mirror/primary/index$", body(rb'"format": ?"csaf"', b'"format":"html"')
    ),
    "excititor-exports": where("/download$", body(b"^.", b"?")),
    "excititor-signatures": where("exports/consensus-csaf.*sig$", status(404)),
    "etag": where("manifest.json$", header("etag", 'W/"weak"')),
    "conditional": lambda question, seen: (
        replace(seen, status=200) if "if-none-match" in question.headers else seen
    ),
    "head": where("manifest.json$", header("content-length", "5"), method="HEAD"),
    "range": where("manifest.json$", status(200)),
    "index-caching": where("/primary/index$", header("cache-control", "private, max-age=3600")),
    "immutable-caching": where("manifest.json$", header("cache-control", "private, max-age=300")),
    "private": where("/primary/index$", header("vary", "Accept-Encoding")),
    "encodings": _coded,
    "digests": where("manifest.json$", header("repr-digest", "sha-256=:AAAA:")),
    "content-type": where("manifest.json$", header("x-content-type-options", None)),
    "cache-status": where("manifest.json$", header("x-cache-status", None)),
    "osv": where("^/osv/.*modified_id.csv$", status(404)),
    "registry": where("^/v2/.*/manifests/", header("docker-content-digest", "sha256:00")),
    "archives": where("^/concelier/exports/.*/npm/all.zip$", body(b"^PK", b"KP")),
    "domain-list": where("^/excititor/.*/domains.json$", body(rb'"inForce": ?\[', b'"inForce":["00",')),
    "vex-repository": where("vex-repository.json$", body(b"http://[^/]+", b"http://elsewhere.example")),
}


def test_a_mirror_of_ours_meets_every_requirement(world: World) -> None:
    report = _report(world, _same, GOOD_TLS, every=True)
    assert {each.status for each in report.judged} == {"ok"}, report.wire()
    assert report.passed(strict=True)


JUDGED = [each.name for each in REQUIREMENTS if each.name not in TLS]
# Faults that hide nothing from each other are met together in the quick tests.
TOGETHER = [[name for name in JUDGED if name not in ("index", "index-paths", "key")][n::6] for n in range(6)]


def _later(names: Sequence[str]) -> timedelta:
    return timedelta(hours=30 if "freshness-recent" in names else 0)


@pytest.mark.parametrize("names", [*TOGETHER, ["index"], ["key"]], ids=lambda names: names[0])
def test_faults_are_found_by_the_requirements_that_are_about_them(world: World, names: Sequence[str]) -> None:
    def change(question: Question, seen: Seen) -> Seen:
        for name in names:
            seen = FAULTS.get(name, _same)(question, seen)
        return seen

    report = _report(world, change, after=_later(names))
    assert set(names) <= _failed(report), report.wire()
    assert not report.passed(strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", JUDGED)
def test_a_single_fault_is_found_by_the_requirement_that_is_about_it(world: World, name: str) -> None:
    report = _report(world, FAULTS.get(name, _same), after=_later([name]))
    assert name in _failed(report), report.wire()
    assert report.passed() == (BY_NAME[name].level.value == "SHOULD" and _failed(report) == {name})
    assert not report.passed(strict=True)


@pytest.mark.parametrize(
    ("name", "tls"),
    [
        ("tls-version", replace(GOOD_TLS, version="TLSv1.1")),
        ("tls-version", replace(GOOD_TLS, old="TLS 1.1")),
        ("certificate-lasts", replace(GOOD_TLS, expires=NOW + timedelta(days=13))),
    ],
)
def test_tls_is_judged(world: World, name: str, tls: TlsSeen) -> None:
    assert _failed(_report(world, _same, tls)) == {name}


def test_archives_and_lists_of_domains_are_judged_by_what_they_hold(world: World) -> None:
    tree = next((world.place / "mirror/concelier").glob("[a-z0-9]*/mirror/primary/tree.json"))
    listed = forms.parse_tree(tree.read_bytes())
    (npm,) = (entry for entry in listed.files if entry.path == "osv/primary/npm/all.zip")
    lists = next(entry for entry in listed.files if entry.path.endswith("/domains.json"))
    nobody = domain_list.encode("concelier", listed.export_id, ["somebody"], ["somebody"])
    changed = {npm.path: zipped({"other.json": b"{}"}), lists.path: nobody}
    found = _signed_with(world, changed)
    findings = {each.requirement.name: each.findings for each in found.judged}
    assert any("lacks 2 documents" in each and "GHSA-" in each for each in findings["archives"]), findings
    assert len(findings["domain-list"]) == 2
    found = _signed_with(world, {}, without=(npm.path, lists.path))
    findings = {each.requirement.name: each.findings for each in found.judged}
    assert findings["archives"] == (
        f"/concelier/exports/{listed.export_id} lists documents, and no {npm.path}",
    )
    assert len(findings["domain-list"]) == 1


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _signed_with(world: World, changed: Mapping[str, bytes], without: Sequence[str] = ()) -> Report:
    """The report of a mirror whose publisher signed other files on Concelier's side."""

    def change(question: Question, seen: Seen) -> Seen:
        if question.path.startswith("/concelier/exports/") and question.path.endswith("primary/tree.json"):
            tree = forms.parse_tree(seen.body)
            kept = [_entry(each, changed) for each in tree.files if each.path not in without]
            return with_body(b"".join(forms.tree_lines("concelier", "primary", tree.export_id, kept)))(seen)
        for path, data in changed.items():
            if question.path.startswith("/concelier/exports/") and question.path.endswith(path):
                return with_body(data)(seen)
        return seen

    return _report(world, change)


def _entry(entry: forms.Entry, changed: Mapping[str, bytes]) -> forms.Entry:
    data = changed.get(entry.path)
    return entry if data is None else forms.Entry(entry.path, sha256(data).hexdigest(), len(data))


def with_body(data: bytes) -> Callable[[Seen], Seen]:
    return lambda seen: replace(seen, body=data, size=len(data), sha256=sha256(data).hexdigest())


def test_a_mirror_without_tls_fails_unless_it_is_said_to_lie_inside(world: World) -> None:
    assert _failed(_report(world, _same, inside=False)) == {"https"}
    report = _report(world, _same)
    assert {each.requirement.name for each in report.judged if each.status == "not judged"} == set(TLS)


def test_signatures_of_a_stranger_do_not_hold(world: World) -> None:
    stranger = load_public_key(generate().public_key_pem())
    failed = _failed(_report(world, _same, keys={stranger.key_id: stranger}))
    assert {"key", "signatures", "jws", "tree-list", "freshness-signed", "excititor-signatures"} <= failed


def test_one_side_alone_is_judged_by_its_own_requirements(world: World) -> None:
    gone = where("^/(concelier|osv|v2)/", lambda seen: replace(seen, status=404), login=Login.GOOD)
    report = _report(world, gone, domains=(), sides=("excititor",))
    assert set(report.domains) == {"primary", "community"}
    assert {"index", "registry"} <= {
        each.requirement.name for each in report.judged if each.status == "not judged"
    }
    statuses = {each.requirement.name: each.status for each in report.judged}
    assert statuses["excititor-exports"] == statuses["excititor-index"] == statuses["vex-repository"] == "ok"


def test_a_connection_that_breaks_is_a_finding(world: World) -> None:
    def breaking(question: Question, seen: Seen) -> Seen:
        if question.path.endswith("vex-repository.json") and question.login is Login.GOOD:
            raise CheckUnreachable("cut off")
        return seen

    report = _report(world, breaking)
    assert "vex-repository" in _failed(report)
    assert not report.passed()


@pytest.mark.parametrize("path", ["ecosystems.txt", "modified_id.csv"])
def test_the_page_of_an_error_is_not_read_as_a_list(world: World, path: str) -> None:
    away = where(f"^/osv/.*{path}$", lambda seen: replace(seen, status=503, body=b"Service\nUnavailable\n"))
    (osv_,) = (each for each in _report(world, away).judged if each.requirement.name == "osv")
    assert osv_.status == "failed"
    assert all(f"{path} answers 503" in each for each in osv_.findings), osv_.findings


@pytest.mark.slow
def test_a_publication_meanwhile_is_no_fault_of_the_mirror(tmp_path: Path) -> None:
    publisher = publish_all(tmp_path)
    setup = Setup(tmp_path / "mirror", tmp_path / "gateway", {"GATEWAY__SECRETSDIR": str(tmp_path), **OPEN})
    with serving(setup) as gateway:
        world = World(tmp_path, gateway, publisher.key(), {})
        before = _report(world, _same)
        # Indexes as a cache in front has kept them, and all else as it is after the publication.
        kept = {
            key: seen for key, seen in world.remembered.items() if key[0].endswith(("/index.json", "/index"))
        }
        publisher.take({"new.json": osv("GHSA-cccc-cccc-cccc", package("npm", "left"))}, "ghsa")
        publisher.publish()
        publisher.close()
        until(lambda: _moved(world, "/concelier/exports/mirror/primary/manifest.json"))
        after = _report(World(tmp_path, gateway, publisher.key(), kept), _same)
    assert (_failed(before), _failed(after)) == ({"insides"}, {"insides"})  # this machine may read metrics


def _moved(world: World, path: str) -> bool:
    """Whether the mirror has another content under a path than it had."""
    before = next(seen for (told, *_), seen in world.remembered.items() if told == path)
    return world.gateway.ask(path, "edge").headers["etag"] != before.headers["etag"]


# The command


def _ours(world: World, *options: object) -> tuple[object, ...]:
    return (
        "mirror",
        "check",
        world.gateway.url,
        "--inside",
        "--key",
        world.place / "mirror-key.pub",
        *options,
    )


def test_the_command_gives_one_verdict(world: World) -> None:
    login = ("--user", "edge", "--password-file", world.place / "password")
    told = stella(world.place, *_ours(world, *login, "--domain", "primary", "--format", "json"))
    assert told.code == 0, told.out + told.err
    assert told.json["verdict"] == "passed"
    assert told.json["counts"] == {"ok": 43, "failed": 0, "warnings": 0, "notJudged": 3}
    assert [each["number"] for each in told.json["requirements"]] == list(range(1, len(REQUIREMENTS) + 1))
    # An open domain, as somebody without credentials sees it.
    told = stella(world.place, *_ours(world, "--format", "table"))
    assert told.code == 0, told.out + told.err
    assert "passed (community;" in told.out
    # Two domains with one login: of the other one this user reads nothing, and it is open.
    told = stella(world.place, *_ours(world, "--credentials", world.place / "login", "--format", "json"))
    assert (told.code, told.json["domains"]) == (0, ["community", "primary"]), told.out


def test_a_missed_must_ends_with_6_and_names_the_finding(world: World, tmp_path: Path) -> None:
    (tmp_path / "other.pub").write_bytes(generate().public_key_pem())
    options = ("--credentials", world.place / "login", "--domain", "primary", "--format", "table")
    told = stella(
        world.place,
        "mirror",
        "check",
        world.gateway.url,
        "--inside",
        "--key",
        tmp_path / "other.pub",
        *options,
    )
    assert told.code == 6
    assert "FAILED (primary;" in told.out
    assert "is no signature of it by a trusted key" in told.out


def test_what_cannot_be_checked_is_an_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("edge:wrong")
    url, primary = world.gateway.url, ("--inside", "--domain", "primary")
    told = stella(tmp_path, "mirror", "check", url, *primary, "--credentials", tmp_path / "wrong")
    assert (told.code, told.out) == (2, ""), told.err
    assert "ERR_MIRROR_CHECK_CREDENTIALS" in told.err
    told = stella(tmp_path, "mirror", "check", url, *primary)
    assert (told.code, told.out) == (2, ""), told.err
    assert "answers 401 without credentials" in told.err
    told = stella(tmp_path, "mirror", "check", f"http://127.0.0.1:{free_port()}", *primary)
    assert (told.code, told.out) == (10, ""), told.err
    assert "ERR_MIRROR_CHECK_UNREACHABLE" in told.err
    told = stella(tmp_path, "mirror", "check", url, *primary, variables={"STELLA_EGRESS_ALLOW_HTTP": ""})
    assert "ERR_EGRESS_SCHEME" in told.err
    assert stella(tmp_path, "mirror", "check", url, "--user", "edge").code == 2


def test_a_budget_that_ends_is_told_and_is_no_verdict(world: World) -> None:
    limited = where("tree.json$", lambda seen: replace(seen, status=429, headers={"retry-after": "1800"}))
    with pytest.raises(CheckThrottled, match="1800 s"):
        _report(world, limited)


def test_nothing_is_told_to_a_server_whose_certificate_is_not_trusted(world: World, tmp_path: Path) -> None:
    trusted, host = (
        certify(tmp_path, "mirror-primary", "mirror-primary.example.org", 1),
        "mirror-primary.example.org",
    )
    (tmp_path / "elsewhere").mkdir()
    stranger = certify(tmp_path / "elsewhere", "mirror-primary", host, 2)
    names = {
        "GATEWAY__DOMAINS__0__ID": "primary", "GATEWAY__DOMAINS__0__HOSTS": host, "GATEWAY__TLSDIR": str(tmp_path),
        "CONCELIER__MIRROR__DOMAINS__1__ID": "", "GATEWAY__SECRETSDIR": str(world.place),
    }  # fmt: skip
    context = ssl.create_default_context(cafile=trusted)
    context.check_hostname = False
    login = (
        "--user",
        "edge",
        "--password-file",
        world.place / "password",
        "--key",
        world.place / "mirror-key.pub",
    )
    with serving(Setup(world.place / "mirror", tmp_path / "gateway", names), tls=context) as gateway:
        url = f"https://{host}:{gateway.port}"

        def told(*options: object) -> Told:
            return stella(
                tmp_path,
                "mirror",
                "check",
                url,
                "--connect-to",
                "127.0.0.1",
                *login,
                "--format",
                "json",
                *options,
            )

        good = told("--ca-file", trusted)
        assert (good.code, good.json["counts"]["notJudged"]) == (0, 0), good.out + good.err
        until(lambda: len(gateway.accesses()) >= good.json["requests"])
        asked = len(gateway.accesses())
        bad = told("--ca-file", stranger)
        (https,) = [each for each in bad.json["requirements"] if each["status"] == "failed"]
        assert (bad.code, https["name"], bad.json["requests"]) == (6, "https", 1)
        gateway.ask("/healthz")
        until(lambda: len(gateway.accesses()) > asked)
        assert len(gateway.accesses()) == asked + 1


def test_the_page_lists_the_requirements_as_they_are_judged() -> None:
    rows = re.findall(r"^\| (\d+) \| (MUST|SHOULD) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(each.number), each.level.value, each.text) for each in REQUIREMENTS]
