"""The HTTP client under the egress policy: names, redirects, proxies, certificates, credentials."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stellaops.adapters.web.client import CaFileUnusable, WebClient, WebSettings
from stellaops.core.egress import AddressRefused, EgressPolicy, HostRefused, SchemeRefused
from stellaops.core.errors import StellaError
from stellaops.ingest.pull_errors import ConnectionFailed, StatusUnexpected, TlsFailed
from tests.support.web import Answer, Upstream, serving

PLAIN = frozenset(("127.0.0.1", "mirror.test", "inner.test"))
LOOPBACK = EgressPolicy((ip_network("127.0.0.0/8"),), PLAIN)
STRICT = EgressPolicy(plain_hosts=PLAIN)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving({"/a": b"content"}) as server:
        yield server


def read(client: WebClient, url: str, hosts: tuple[str, ...]) -> bytes:
    with client.get(url, hosts=hosts, headers={}) as reply:
        assert reply.status == 200
        return b"".join(reply.pieces())


def port(upstream: Upstream) -> str:
    return upstream.url.rstrip("/").rpartition(":")[2]


def test_a_name_that_leads_inside_is_refused_before_a_connection(upstream: Upstream) -> None:
    client = WebClient(WebSettings(STRICT), look_up=lambda host, port: ["127.0.0.1"])
    with pytest.raises(AddressRefused, match=r"mirror\.test"):
        read(client, f"http://mirror.test:{port(upstream)}/a", ("mirror.test",))
    assert upstream.asked() == 0


def test_the_name_is_looked_up_once_and_that_address_is_connected_to(upstream: Upstream) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    client = WebClient(WebSettings(LOOPBACK), look_up=lambda host, port: next(answers))
    assert read(client, f"http://mirror.test:{port(upstream)}/a", ("mirror.test",)) == b"content"
    assert next(answers) == ["169.254.169.254"]


def test_of_several_addresses_only_admitted_ones_are_tried(upstream: Upstream) -> None:
    addresses = ["169.254.169.254", "10.0.0.1", "127.0.0.1"]
    client = WebClient(WebSettings(LOOPBACK), look_up=lambda host, port: addresses)
    assert read(client, f"http://mirror.test:{port(upstream)}/a", ("mirror.test",)) == b"content"


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://169.254.169.254/latest/meta-data/", SchemeRefused),
        ("https://169.254.169.254/latest/meta-data/", HostRefused),
        ("http://127.0.0.1:1/", HostRefused),
        ("https://evil.test/", HostRefused),
        ("file:///etc/passwd", SchemeRefused),
        ("gopher://mirror.test/", SchemeRefused),
        ("http://inner.test/", AddressRefused),
    ],
)
def test_a_redirect_goes_through_the_policy_again(
    upstream: Upstream, location: str, error: type[StellaError]
) -> None:
    look_up = {"mirror.test": ["127.0.0.1"], "inner.test": ["10.0.0.7"]}
    client = WebClient(WebSettings(LOOPBACK), look_up=lambda host, port: look_up[host])
    upstream.misbehave = lambda request: Answer(302, {"Location": location})
    with pytest.raises(error):
        read(client, f"http://mirror.test:{port(upstream)}/a", ("mirror.test", "inner.test"))
    assert upstream.asked() == 1


def test_a_redirect_to_an_address_inside_is_refused_though_the_host_is_named(upstream: Upstream) -> None:
    client = WebClient(WebSettings(EgressPolicy((ip_network("127.0.0.1/32"),), PLAIN | {"169.254.169.254"})))
    upstream.misbehave = lambda request: Answer(302, {"Location": "http://169.254.169.254/"})
    with pytest.raises(AddressRefused):
        read(client, f"{upstream.url}a", ("127.0.0.1", "169.254.169.254"))


def test_redirects_have_an_end(upstream: Upstream) -> None:
    upstream.misbehave = lambda request: Answer(302, {"Location": "/a"})
    with pytest.raises(StatusUnexpected, match="more than 10"):
        read(WebClient(WebSettings(LOOPBACK)), f"{upstream.url}a", ("127.0.0.1",))
    assert upstream.asked() == 11


def test_credentials_are_not_carried_to_another_host(upstream: Upstream) -> None:
    with serving({"/a": b"content"}) as other:
        upstream.misbehave = lambda request: Answer(302, {"Location": f"{other.url}a"})
        client = WebClient(WebSettings(LOOPBACK))
        with client.get(
            f"{upstream.url}a",
            hosts=("127.0.0.1",),
            headers={},
            sign=lambda url, headers: {"authorization": "Bearer x"},
            signed_origin=upstream.url.rstrip("/"),
        ) as reply:
            assert reply.status == 200
        assert upstream.requests[0].headers["authorization"] == "Bearer x"
        assert "authorization" not in other.requests[0].headers


def test_a_connection_is_used_again(upstream: Upstream) -> None:
    made = []
    client = WebClient(WebSettings(LOOPBACK), look_up=lambda host, port: made.append(host) or ["127.0.0.1"])  # type: ignore[func-returns-value, redundant-expr]
    for _ in range(5):
        assert read(client, f"http://mirror.test:{port(upstream)}/a", ("mirror.test",)) == b"content"
    assert made == ["mirror.test"]


def test_nobody_listening_is_a_failure_worth_retrying() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1"):
        read(WebClient(WebSettings(LOOPBACK)), f"http://127.0.0.1:{free}/", ("127.0.0.1",))


# ---- proxy


def test_a_proxy_is_used_but_for_hosts_that_are_left_out_of_it(upstream: Upstream) -> None:
    with serving() as proxy:
        proxy.misbehave = lambda request: Answer(200, {}, b"by proxy")
        where = proxy.url.replace("http://", "http://somebody:proxy-secret@")
        settings = WebSettings(LOOPBACK, where, no_proxy=("127.0.0.0/8", ".other.test"))
        client = WebClient(settings, look_up=lambda host, port: ["127.0.0.1"])
        assert read(client, "http://mirror.test/a", ("mirror.test",)) == b"by proxy"
        assert proxy.requests[0].path == "http://mirror.test/a"
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert read(client, f"{upstream.url}a", ("127.0.0.1",)) == b"content"
        assert "secret" not in repr(settings)
        # The proxy resolves names itself; addresses by number are still refused here.
        with pytest.raises(AddressRefused):
            read(client, "https://10.0.0.1/", ("10.0.0.1",))


# ---- TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of its own authority: its URL, and the authority's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "secure.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("secure.test"), x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority = tmp_path / "authority.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    file.write_bytes(private + authority.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_answer, args=(listener, context), daemon=True)
    thread.start()
    yield f"https://secure.test:{listener.getsockname()[1]}/", authority
    listener.close()


def _answer(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.recv(4096)
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure")
        except OSError:
            continue


def test_the_name_is_checked_although_an_address_is_connected_to(secure: tuple[str, Path]) -> None:
    url, authority = secure
    client = WebClient(WebSettings(LOOPBACK, ca_file=authority), look_up=lambda host, port: ["127.0.0.1"])
    assert read(client, url, ("secure.test",)) == b"secure"
    other = url.replace("secure.test", "mirror.test")
    with pytest.raises(TlsFailed, match=r"mirror\.test"):
        read(client, other, ("mirror.test",))


def test_an_authority_that_is_not_trusted_is_refused(secure: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = secure
    with pytest.raises(TlsFailed):
        read(
            WebClient(WebSettings(LOOPBACK), look_up=lambda host, port: ["127.0.0.1"]), url, ("secure.test",)
        )
    (tmp_path / "none.pem").write_text("no certificate")
    for file in ("none.pem", "missing.pem"):
        with pytest.raises(CaFileUnusable, match=file):
            WebClient(WebSettings(LOOPBACK, ca_file=tmp_path / file))
