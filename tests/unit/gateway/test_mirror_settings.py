"""Settings of a mirror host, from a file and from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stellaops.adapters.settings.load import load, load_mirror_host
from stellaops.adapters.settings.mirrors import (
    InvalidMirrorSettings,
    MirrorHost,
    describe_mirror_host,
    read_mirror_host,
)

RUNBOOK = {
    "CONCELIER__MIRROR__ENABLED": "true",
    "CONCELIER__MIRROR__EXPORTROOT": "/exports/json",
    "CONCELIER__MIRROR__REQUIREAUTHENTICATION": "false",
    "CONCELIER__MIRROR__MAXINDEXREQUESTSPERHOUR": "600",
    "CONCELIER__MIRROR__DOMAINS__0__ID": "primary",
    "CONCELIER__MIRROR__DOMAINS__0__DISPLAYNAME": "Primary Mirror",
    "CONCELIER__MIRROR__DOMAINS__0__REQUIREAUTHENTICATION": "true",
    "CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "3600",
    "CONCELIER__MIRROR__DOMAINS__1__ID": "community",
    "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": "/exports",
    "GATEWAY__DOMAINS__0__ID": "primary",
    "GATEWAY__DOMAINS__0__HOSTS": "mirror-primary.example.org, Other.Example.Org.",
    "GATEWAY__SECRETSDIR": "/run/secrets",
    "GATEWAY__TRUSTEDPROXIES": "10.0.0.0/8",
}
PASCAL = """
Concelier:
  Mirror:
    Enabled: true
    ExportRoot: /exports/json
    RequireAuthentication: false
    MaxIndexRequestsPerHour: 600
    Domains:
      - {Id: primary, DisplayName: Primary Mirror, RequireAuthentication: true, MaxDownloadRequestsPerHour: 3600}
      - Id: community
Excititor: {Artifacts: {FileSystem: {Root: /exports}}}
Gateway:
  Domains: [{Id: primary, Hosts: [mirror-primary.example.org, Other.Example.Org.]}]
  SecretsDir: /run/secrets
  TrustedProxies: [10.0.0.0/8]
"""


def test_the_runbooks_variables_are_read() -> None:
    host = read_mirror_host({}, RUNBOOK)
    concelier = host.sides["concelier"]
    assert concelier.root == Path("/exports/json")
    assert concelier.indexes_per_hour == 600
    assert concelier.rules("primary").require_authentication
    assert concelier.rules("primary").downloads_per_hour == 3600
    assert not concelier.rules("community").require_authentication
    assert host.sides["excititor"].root == Path("/exports")
    assert host.sides["excititor"].rules("primary").require_authentication  # nothing said: closed
    assert host.domains["primary"].hosts == ("mirror-primary.example.org", "other.example.org")
    assert host.domains["primary"].display_name == "Primary Mirror"
    assert host.domains["community"].htpasswd_file == Path("/run/secrets/mirror-community.htpasswd")


def test_the_same_as_yaml_in_pascal_case_is_the_same() -> None:
    assert read_mirror_host(yaml.safe_load(PASCAL), {}) == read_mirror_host({}, RUNBOOK)


def test_the_environment_goes_before_the_file() -> None:
    told = {"CONCELIER__MIRROR__DOMAINS__0__MAXDOWNLOADREQUESTSPERHOUR": "7"}
    host = read_mirror_host(yaml.safe_load(PASCAL), told)
    assert host.sides["concelier"].rules("primary").downloads_per_hour == 7
    assert list(host.domains) == ["primary", "community"]


def test_an_empty_variable_takes_away_what_the_file_says(tmp_path: Path) -> None:
    for end in ("crt", "key"):
        (tmp_path / f"mirror-primary.{end}").touch()
    wire = {"Gateway": {"TlsDir": str(tmp_path), "Domains": [{"Id": "primary", "Hosts": ["a.example.org"]}]}}
    assert read_mirror_host(wire, {}).domains["primary"].tls_key_file == tmp_path / "mirror-primary.key"
    assert read_mirror_host(wire, {"GATEWAY__TLSDIR": ""}).domains["primary"].tls_key_file is None
    assert read_mirror_host(wire, {"GATEWAY__DOMAINS__0__HOSTS": ""}).domains["primary"].hosts == ()


def test_an_empty_list_of_host_names_is_none() -> None:
    wire = {"Gateway": {"Domains": [{"Id": "primary", "Hosts": []}], "TlsDir": "", "SecretsDir": ""}}
    primary = read_mirror_host(wire, {}).domains["primary"]
    assert (primary.hosts, primary.htpasswd_file, primary.tls_certificate_file) == ((), None, None)


def test_a_domain_has_a_budget_for_indexes_of_its_own_or_the_mirrors() -> None:
    own = {
        "CONCELIER__MIRROR__DOMAINS__1__MAXINDEXREQUESTSPERHOUR": "9",
        "CONCELIER__MIRROR__DOMAINS__2__ID": "open",
        "CONCELIER__MIRROR__DOMAINS__2__MAXINDEXREQUESTSPERHOUR": "0",
    }
    concelier = read_mirror_host({}, RUNBOOK | own).sides["concelier"]
    names = ("primary", "community", "open", "unnamed")
    assert [concelier.rules(name).indexes_per_hour for name in names] == [600, 9, 0, 600]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"CONCELIER__MIRROR__EXPROTROOT": "/x"}, "is CONCELIER__MIRROR__EXPORTROOT meant?"),
        ({"CONCELIER__MIRROR__DOMAINS__0__ID": "../etc"}, "lower-case letters"),
        ({"CONCELIER__MIRROR__MAXINDEXREQUESTSPERHOUR": "many"}, "a whole number"),
        ({"CONCELIER__MIRROR__ENABLED": "maybe"}, "one of true"),
        ({"GATEWAY__TRUSTEDPROXIES": "everybody"}, "a network"),
        ({"GATEWAY__CONCELIER__URL": "ftp://x"}, "a URL"),
        ({"GATEWAY__PUBLICBASEURL": "https://user:word@x"}, "a URL"),
        (
            {"GATEWAY__DOMAINS__0__ID": "a", "GATEWAY__DOMAINS__0__TLSKEYFILE": "/k"},
            "both a certificate and its key",
        ),
        ({"GATEWAY__DOMAINS__0__ID": "a", "GATEWAY__DOMAINS__0__HOSTS": "a b"}, "no host name"),
    ],
)
def test_what_is_wrong_is_named(told: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidMirrorSettings, match=text.replace("?", r"\?")):
        read_mirror_host({}, told)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = {"GATEWAY__TRUSTEDPROXIES": "x", "CONCELIER__MIRROR__ENABLED": "y"}
    with pytest.raises(InvalidMirrorSettings) as caught:
        read_mirror_host({}, told)
    assert len(caught.value.details) == 2


def test_variables_of_other_programs_are_let_be() -> None:
    host = read_mirror_host({}, {"CONCELIER__STORAGE__DSN": "mongodb://x", "PATH": "/bin"})
    assert host.unknown == ("concelier.storage.dsn",)


def test_unknown_names_in_the_file_are_errors() -> None:
    with pytest.raises(InvalidMirrorSettings, match="CONCELIER__STORAGE__DSN"):
        read_mirror_host({"Concelier": {"Storage": {"Dsn": "x"}}}, {})


def test_the_settings_file_may_hold_both_kinds(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(PASCAL + "\ntenant: acme\n")
    environment = {"STELLA_CONFIG": str(file)}
    assert load({}, environment).tenant == "acme"
    assert isinstance(load_mirror_host(environment), MirrorHost)


def test_every_setting_is_described() -> None:
    names = [name for name, text in describe_mirror_host() if text]
    assert "CONCELIER__MIRROR__DOMAINS__N__MAXDOWNLOADREQUESTSPERHOUR" in names
    assert len(names) == len(set(names))
