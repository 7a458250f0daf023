"""What a client of registries makes of logins, challenges and answers."""

from __future__ import annotations

import base64
import io
import json
import socket
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.adapters.oci import cosign
from stellaops.adapters.oci.authorizing import Challenge, challenges
from stellaops.adapters.oci.errors import LoginsUnusable, RegistryRefused
from stellaops.adapters.oci.logins import read_login
from stellaops.adapters.oci.registry import Taken, refusal, retry_after
from stellaops.adapters.oci.transport import Transport, Unanswered
from stellaops.adapters.web.client import WebSettings
from stellaops.bundles.oci import manifests
from stellaops.bundles.oci.manifests import Descriptor
from stellaops.bundles.oci.names import repository
from stellaops.core import digests
from stellaops.core.egress import EgressPolicy
from stellaops.core.errors import NotPermitted
from stellaops.exports.errors import DistributionFailed
from stellaops.signing import ecdsa_p256
from tests.support.registry import LOCAL

HERE = repository("registry.example.org:5000/stella/acme/trivy-db")
SUBJECT = manifests.blob(b"manifest", manifests.MANIFEST)


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def login(folder: Path, **config: Any) -> Any:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return read_login(folder / "config.json", HERE)


@pytest.mark.parametrize(
    "key",
    [
        "registry.example.org:5000",
        "https://registry.example.org:5000",
        "https://registry.example.org:5000/v2/",
    ],
)
def test_an_entry_is_found_however_tools_write_the_registry(key: str, tmp_path: Path) -> None:
    found = login(tmp_path, auths={key: {"auth": packed("pusher:a:b")}})
    assert (found.user, found.password) == ("pusher", "a:b")
    assert "a:b" not in repr(found)


def test_the_longest_path_that_fits_counts(tmp_path: Path) -> None:
    host = HERE.registry
    auths = {
        host: {"auth": packed("wide:1")},
        f"{host}/stella/acme": {"auth": packed("near:2")},
        f"{host}/stella/ac": {"auth": packed("other:3")},
        "other.example.org": {"auth": packed("far:4")},
    }
    assert login(tmp_path, auths=auths).user == "near"


def test_dockers_own_registry_is_found_under_its_old_name(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": packed("hub:1")}}}), encoding="utf-8"
    )
    found = read_login(tmp_path / "c.json", repository("docker.io/stella/acme"))
    assert found is not None
    assert found.user == "hub"


@given(st.binary(max_size=80))
def test_any_file_is_logins_or_an_error_that_shows_nothing_of_it(content: bytes) -> None:

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_bytes(content)
        with pytest.raises(LoginsUnusable) as refused:
            read_login(file, HERE)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        (
            'Bearer realm="https://a.example/token",service="s",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a.example/token", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        ('Basic realm="x", Bearer realm="https://y", service=z', [
            ("basic", {"realm": "x"}), ("bearer", {"realm": "https://y", "service": "z"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert challenges(header) == tuple(Challenge(*each) for each in found)


@given(st.text(max_size=60))
def test_any_challenge_can_be_read(header: str) -> None:
    challenges(header)


def answer(status: int, **headers: str) -> Taken:
    return Taken(
        "https://r.example/v2/a?x=secret", status, {k.replace("_", "-"): v for k, v in headers.items()}, b""
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "Sun, 01 Mar 2026 12:00:30 GMT", "date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 30.0),
        ({"retry_after": "Sun, 01 Mar 2026 12:00:00 GMT", "date": "Sun, 01 Mar 2026 12:00:30 GMT"}, 0.0),
        ({"retry_after": "129.163µs"}, None),
        ({}, None),
    ],
)
def test_a_pause_is_read_in_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(answer(429, **headers)) == seconds


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (429, True), (404, True), (413, False), (409, False)]
)
def test_what_may_pass_is_tried_again_and_what_lasts_is_not(status: int, again: bool) -> None:
    found = refusal(answer(status))
    assert isinstance(found, DistributionFailed)
    assert found.again is again
    assert "secret" not in found.what


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_for_somebody_to_act_on(status: int) -> None:
    assert isinstance(refusal(answer(status)), RegistryRefused)


def signed() -> tuple[ecdsa_p256.PrivateKey, Descriptor, bytes]:
    key = ecdsa_p256.generate()
    made = cosign.sign(HERE, SUBJECT.digest, key)
    return key, *made.blobs[0]


def test_a_signature_holds_for_its_manifest_and_its_key_alone() -> None:
    key, layer, message = signed()
    keys = [ecdsa_p256.load_public_key(key.public_key_pem())]
    assert cosign.holds(layer, message, SUBJECT.digest, keys)
    assert not cosign.holds(layer, message, digests.sha256(b"another"), keys)
    assert not cosign.holds(layer, message, SUBJECT.digest, [])
    other = ecdsa_p256.load_public_key(ecdsa_p256.generate().public_key_pem())
    assert not cosign.holds(layer, message, SUBJECT.digest, [other])


def test_any_bit_of_what_is_signed_counts() -> None:
    key, layer, message = signed()
    keys = [ecdsa_p256.load_public_key(key.public_key_pem())]
    for place in range(len(message)):
        changed = bytearray(message)
        changed[place] ^= 1
        assert not cosign.holds(layer, bytes(changed), SUBJECT.digest, keys)


def test_signatures_of_others_are_kept() -> None:
    _, theirs, _ = signed()
    made = cosign.sign(HERE, SUBJECT.digest, ecdsa_p256.generate(), [theirs])
    layers = cosign.signatures(manifests.parse(made.manifest.content))
    assert layers[0] == theirs
    assert len(layers) == 2


def test_an_answer_whose_head_comes_drop_by_drop_is_given_up() -> None:
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        caller, _ = listening.accept()
        with caller, suppress(OSError):
            for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
                caller.sendall(bytes((letter,)))
                if ended.wait(0.1):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v2/"
        began = time.monotonic()
        with (
            pytest.raises(Unanswered),
            Transport(WebSettings(LOCAL), answer_seconds=0.5).send("GET", url, {}),
        ):
            pytest.fail("there was an answer")
        ended.set()
        thread.join()
    assert 0.4 < time.monotonic() - began < 5


def test_a_failure_to_connect_is_told_without_the_librarys_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v2/"
    with pytest.raises(Unanswered) as failed, Transport(WebSettings(LOCAL)).send("GET", url, {}):
        pytest.fail("there was an answer")
    assert str(failed.value).startswith(f"{url}: no connection to 127.0.0.1")


def test_the_policy_has_its_say_on_every_address() -> None:
    closed = Transport(WebSettings(EgressPolicy()))
    for url in ("http://registry.example.org/v2/", "https://127.0.0.1/v2/", "https://169.254.169.254/v2/"):
        with pytest.raises(NotPermitted), closed.send("GET", url, {}):
            pytest.fail("there was an answer")


def test_a_registry_is_reached_through_the_proxy_of_the_settings() -> None:
    came: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            came.append(f"{self.path} {self.rfile.read(int(self.headers['content-length'])).decode()}")
            self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            del words

    policy = EgressPolicy(plain_hosts=frozenset({"registry.example.org"}))
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        web = WebSettings(policy, proxy=f"http://127.0.0.1:{server.server_address[1]}")
        url = "http://registry.example.org/v2/a/manifests/latest"
        with Transport(web).send("PUT", url, {"content-length": "5"}, io.BytesIO(b"hello")) as answer:
            assert answer.status == 201
        server.shutdown()
    assert came == [f"{url} hello"]
