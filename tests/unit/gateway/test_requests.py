"""Who asks, as far as a connection and proxies tell."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from stellaops.gateway.requests import has_form, made, place_of

PROXIES = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("connection", "header", "address"),
    [
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # nobody's word but a proxy's
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the first was said by the reader
        ("10.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
    ],
)
def test_an_address_is_the_last_that_no_proxy_of_ours_added(
    connection: str, header: str, address: str
) -> None:
    lines = [(b"host", b"a"), (b"x-forwarded-for", header.encode()), (b"x-forwarded-proto", b"https")]
    request = made("GET", b"/", lines, (connection, "http"), PROXIES)
    assert request.address == address
    assert request.scheme == ("https" if connection.startswith("10.") else "http")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"Mirror.Example.Org:8443", "mirror.example.org"), (b"mirror.example.org.", "mirror.example.org"),
        (b"[::1]:80", "[::1]"), (b"a b", ""), (b"a/b", ""), (b"", ""), (b"a:b", ""), (b"a\xff", ""),
    ],
)  # fmt: skip
def test_a_host_is_read_without_its_port(host: bytes, name: str) -> None:
    assert made("GET", b"/", [(b"host", host)], ("192.0.2.1", "http"), ()).host == name


@pytest.mark.parametrize(
    ("lines", "plain"),
    [
        ([(b"host", b"a")], True),
        ([(b"host", b"a"), (b"content-length", b"0")], True),
        ([(b"host", b"a"), (b"x", b"1"), (b"x", b"2")], True),
        ([(b"host", b"a"), (b"host", b"b")], False),
        ([(b"host", b"a"), (b"authorization", b"x"), (b"authorization", b"y")], False),
        ([(b"host", b"a"), (b"content-length", b"1")], False),
        ([(b"host", b"a"), (b"transfer-encoding", b"chunked")], False),
    ],
)
def test_what_could_be_read_in_two_ways_has_no_form(lines: list[tuple[bytes, bytes]], plain: bool) -> None:
    assert has_form(made("GET", b"/", lines, ("192.0.2.1", "http"), ()), lines) is plain


def test_an_ipv6_host_is_counted_by_its_network() -> None:
    assert place_of("2001:db8::1") == place_of("2001:db8::ffff") == "2001:db8::/64"
    assert place_of("2001:db8:1::1") != place_of("2001:db8::1")
    assert place_of("192.0.2.1") == "192.0.2.1"
