"""Saved servers, tokens and secrets: who is meant, where it lies, and that others cannot read it."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import urllib3

from stellaops.adapters.settings import load as settings
from stellaops.adapters.web.client import WebSettings
from stellaops.client import meant
from stellaops.client.contexts import BadContextName, Context, Contexts
from stellaops.client.errors import (
    ContextNotFound,
    ContextsUnusable,
    LoginNeeded,
    LoginRefused,
    SecretFileUnusable,
    ServerRefused,
    ServerUnreachable,
)
from stellaops.client.opening import Login, address, connect, login_of
from stellaops.client.tokens import ClientTokens, TokenCache, secret_of
from stellaops.core.egress import EgressPolicy, Offline
from stellaops.core.errors import DependencyFailed, QuotaExceeded
from stellaops.core.exit_codes import exit_code
from tests.unit.cli.running import call
from tests.unit.client.serving import Asked, Said, serving

PLAIN = WebSettings(EgressPolicy())
SECRET = "open %/: sesame+é"  # noqa: S105


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "SERVER",
        "CONTEXT",
        "TOKEN",
        "TENANT",
        "CLIENT",
        "CLIENT_SECRET_FILE",
        "CONFIG",
        "DATA_DIR",
    ):
        monkeypatch.delenv(f"STELLA_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tokens(url: str, cache: TokenCache, now: list[float], secret: Any = lambda: SECRET) -> ClientTokens:
    pools = urllib3.PoolManager(retries=False)
    return ClientTokens(url, "ci", secret, pools=pools, cache=cache, now=lambda: now[0])


def issuing(asked: Asked) -> Said:
    number = len(ISSUED)
    ISSUED.append(asked)
    return Said(
        body=json.dumps({"access_token": f"t{number}", "token_type": "Bearer", "expires_in": 900}).encode()
    )


ISSUED: list[Asked] = []


def test_a_token_is_got_with_the_secret_kept_for_its_owner_alone_and_renewed_before_its_end(
    tmp_path: Path,
) -> None:
    ISSUED.clear()
    now = [1000.0]
    with serving(issuing) as server:
        first = tokens(server.url, TokenCache(tmp_path / "tokens"), now)
        assert [first.token(), first.token()] == ["t0", "t0"]
        (kept,) = (tmp_path / "tokens").iterdir()
        assert (mode(kept), mode(kept.parent)) == (0o600, 0o700)
        assert SECRET not in kept.read_text()

        def nobody() -> str:
            raise AssertionError("the secret is not needed")

        assert tokens(server.url, TokenCache(tmp_path / "tokens"), now, nobody).token() == "t0"
        now[0] += 900 - 59
        assert first.token() == "t1"
        assert first.token(renew=True) == "t2"
    (request, *_), body = ISSUED, ISSUED[0].body
    assert (request.path, body) == ("/authority/token", b"grant_type=client_credentials")
    pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert [unquote(part) for part in pair.split(":")] == ["ci", SECRET]


def test_a_token_file_that_others_can_read_or_that_is_none_is_not_used(tmp_path: Path) -> None:
    ISSUED.clear()
    cache = TokenCache(tmp_path)
    with serving(issuing) as server:
        cache.put(server.url, "ci", "kept", 9e9)
        (file,) = tmp_path.iterdir()
        assert tokens(server.url, cache, [0.0]).token() == "kept"
        file.chmod(0o644)
        assert tokens(server.url, cache, [0.0]).token() == "t0"
        file.write_text("{")
        assert tokens(server.url, cache, [0.0]).token() == "t1"


def test_a_place_that_cannot_be_written_only_costs_another_login(tmp_path: Path) -> None:
    ISSUED.clear()
    (tmp_path / "file").write_text("")
    with serving(issuing) as server:
        cache = TokenCache(tmp_path / "file" / "tokens")
        assert [tokens(server.url, cache, [0.0]).token() for _ in range(2)] == ["t0", "t1"]


@pytest.mark.parametrize(
    ("said", "error", "code"),
    [
        (Said(401, b'{"error": "invalid_client"}'), LoginRefused, 3),
        (Said(400, b'{"error": "invalid_scope", "error_description": "no"}'), LoginRefused, 3),
        (Said(429, b'{"error": "temporarily_unavailable"}'), QuotaExceeded, 10),
        (Said(503, b'{"error": "temporarily_unavailable"}'), DependencyFailed, 10),
        (Said(502, b"<html>"), DependencyFailed, 10),
        (Said(200, b"<html>"), DependencyFailed, 10),
    ],
)
def test_a_refused_login_says_so_and_never_shows_the_secret(
    tmp_path: Path, said: Said, error: type[Exception], code: int
) -> None:
    with serving(lambda asked: said) as server, pytest.raises(error) as raised:
        tokens(server.url, TokenCache(tmp_path), [0.0]).token()
    assert exit_code(raised.value) == code  # type: ignore[arg-type]
    assert "sesame" not in str(raised.value)
    with pytest.raises(ServerUnreachable):
        tokens("http://127.0.0.1:9", TokenCache(tmp_path), [0.0]).token()


def test_a_secret_is_read_only_from_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("abc\n")
    file.chmod(0o640)
    with pytest.raises(SecretFileUnusable, match="0640"):
        secret_of(file)
    file.chmod(0o600)
    assert secret_of(file) == "abc"
    for content in (b"", b"\n", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(SecretFileUnusable):
            secret_of(file)
    with pytest.raises(SecretFileUnusable):
        secret_of(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["http://example.org", "ftp://x", "example.org", "https://u:p@example.org", "https://x/?a=1", ""]
)
def test_tokens_go_to_no_server_without_tls_and_to_nothing_that_is_no_server(text: str) -> None:
    with pytest.raises(ServerRefused) as raised:
        address(text, PLAIN)
    assert "u:p" not in str(raised.value)


def test_a_server_of_this_machine_or_one_that_is_allowed_may_do_without_tls() -> None:
    assert address("http://127.0.0.1:8080/", PLAIN) == "http://127.0.0.1:8080"
    assert address("http://[::1]:8080", PLAIN) == "http://[::1]:8080"
    allowed = WebSettings(EgressPolicy(plain_hosts=frozenset({"stella.example.org"})))
    assert address("http://stella.example.org", allowed) == "http://stella.example.org"
    with pytest.raises(Offline):
        address("https://stella.example.org", WebSettings(EgressPolicy(offline=True)))


def test_who_nobody_logged_in_is_told_how_to() -> None:
    found = connect(Context("https://stella.example.org"), Login(), PLAIN, TokenCache(Path("/nonexistent")))
    with pytest.raises(LoginNeeded, match=r"stella\.example\.org") as raised:
        found.tokens.token()
    assert "stella authority login" in raised.value.advice


def test_a_given_token_goes_before_clients_and_a_client_of_the_settings_before_the_saved_one(
    tmp_path: Path,
) -> None:
    saved = Context("https://x.example", client="saved", secret_file=str(tmp_path / "saved"))
    assert login_of(saved, "tok", None, None).token == "tok"  # noqa: S105
    assert login_of(saved, None, None, None).client == "saved"
    other = login_of(saved, None, "ci", None)
    assert (other.client, other.secret) == ("ci", None)


def test_servers_are_kept_in_a_file_of_their_owner(tmp_path: Path) -> None:
    contexts = Contexts(tmp_path / "deep" / "contexts.yaml")
    assert (contexts.current, dict(contexts.all())) == (None, {})
    prod = Context("https://prod.example", "acme", "ci", "/run/secrets/ci")
    contexts.save("prod", prod, use=True)
    contexts.save("lab", Context("https://lab.example"), use=False)
    assert (contexts.current, contexts.get("prod")) == ("prod", prod)
    assert mode(tmp_path / "deep" / "contexts.yaml") == 0o600
    contexts.use("lab")
    contexts.remove("lab")
    assert contexts.current is None
    contexts.use("local")
    with pytest.raises(ContextNotFound):
        contexts.use("lab")
    for name in ("local", "", "a/b", "..", "x" * 64):
        with pytest.raises(BadContextName):
            contexts.save(name, prod, use=False)
    for text in ("contexts: 3", "{", "contexts: {a: {}}", "mistake: 1"):
        (tmp_path / "deep" / "contexts.yaml").write_text(text)
        with pytest.raises(ContextsUnusable):
            contexts.all()


def which(
    monkeypatch: pytest.MonkeyPatch, address: str | None, name: str | None, home: bool, **env: str
) -> str | None:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    found = meant.server(settings.load({}), address, name, at_home=home)
    return None if found is None else found.context.server


def test_which_server_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = which
    assert ask(monkeypatch, None, None, False) is None
    meant.contexts().save("prod", Context("https://prod.example", client="ci"), use=True)
    meant.contexts().save("lab", Context("https://lab.example"), use=False)
    assert ask(monkeypatch, None, None, False) == "https://prod.example"
    assert ask(monkeypatch, None, "lab", False) == "https://lab.example"
    assert ask(monkeypatch, None, "local", False) is None
    assert ask(monkeypatch, None, None, True) is None
    assert ask(monkeypatch, "https://x.example", None, True) == "https://x.example"
    found = meant.server(settings.load({}), "https://prod.example/")
    assert found is not None
    assert (found.name, found.context.client) == ("prod", "ci")
    assert ask(monkeypatch, None, None, False, STELLA_CONTEXT="lab") == "https://lab.example"
    assert ask(monkeypatch, None, None, False, STELLA_CONTEXT="local") is None
    assert ask(monkeypatch, None, None, False, STELLA_SERVER="https://env.example") == "https://env.example"
    assert ask(monkeypatch, None, "lab", False) == "https://lab.example"
    assert ask(monkeypatch, None, None, True) is None


def test_the_tenant_is_the_command_lines_else_the_saved_one_else_the_tokens_first() -> None:
    saved = meant.Meant(Context("https://x.example", tenant="acme"))
    assert meant.connection(saved, settings.load({}), PLAIN).tenant == "acme"
    assert meant.connection(saved, settings.load({"tenant": "other"}), PLAIN).tenant == "other"
    assert (
        meant.connection(meant.Meant(Context("https://x.example")), settings.load({}), PLAIN).tenant is None
    )


# ---- the commands


def test_a_token_of_the_environment_is_used_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STELLA_TOKEN", "top-secret-token")
    with serving(lambda asked: Said(body=b'{"sequence": 7, "sources": []}')) as server:
        answer = call("concelier", "status", "--server", server.url, "--format", "json")
        assert (answer.code, answer.value) == (0, {"sequence": 7, "sources": []})
    assert server.asked[0].headers["authorization"] == "Bearer top-secret-token"
    shown = call("config", "show", "--format", "json")
    assert "top-secret-token" not in shown.out
    assert shown.value["settings"]["token"]["value"] == "***"


def test_logging_in_keeps_the_server_and_later_commands_need_nothing_more(tmp_path: Path) -> None:
    ISSUED.clear()
    file = tmp_path / "ci.secret"
    file.write_text(SECRET)
    file.chmod(0o600)

    def answer(asked: Asked) -> Said:
        return issuing(asked) if asked.path == "/authority/token" else Said(body=b'{"items": []}')

    with serving(answer) as server:
        done = call(
            "authority", "login", "--server", server.url, "--client", "ci", "--secret-file", str(file),
            "--save-as", "here", "--tenant", "acme",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert call("export", "run", "list", "--format", "json").value == []
        assert [each.path for each in server.asked] == ["/authority/token", "/api/export/runs"]
        assert server.asked[-1].headers["authorization"] == "Bearer t0"
        assert server.asked[-1].headers["x-stella-tenant"] == "acme"
        (listed,) = call("config", "context", "list", "--format", "json").value
        assert listed == {"current": True, "context": "here", "server": server.url, "tenant": "acme", "client": "ci",
                          "secretFile": str(file)}  # fmt: skip
        left = call("authority", "logout", "--format", "table")
        assert left.code == 0
        assert f"logs in again by the secret in {file}" in left.err
        assert call("export", "run", "list").code == 0
        assert len(ISSUED) == 2
        file.unlink()
        left = call("authority", "logout", "--format", "json")
        assert (left.value["loggedIn"], left.value["secretFile"], left.err) == (False, None, "")
    assert call("config", "context", "remove", "here").code == 0
    assert call("config", "context", "list", "--format", "json").value == []


def test_logging_in_without_a_name_lets_later_commands_name_the_address_alone(tmp_path: Path) -> None:
    file = tmp_path / "ci.secret"
    file.write_text(SECRET)
    file.chmod(0o600)

    def answer(asked: Asked) -> Said:
        return issuing(asked) if asked.path == "/authority/token" else Said(body=b'{"items": []}')

    with serving(answer) as server:
        words = ("--server", server.url, "--client", "ci", "--secret-file", str(file))
        done = call("authority", "login", *words, "--format", "json")
        assert done.code == 0, done.err
        name = server.url.removeprefix("http://").replace(":", "-")
        assert done.value == {"server": server.url, "client": "ci", "context": name}
        assert call("export", "run", "list", "--server", server.url, "--format", "json").value == []
        assert call("authority", "login", *words).code == 0  # again: the same name, not another one
        (listed,) = call("config", "context", "list", "--format", "json").value
        assert (listed["context"], listed["current"], listed["client"]) == (name, False, "ci")
        assert call("authority", "logout", "--server", server.url).code == 0
    assert call("config", "context", "remove", name).code == 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://stella.example.org", "stella.example.org"),
        ("https://stella.example.org:443/base", "stella.example.org"),
        ("http://127.0.0.1:8080", "127.0.0.1-8080"),
        ("http://[::1]:8080", "1-8080"),
        ("https://local", "local-2"),
        ("https://taken.example.org", "taken.example.org-2"),
        (f"https://{'a' * 63}.{'b' * 63}.org:8443", "a" * 53 + "-8443"),
    ],
)
def test_a_server_without_a_name_is_saved_by_its_host(address: str, name: str) -> None:
    saved = {"taken.example.org": Context("https://taken.example.org/another")}
    assert meant.host_name(address, saved) == name
    assert meant.host_name(address, saved | {name: Context(address)}) == name


def test_a_secret_is_never_taken_from_the_command_line_or_from_a_pipe() -> None:
    answer = call("authority", "login", "--server", "http://127.0.0.1:9", "--client", "ci")
    assert answer.code == 2
    assert "--secret-file" in answer.err
    assert not any("--secret " in line for line in call("authority", "login", "--help").out.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("db", "status"),
        ("doctor",),
        ("authority", "key", "passwd", "--no-passphrase"),
        ("excititor", "export", "--kind", "openvex", "--to", "x"),
    ],
    ids=" ".join,
)
def test_what_works_on_a_data_directory_alone_says_so(words: tuple[str, ...]) -> None:
    answer = call(*words, "--server", "http://127.0.0.1:9")
    assert answer.code == 2
    assert answer.err.startswith("error ERR_NOT_OVER_SERVER: `stella ")
    assert "--context local" in answer.err


def test_two_servers_at_once_are_a_mistake() -> None:
    assert call("export", "run", "list", "--server", "https://x.example", "--context", "y").code == 2
    assert call("export", "run", "list", "--context", "nobody").code == 4
