"""Deployments before they are started: each thing that can be wrong is found, and what to do is said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stellaops.adapters.settings.mirrors import read_mirror_host
from stellaops.cli.main import stella
from stellaops.deployment.services import BadDeployment, Owner, read_compose, read_environment
from stellaops.deployment.validate import merged, validate
from stellaops.gateway.nginx.rendering import BadProxySettings, Proxy, render
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.signing import ecdsa_p256
from tests.support.certificates import certify
from tests.support.deploy import copy_compose, edit, given_to, mirror_host, resolved, tool
from tests.support.gateways import write_users
from tests.support.publishing import Publisher
from tests.support.tools import ROOT, missing

DOMAINS = ("primary", "community")
_RESOLVED: dict[tuple[str, str], str] = {}


def _swapped(text: str, places: dict[str, str]) -> str:
    for old, new in places.items():
        text = text.replace(old, new)
    return text


@dataclass
class Host:
    """A mirror host's files, and the trees that it serves."""

    place: Path
    mirrors: Path
    change: Callable[[dict[str, Any]], None] = lambda _: None

    def findings(self, profile: str = "mirror", *, quick: bool = False) -> list[Finding]:
        wire = self.wire(profile)
        for service in wire["services"].values():
            service["user"] = f"{os.getuid()}:{os.getgid()}"
        self.change(wire)
        return list(validate(read_compose(json.dumps(wire)), (), datetime.now(UTC), quick=quick))

    def wire(self, profile: str) -> dict[str, Any]:
        """What Compose understands; asked once for the same variables, since that takes half a second."""
        places = {str(self.mirrors): "@mirrors", str(self.place): "@place"}
        variables = "".join(
            (self.place / "env" / name).read_text() for name in ("mirror.env", "stellaops.env")
        )
        key = profile, _swapped(variables, places)
        if key not in _RESOLVED:
            _RESOLVED[key] = _swapped(json.dumps(resolved(self.place, profile)), places)
        back = {short: place for place, short in places.items()}
        found: dict[str, Any] = json.loads(_swapped(_RESOLVED[key], back))
        return found

    def wrong(self, profile: str = "mirror", verdict: Verdict = Verdict.FAILED) -> list[Finding]:
        return merged(each for each in self.findings(profile) if each.verdict is verdict)

    def only(self, verdict: Verdict = Verdict.FAILED) -> Finding:
        (found,) = self.wrong(verdict=verdict)
        assert found.hint
        return found

    def file(self, path: str) -> Path:
        return self.place / path


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    made = Publisher(tmp_path_factory.mktemp("published") / "data").filled()
    for name in DOMAINS:
        made.domain(name)
    made.publish()
    return made


@pytest.fixture
def host(publisher: Publisher, tmp_path: Path) -> Host:
    mirrors = Path(shutil.copytree(publisher.root.root, tmp_path / "mirror-data", symlinks=True))
    return Host(mirror_host(tmp_path, mirrors, publisher.key().pem()), mirrors)


def test_what_is_as_it_should_be_is_found_to_be_so(host: Host) -> None:
    findings = host.findings()
    assert [each for each in findings if each.verdict is not Verdict.OK] == []
    told = " ".join(each.name for each in findings)
    for what in (
        "image", "settings", "STELLA_MIRROR_KEY_FILE", "quotas", "users of primary", "certificate of community",
        "tree of concelier, primary", "tree of excititor, community", "mirror-sync: /mirror",
    ):  # fmt: skip
        assert what in told


def test_an_image_without_digest_and_a_misspelt_setting(host: Host) -> None:
    edit(host.file("env/mirror.env"), STELLAOPS_IMAGE="stellaops:latest", CONCELIER__MIRROR__EXPROTROOT="/x")
    edit(
        host.file("env/mirror.env"),
        STELLA_LOGLEVEL="debug",
        CONCELIER__MIRROR__MAXINDEXREQUESTSPERHOUR="many",
    )
    details = [each.detail for each in host.wrong()]
    assert "stellaops:latest has no digest" in details
    assert "CONCELIER__MIRROR__EXPROTROOT: not a setting (is CONCELIER__MIRROR__EXPORTROOT meant?)" in details
    assert "STELLA_LOGLEVEL: not a setting (is STELLA_LOG_LEVEL meant?)" in details
    assert any("MAXINDEXREQUESTSPERHOUR: a whole number is needed" in each for each in details)


def test_a_secret_that_is_missing_empty_or_open(host: Host) -> None:
    secret = host.file("mirror-secrets/mirror-sync-key")
    secret.chmod(0o644)
    assert "open to everybody" in host.only().detail
    secret.chmod(0o640)
    secret.write_text("")
    assert host.only().detail.endswith("is empty")
    secret.unlink()
    found = host.only()
    assert "no such file" in found.detail
    assert found.name.startswith("concelier, excititor, mirror-gateway, mirror-sync: ")


def test_files_are_judged_by_the_rights_of_the_user_in_the_container(host: Host) -> None:
    def as_container(wire: dict[str, Any]) -> None:
        for service in wire["services"].values():
            service["user"] = "54321:54321"

    host.change = as_container
    details = [each.detail for each in host.wrong()]
    assert sum("cannot be read by user 54321" in each for each in details) >= 5
    assert sum("mirror-data cannot be written by user 54321" in each for each in details) == 1


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "bits", "may"),
    [(5, 9, 0o600, 4, True), (6, 7, 0o640, 4, True), (6, 8, 0o640, 4, False), (6, 8, 0o644, 4, True),
     (6, 7, 0o640, 6, False), (0, 0, 0o000, 6, True), (5, 7, 0o044, 4, False)],
)  # fmt: skip
def test_rights_are_those_of_the_kernel(uid: int, gid: int, mode: int, bits: int, may: bool) -> None:
    state = os.stat_result((0o100000 | mode, 0, 0, 1, 5, 7, 0, 0, 0, 0))
    assert Owner(uid, frozenset({gid})).may(state, bits) is may


@pytest.mark.parametrize(
    ("days", "name", "verdict", "detail"),
    [(0, "mirror-primary.example.org", Verdict.FAILED, "ended at"),
     (20, "mirror-primary.example.org", Verdict.WARNING, "ends at"),
     (90, "mirror-other.example.org", Verdict.FAILED, "is not for mirror-primary.example.org, but for mirror-other"),
     (90, "*.example.org", Verdict.OK, ""), (90, "*.primary.example.org", Verdict.FAILED, "is not for")],
)  # fmt: skip
def test_a_certificate_by_its_dates_and_names(
    host: Host, days: int, name: str, verdict: Verdict, detail: str
) -> None:
    certify(host.file("mirror-gateway/tls"), "mirror-primary", name, 2, days=days)
    host.file("mirror-gateway/tls/mirror-primary.key").chmod(0o640)
    found = [each for each in host.findings() if each.name == "mirror-gateway: certificate of primary"]
    assert [each.verdict for each in found] == [verdict]
    assert detail in found[0].detail


def test_a_certificate_with_anothers_key_none_at_all_or_no_pem(host: Host) -> None:
    tls = host.file("mirror-gateway/tls")
    shutil.copy(tls / "mirror-community.key", tls / "mirror-primary.key")
    assert "is not the key of" in host.only().detail
    (tls / "mirror-primary.crt").write_text("nothing")
    assert "mirror-primary.crt" in host.only().detail
    for file in tls.glob("mirror-primary.*"):
        file.unlink()
    assert "other domains have a certificate" in host.only().detail
    for file in tls.glob("mirror-*"):
        file.unlink()
    assert (
        "holds no certificate: credentials of primary, community would go in the clear" in host.only().detail
    )
    for side in ("CONCELIER", "EXCITITOR"):
        edit(host.file("env/mirror.env"), **{f"{side}__MIRROR__REQUIREAUTHENTICATION": "false"})
    assert "speaks without TLS" in host.only(Verdict.WARNING).detail


def test_a_gateway_behind_a_proxy_says_so_and_is_not_asked_for_certificates(host: Host) -> None:
    def plain(wire: dict[str, Any]) -> None:
        wire["services"]["mirror-gateway"]["environment"]["GATEWAY__TLSDIR"] = ""

    host.change = plain
    for file in host.file("mirror-gateway/tls").glob("mirror-*"):
        file.unlink()
    assert [each for each in host.findings() if each.verdict is not Verdict.OK] == []


@pytest.fixture
def behind_nginx(host: Host) -> Host:
    """The same with the overlay, and nginx's configuration as its head says that it is made."""
    edit(host.file("env/mirror.env"), MIRROR_CACHE=str(host.mirrors))
    render_nginx(host)
    return host


def render_nginx(host: Host) -> None:
    services = read_compose(json.dumps(host.wire("nginx")))
    (access,) = (each for each in services if each.name == "mirror-access")
    tls = host.file("mirror-gateway/tls")
    settings = read_mirror_host({}, {**access.translated(), "GATEWAY__TLSDIR": str(tls)})
    gateway, concelier, excititor = (
        f"http://{name}:8080" for name in ("mirror-access", "concelier", "excititor")
    )
    cache, own = Path("/var/cache/nginx"), Path("/var/run/nginx")
    proxy = Proxy(gateway, concelier, excititor, "0.0.0.0:8443", cache, own)
    text = render(settings, proxy).replace(str(tls), "/run/tls")
    host.file("mirror-gateway/nginx/nginx.conf").write_text(text)


def test_nginx_as_it_should_be_is_found_to_be_so(behind_nginx: Host) -> None:
    findings = behind_nginx.findings("nginx")
    assert [each for each in findings if each.verdict is not Verdict.OK] == []
    told = {each.name for each in findings}
    assert told >= {f"mirror-gateway: certificate of {each}" for each in DOMAINS}
    assert "mirror-gateway: configuration of nginx" in told


def test_nginx_without_its_configuration_or_with_one_of_other_settings(behind_nginx: Host) -> None:
    edit(
        behind_nginx.file("env/mirror.env"),
        GATEWAY__DOMAINS__0__HOSTS="mirror-primary.example.org,more.example.org",
    )
    told = " ".join(each.detail for each in behind_nginx.wrong("nginx"))
    assert "it does not know more.example.org" in told
    behind_nginx.file("mirror-gateway/nginx/nginx.conf").unlink()
    (found,) = (each for each in behind_nginx.wrong("nginx") if "nginx.conf" in each.detail)
    assert "no such file" in found.detail
    assert "stella mirror render-gateway nginx" in found.hint


def test_certificates_of_nginx_are_looked_at_too(behind_nginx: Host) -> None:
    tls = behind_nginx.file("mirror-gateway/tls")
    certify(tls, "mirror-primary", "mirror-primary.example.org", 2, days=0)
    (tls / "mirror-primary.key").chmod(0o640)
    (found,) = behind_nginx.wrong("nginx")
    assert "ended at" in found.detail
    (tls / "mirror-primary.crt").unlink()
    details = " ".join(each.detail for each in behind_nginx.wrong("nginx"))
    assert "mirror-primary.crt: no such file" in details
    assert "other domains have a certificate, and this one has none" in details


def test_nginx_without_tls_is_told_and_not_rendered_by_accident(behind_nginx: Host) -> None:
    tls = behind_nginx.file("mirror-gateway/tls")
    for file in tls.glob("mirror-*"):
        file.unlink()
    with pytest.raises(BadProxySettings, match=r"holds no mirror-<domain>\.crt"):
        render_nginx(behind_nginx)
    behind_nginx.file("mirror-gateway/nginx/nginx.conf").write_text(
        "server { listen 8443; server_name _; }\n"
    )
    assert behind_nginx.wrong("nginx") == []
    (found,) = behind_nginx.wrong("nginx", Verdict.WARNING)
    assert "nginx speaks without TLS" in found.detail


def test_users_that_are_hashed_otherwise_old_expired_or_cheap(host: Host) -> None:
    file = host.file("mirror-gateway/secrets/mirror-primary.htpasswd")
    good = file.read_text()
    for line in ("edge:$apr1$abcdefgh$0123456789abcdefghijk/", "edge:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="):
        file.write_text(f"{good}{line.replace('edge', 'other')}\n")
        found = host.only()
        assert "not `user:` and a bcrypt hash" in found.detail
        assert "htpasswd -B" in found.hint
        assert line.partition(":")[2] not in found.detail
    write_users(file, {"old": "x", "new": "y"}, {"old": "issued: 2020-01-01", "new": "issued: 2099-01-01"})
    assert "older than 90 days, replace them: old" in host.only(Verdict.WARNING).detail
    assert "cost below 10): new, old" in host.only(Verdict.WARNING).detail
    write_users(file, {"gone": "x"}, {"gone": "issued: 2020-01-01; expires: 2020-04-01"}, cost=10)
    assert "no user whose credential holds" in host.only().detail
    file.write_text("")
    assert "no user whose credential holds" in host.only().detail


def test_quotas_without_a_limit_and_no_domain(host: Host) -> None:
    edit(host.file("env/mirror.env"), CONCELIER__MIRROR__DOMAINS__1__MAXDOWNLOADREQUESTSPERHOUR="0")
    assert "concelier community: MAXDOWNLOADREQUESTSPERHOUR" in host.only(Verdict.WARNING).detail
    text = host.file("env/mirror.env").read_text()
    host.file("env/mirror.env").write_text(
        "\n".join(line for line in text.splitlines() if "__DOMAINS__" not in line)
    )
    assert "no domain is configured" in {each.detail for each in host.wrong()}


def test_a_gateway_with_other_rules_than_its_back_end(host: Host) -> None:
    def other(wire: dict[str, Any]) -> None:
        wire["services"]["concelier"]["environment"][
            "CONCELIER__MIRROR__DOMAINS__0__REQUIREAUTHENTICATION"
        ] = "false"

    host.change = other
    assert "other rules of concelier's domains" in host.only().detail


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("path", "detail"),
    [("concelier/latest/mirror/primary/bundle.json", "1 of"),
     ("concelier/latest/mirror/primary/tree.json", "no trusted key"),
     ("excititor/freshness/community.json", "no trusted key"),
     ("excititor/latest/mirror/community/tree.json.sig", "")],
)  # fmt: skip
def test_a_flipped_byte_in_a_tree_is_found(host: Host, path: str, detail: str) -> None:
    _flip(host.mirrors / path)
    found = host.only()
    assert detail in found.detail
    assert "--check-held" in found.hint


def test_a_quick_look_compares_sizes_and_signatures_alone(host: Host) -> None:
    bundle = host.mirrors / "concelier/latest/mirror/primary/bundle.json"
    _flip(bundle)
    assert Verdict.FAILED not in {each.verdict for each in host.findings(quick=True)}
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert Verdict.FAILED in {each.verdict for each in host.findings(quick=True)}


def test_a_tree_of_a_stranger_without_a_domain_or_not_there(host: Host) -> None:
    key = host.file("mirror-secrets/mirror-key.pub")
    ours = key.read_bytes()
    key.write_bytes(ecdsa_p256.generate().public_key_pem())
    assert all("no trusted key has signed" in each.detail for each in host.wrong())
    assert len(host.wrong()) == 4
    key.write_bytes(ours)
    edit(host.file("env/mirror.env"), CONCELIER__MIRROR__DOMAINS__1__ID="edge")
    assert "has no domain edge" in " ".join(each.detail for each in host.wrong())
    edit(host.file("env/mirror.env"), CONCELIER__MIRROR__DOMAINS__1__ID="community")
    (host.mirrors / "concelier/latest").unlink()
    for export in (host.mirrors / "concelier").iterdir():
        if export.name != "freshness":
            shutil.rmtree(export, ignore_errors=True)
    assert "holds no export that can be served" in host.only().detail
    shutil.rmtree(host.mirrors)
    assert {each.detail for each in host.wrong()} >= {f"{host.mirrors}/concelier is not there"}


def test_a_plain_host_by_its_file_of_variables(host: Host) -> None:
    text = (ROOT / "deploy/systemd/mirror.env.example").read_text()
    settings = {
        "/opt/stellaops/mirror-data": str(host.mirrors),
        "/etc/stellaops/mirror-gateway": str(host.file("mirror-gateway")),
        "/etc/stellaops/secrets": str(host.file("mirror-secrets")),
    }
    for old, new in settings.items():
        text = text.replace(old, new)
    service = read_environment(text, "mirror.env")
    keys = (host.file("mirror-secrets/mirror-key.pub"),)
    findings = list(validate((service,), keys, datetime.now(UTC)))
    assert [each for each in findings if each.verdict is Verdict.FAILED] == []
    assert sum("tree of" in each.name for each in findings) == 4
    stranger = replace(service, owner=Owner(54321, frozenset({54321})))
    failed = [
        each.detail
        for each in validate((stranger,), keys, datetime.now(UTC))
        if each.verdict is Verdict.FAILED
    ]
    assert any("cannot be read by user 54321" in each for each in failed)


def test_what_the_stores_need_is_looked_at_too(tmp_path: Path) -> None:
    place = copy_compose(tmp_path)
    edit(place / "env/mirror.env", MIRROR_DATA=str(tmp_path / "mirror-data"))
    edit(place / "env/stellaops.env", OBJECTS_DATA=str(tmp_path / "objects"))
    failed = {each.detail: each for each in Host(place, tmp_path).wrong("full")}
    assert failed[f"{tmp_path}/objects is not there"].name == "objects: /data"
    assert failed[f"{place}/secrets/postgres-password is not there"].name.startswith("postgres: ")
    assert f"{place}/secrets/key-passphrase: no such file or directory" in failed
    assert tool("make-secrets.sh", place).returncode == 0
    (tmp_path / "objects").mkdir()
    told = " ".join(each.detail for each in Host(place, tmp_path).wrong("full"))
    assert "/secrets/" not in told.replace("mirror-gateway/secrets", "")
    assert "/objects" not in told
    (tmp_path / "mirror-data/concelier").mkdir(parents=True)
    warned = [each.detail for each in Host(place, tmp_path).wrong("full", Verdict.WARNING)]
    assert f"{tmp_path}/mirror-data/concelier holds no export that can be served" in warned


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"services": 3}', '{"services": {"a": {"volumes": [{}]}}}']
)
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(BadDeployment, match="no description of Compose"):
        read_compose(text)


def test_a_dollar_that_compose_doubles_stands_once() -> None:
    wire = {"services": {"a": {"image": "x", "environment": {"A": "b$$c"}, "command": ["$$x"]}}}
    (service,) = read_compose(json.dumps(wire))
    assert (service.environment, service.command) == ({"A": "b$c"}, ("$x",))


def test_variables_are_read_as_systemd_reads_them() -> None:
    service = read_environment("# a\n\nA=1\nB='two words'\nC=\"x\"\nD=a=b\n;E=1\n", "x.env")
    assert service.environment == {"A": "1", "B": "two words", "C": "x", "D": "a=b"}
    with pytest.raises(BadDeployment, match="line 2 is not NAME=VALUE"):
        read_environment("A=1\nnothing\n", "x.env")


def test_the_command_says_what_is_wrong_and_exits_with_two(host: Host) -> None:
    description = host.file("resolved.json")
    description.write_text(
        json.dumps(resolved(host.place, "mirror")).replace("10001:10001", f"{os.getuid()}:{os.getgid()}")
    )
    words = ["config", "validate", "--compose", str(description), "--format", "json"]
    assert _exit(words) == 0
    _flip(host.mirrors / "concelier/latest/mirror/primary/bundle.json")
    assert _exit(words) == 2
    assert _exit(["config", "validate"]) == 2
    assert _exit(["config", "validate", "--env-file", str(description), "--user", "no-such-user"]) == 2


def _exit(words: list[str]) -> int:
    from stellaops.cli.frame import run  # noqa: PLC0415

    with CliRunner().isolation(), pytest.raises(SystemExit) as ended:
        run(stella, words)
    return int(ended.value.code or 0)


@pytest.fixture
def programs() -> dict[str, str]:
    """PATH with the real Compose and our own command."""
    return {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}


def test_the_script_checks_what_is_there_as_the_containers_see_it(
    host: Host, programs: dict[str, str]
) -> None:
    if os.geteuid() != 0:
        missing("files cannot be given to the user of the containers without root")
    for place in (host.mirrors, host.file("mirror-secrets"), host.file("mirror-gateway")):
        given_to(place, 10001)
    script, told = "validate-profiles.sh", ["--dir", str(host.place), "mirror"]
    done = tool(script, *told, variables=programs)
    assert (done.returncode, "nothing is wrong" in done.stderr) == (0, True), done.stdout + done.stderr
    _flip(host.mirrors / "concelier/latest/mirror/primary/bundle.json")
    done = tool(script, *told, variables=programs)
    assert done.returncode == 2
    assert "not as they were signed" in done.stdout
    edit(host.file("env/mirror.env"), STELLAOPS_IMAGE="")
    done = tool(script, *told, variables=programs)
    assert done.returncode == 2
    assert "required variable STELLAOPS_IMAGE" in done.stderr
    assert "pin-images.sh" in done.stderr
    host.file("env/mirror.env").unlink()
    done = tool(script, *told, variables=programs)
    assert done.returncode == 2
    assert "mirror.env.example" in done.stderr
    assert tool(script, "--nonsense").returncode == 2
