"""The configuration for nginx: what settings become in it, and what cannot become one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from stellaops.adapters.settings.mirrors import Domain, MirrorHost, read_mirror_host
from stellaops.cli.mirror.gateway import render_gateway
from stellaops.gateway.nginx.rendering import BadProxySettings, Lua, Proxy, render

PROXY = Proxy(
    "http://127.0.0.1:8080", "http://concelier:8080", "http://excititor", "0.0.0.0:443", Path("/c"), Path("/run/n")
)  # fmt: skip


def _host(*domains: Domain) -> MirrorHost:
    return replace(read_mirror_host({}, {}), domains={each.id: each for each in domains})


def _secured(name: str, *hosts: str, chain: str = "/tls/a.crt") -> Domain:
    return Domain(name, name, hosts=hosts, tls_certificate_file=Path(chain), tls_key_file=Path("/tls/a.key"))


def test_each_domain_has_a_server_with_its_certificate_and_other_names_are_rejected() -> None:
    text = render(
        _host(_secured("a", "a.example.org"), _secured("b", "b.example.org", chain="/tls/b.crt")), PROXY
    )
    assert text.count("ssl_certificate /tls/") == 2
    assert "server_name a.example.org;" in text
    assert "ssl_reject_handshake on;" in text
    assert "server excititor:80;" in text


def test_the_audience_is_in_the_key_and_the_credentials_are_not() -> None:
    text = render(_host(Domain("a", "A")), PROXY)
    keys = [line for line in text.splitlines() if "proxy_cache_key" in line]
    assert "$stella_audience" in keys[0]
    assert "authorization" not in "".join(keys).lower()
    # What the gateway says is kept for those alone who show nothing.
    assert text.count("proxy_no_cache $http_authorization") == len(keys) - 1
    assert text.count("auth_request /_authorize;") == text.count("proxy_pass http://") - 1


def test_the_port_is_that_of_https_only_where_there_are_certificates() -> None:
    unsaid = replace(PROXY, listen=None)
    assert "listen 0.0.0.0:80 default_server;" in render(_host(Domain("a", "A")), unsaid)
    assert "listen 0.0.0.0:443 ssl;" in render(_host(_secured("a", "a.example.org")), unsaid)


@pytest.mark.parametrize(
    ("domains", "changes"),
    [
        ([], {}),
        ([_secured("a")], {}),
        ([_secured("a", "a.example.org"), Domain("b", "B")], {}),
        ([Domain("a", "A")], {"concelier": "https://concelier"}),
        ([_secured("a", "a.example.org")], {"gateway": "https://127.0.0.1:8080"}),
        ([Domain("a", "A")], {"lua": Lua("/a b")}),
        ([Domain("a", "A")], {"lua": Lua(""), "gateway": "http://127.0.0.1"}),
        ([Domain("a", "A")], {"lua": Lua(resolver="1.2.3.4;")}),
        ([Domain("a", "A")], {"lua": Lua(), "gateway": "http://gateway:8080"}),
        ([Domain("a", "A")], {"gateway": "http://x/path"}),
        ([Domain("a", "A")], {"cache": Path("/a b")}),
        ([Domain("a", "A")], {"place": Path("run")}),
        ([_secured("a", "a.example.org", chain="/a;b")], {}),
    ],
)
def test_what_nginx_would_read_otherwise_is_refused(
    domains: list[Domain], changes: dict[str, object]
) -> None:
    with pytest.raises(BadProxySettings):
        render(_host(*domains), replace(PROXY, **changes))  # type: ignore[arg-type]


def test_with_lua_nobody_is_asked_about_each_request() -> None:
    text = render(_host(Domain("a", "A")), replace(PROXY, lua=Lua()))
    assert "load_module modules/ngx_http_lua_module.so;" in text
    assert "auth_request" not in text
    assert text.count('require("stella_door").enter()') == text.count("proxy_pass http://") - 1
    assert 'start("127.0.0.1", 8080)' in text
    assert "resolver" not in text


def test_lua_may_be_built_in_and_look_up_names() -> None:
    named = replace(PROXY, gateway="http://gateway:8080", lua=Lua(None, "127.0.0.11"))
    text = render(_host(Domain("a", "A")), named)
    assert "load_module" not in text
    assert "resolver 127.0.0.11;" in text
    assert 'start("gateway", 8080)' in text


def test_proxies_before_nginx_are_those_that_the_gateway_believes() -> None:
    host = replace(
        _host(Domain("a", "A")), trusted_proxies=(ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))
    )
    text = render(host, PROXY)
    assert "set_real_ip_from 10.1.0.0/16;" in text
    assert "set_real_ip_from 2001:db8::/32;" in text
    assert "real_ip_header" not in render(_host(Domain("a", "A")), PROXY)


def test_whoever_renders_tls_is_told_that_the_processes_behind_it_have_to_be_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    monkeypatch.setenv("STELLA_CONFIG", str(file))
    domain = "Id: a, Hosts: [a.example.org]"
    file.write_text(f"Gateway: {{Domains: [{{{domain}, TlsCertificateFile: /a.crt, TlsKeyFile: /a.key}}]}}")
    asked = CliRunner().invoke(render_gateway, ["nginx"])
    assert "ssl_certificate /a.crt;" in asked.stdout
    assert "--plain" in asked.stderr
    assert "--plain" not in asked.stdout
    file.write_text(f"Gateway: {{Domains: [{{{domain}}}]}}")
    assert CliRunner().invoke(render_gateway, ["nginx"]).stderr == ""


@pytest.mark.parametrize("options", [("--modules", "x"), ("--resolver", "127.0.0.11")])
def test_options_of_lua_alone_are_not_taken_without_it(options: tuple[str, str]) -> None:
    asked = CliRunner().invoke(render_gateway, ["nginx", *options])
    assert asked.exit_code == 2
    assert "--lua" in asked.output
