"""A registry in memory with what no server that can be had here has: the referrers API of OCI 1.1, blobs that lie at
another address, tags that can be written only once. The rest of it is as little as the specification allows."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class SmallRegistry:
    """What it has.

    Attributes:
        manifests, tags, blobs: by digest, by name; one repository's are every repository's.
        immutable: a tag that names something is not given to another manifest.
        removing: the status of the answer to who removes a manifest; 202 where it is then gone.
        elsewhere: where answers send those who ask for a blob.
        basic: the header that it asks for.
        strangers: the headers `authorization` that came with requests to `/elsewhere/`.
    """

    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    immutable: bool = False
    removing: int = 202
    elsewhere: str = ""
    basic: str = ""
    strangers: list[str | None] = field(default_factory=list)
    host: str = ""

    def referrers(self, digest: str) -> bytes:
        """The index of what refers to a manifest."""
        found = []
        for each, (kind, content) in self.manifests.items():
            wire = json.loads(content)
            if wire.get("subject", {}).get("digest") == digest:
                entry = {"mediaType": kind, "digest": each, "size": len(content)}
                more = {name: wire[name] for name in ("artifactType", "annotations") if name in wire}
                found.append({**entry, **more})
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": found,
        }
        return json.dumps(index).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: SmallRegistry

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def _get(self) -> None:
        kind, name = self._place()
        if kind == "elsewhere":
            self.known.strangers.append(self.headers.get("authorization"))
            self._answer(200, self.known.blobs[name])
        elif not self._allowed():
            self._answer(401, headers={"WWW-Authenticate": 'Basic realm="small"'})
        elif kind == "referrers":
            index = "application/vnd.oci.image.index.v1+json"
            self._answer(200, self.known.referrers(name), {"Content-Type": index})
        elif kind == "manifests":
            digest = self.known.tags.get(name, name)
            media_type, content = self.known.manifests.get(digest, ("", b""))
            told = {"Content-Type": media_type, "Docker-Content-Digest": digest}
            self._answer(200 if content else 404, content, told)
        elif name not in self.known.blobs:
            self._answer(404)
        elif self.known.elsewhere:
            self._answer(307, headers={"Location": f"{self.known.elsewhere}/elsewhere/{name}"})
        else:
            self._answer(200, self.known.blobs[name])

    def do_POST(self) -> None:
        if not self._allowed():
            self._answer(401, headers={"WWW-Authenticate": 'Basic realm="small"'})
            return
        upload = secrets.token_hex(8)
        self.known.uploads[upload] = b""
        self._answer(202, headers={"Location": f"{self.path}{upload}?state=1"})

    def do_PATCH(self) -> None:
        _, name = self._place()
        self.known.uploads[name] += self._body()
        self._answer(202, headers={"Location": self.path})

    def do_PUT(self) -> None:
        kind, name = self._place()
        if kind == "blobs":
            content = self.known.uploads.pop(name) + self._body()
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            wanted = parse_qs(urlsplit(self.path).query)["digest"][0]
            self.known.blobs[digest] = content
            self._answer(201 if wanted == digest else 400, headers={"Docker-Content-Digest": digest})
            return
        content = self._body()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if self.known.immutable and self.known.tags.get(name, digest) != digest:
            self._answer(409)
            return
        self.known.manifests[digest] = self.headers["content-type"], content
        if not name.startswith("sha256:"):
            self.known.tags[name] = digest
        subject = json.loads(content).get("subject", {}).get("digest")
        told = {"Docker-Content-Digest": digest, **({"OCI-Subject": subject} if subject else {})}
        self._answer(201, headers=told)

    def do_DELETE(self) -> None:
        _, name = self._place()
        if self.known.removing != 202:
            self._answer(self.known.removing)
            return
        self.known.manifests.pop(name, None)
        for tag in [tag for tag, digest in self.known.tags.items() if digest == name]:
            del self.known.tags[tag]
        self._answer(202)

    def _place(self) -> tuple[str, str]:
        parts = urlsplit(self.path).path.split("/")
        if "uploads" in parts:
            return "blobs", parts[-1]
        return parts[-2], parts[-1]

    def _allowed(self) -> bool:
        return not self.known.basic or self.headers.get("authorization") == self.known.basic

    def _body(self) -> bytes:
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the request was cut off")
        return body

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        del words


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are what tests are about; everything else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving() -> Iterator[SmallRegistry]:
    """A registry on a free port, without TLS."""
    registry = SmallRegistry()
    handler = type("Handler", (_Handler,), {"known": registry})
    with _Server(("127.0.0.1", 0), handler) as server:
        registry.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
