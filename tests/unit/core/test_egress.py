"""The egress policy: schemes, hosts and addresses, in every spelling that leads inside."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.core.egress import (
    AddressRefused,
    BadNetwork,
    BadUrl,
    EgressPolicy,
    HostRefused,
    Offline,
    SchemeRefused,
    networks,
    redacted,
    target_of,
)
from stellaops.core.errors import StellaError

STRICT = EgressPolicy()
HOSTS = ("example.org", "*.cdn.example.org", "mirror.example.org:8443")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a",
        "https://EXAMPLE.org./a",
        "https://a.cdn.example.org/",
        "https://mirror.example.org:8443/x",
    ],
)
def test_a_host_of_the_source_is_admitted_in_any_spelling(url: str) -> None:
    assert STRICT.admit(url, HOSTS).host in {"example.org", "a.cdn.example.org", "mirror.example.org"}


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.org/",
        "https://example.org.evil.org/",
        "https://evilexample.org/",
        "https://cdn.example.org/",
        "https://mirror.example.org/",
        "https://mirror.example.org:9443/",
        "https://evil.org#@example.org/",
    ],
)
def test_another_host_is_refused(url: str) -> None:
    with pytest.raises(HostRefused):
        STRICT.admit(url, HOSTS)


@pytest.mark.parametrize(
    "url", ["http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/"]
)
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(SchemeRefused):
        STRICT.admit(url, HOSTS)


def test_plain_http_is_for_the_hosts_that_the_settings_name() -> None:
    policy = EgressPolicy(plain_hosts=frozenset(("example.org",)))
    assert policy.admit("http://example.org/", HOSTS).port == 80
    with pytest.raises(SchemeRefused):
        policy.admit("http://a.cdn.example.org/", HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "https://somebody:secret@example.org/",
        "https://example.org\\@evil.org/",
        "https://exam\nple.org/",
        "https://example.org:99999/",
        "https:///path",
        "https://[::1/",
        "example.org/a",
    ],
)
def test_a_url_of_no_clean_form_is_refused_and_its_secrets_are_not_shown(url: str) -> None:
    with pytest.raises((BadUrl, SchemeRefused)) as refused:
        STRICT.admit(url, HOSTS)
    assert "secret" not in refused.value.what


INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.0.1", "0.0.0.0",  # noqa: S104 - refused, not bound to
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused_by_name_and_by_number(address: str) -> None:
    with pytest.raises(AddressRefused):
        STRICT.admit_address(ip_address(address), "example.org")
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        STRICT.admit(f"https://{literal}/", (literal,))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_a_public_address_is_admitted(address: str) -> None:
    STRICT.admit_address(ip_address(address), "example.org")


def test_networks_that_the_settings_allow_are_admitted_and_no_others() -> None:
    policy = EgressPolicy(networks(["10.1.0.0/16", " fd00:1::/64"]))
    policy.admit_address(ip_address("10.1.2.3"), "mirror")
    policy.admit_address(ip_address("fd00:1::5"), "mirror")
    for other in ("10.2.0.1", "127.0.0.1", "fd00:2::1", "169.254.169.254"):
        with pytest.raises(AddressRefused):
            policy.admit_address(ip_address(other), "mirror")


def test_what_is_no_network_is_told() -> None:
    with pytest.raises(BadNetwork, match=r"10\.1"):
        networks(["10.1.2.3/8"])


def test_offline_means_offline() -> None:
    with pytest.raises(Offline):
        EgressPolicy(offline=True).admit("https://example.org/", HOSTS)


@given(st.ip_addresses())
def test_whatever_is_not_global_is_refused(address: object) -> None:
    inside = ip_address(str(address))
    if not inside.is_global or inside.is_multicast:
        with pytest.raises(AddressRefused):
            STRICT.admit_address(inside, "example.org")
        EgressPolicy((ip_network("0.0.0.0/0"), ip_network("::/0"))).admit_address(inside, "example.org")


@given(st.text(max_size=60))
def test_any_text_is_admitted_or_refused_with_an_error_of_ours(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.org{text}", f"https://{text}@example.org/"):
        try:
            target = STRICT.admit(url, HOSTS)
        except StellaError:
            continue
        assert target.host == "example.org" or target.host.endswith(".example.org")


def test_a_shown_url_has_neither_credentials_nor_query() -> None:
    assert redacted("https://a:b@example.org/x?token=secret#f") == "https://example.org/x"
    assert target_of("https://example.org:8443/x").origin == "https://example.org:8443"
