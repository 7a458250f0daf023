"""HTTP requests to a registry: every method, bodies from files, answers in pieces, all through the egress policy.

A registry that answers drop by drop does not hold anyone up: there is a longest time for an answer to begin, and a
least speed at which its body has to come.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError, SSLError

from stellaops.adapters.web.client import (
    USER_AGENT,
    CaFileUnusable,
    Ways,
    WebSettings,
    tls_context,
)
from stellaops.adapters.web.egress import in_words
from stellaops.core.egress import redacted, target_of
from stellaops.exports.errors import DistributionFailed

PIECE = 1 << 20
_SMALL = 8 << 20
_SENT_AT_ONCE = 256 << 10
_LEAST_BYTES, _LEAST_SECONDS = 64 << 10, 30.0
"""A body that brings less in this time counts as stuck."""


class Unanswered(Exception):
    """A connection that could not be made, or broke; the message is for people and holds no secret."""


class Answer:
    """An answer whose body is still to be read, as it lies there; header names are in lower case."""

    def __init__(self, response: BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def pieces(self) -> Iterator[bytes]:
        """The body.

        Raises:
            Unanswered: it ended too early, or comes too slowly.
        """
        since, got = time.monotonic(), 0
        try:
            while piece := self._response.read1(PIECE, decode_content=False):
                yield piece
                got += len(piece)
                now = time.monotonic()
                if got >= _LEAST_BYTES:
                    since, got = now, 0
                elif now - since > _LEAST_SECONDS:
                    raise Unanswered(f"{redacted(self.url)}: {got} bytes in {now - since:.0f} seconds")
        except (HTTPError, OSError) as error:
            raise Unanswered(f"{redacted(self.url)}: the answer was cut off: {in_words(error)}") from error

    def read(self, most: int = _SMALL) -> bytes:
        """The whole body, of which no more than `most` bytes are taken.

        Raises:
            Unanswered: see `pieces`; or it has more.
        """
        taken = bytearray()
        for piece in self.pieces():
            taken += piece
            if len(taken) > most:
                raise Unanswered(f"{redacted(self.url)}: the answer has more than {most} bytes")
        return bytes(taken)


class Transport:
    """Requests over kept connections. Safe for threads.

    Args:
        ca_file: certificates that are trusted beside the system's and those of the settings.
        answer_seconds: the longest time between the end of a request and the end of the answer's headers.
    """

    def __init__(
        self,
        web: WebSettings,
        *,
        ca_file: Path | None = None,
        connections: int = 8,
        answer_seconds: float = 120.0,
    ) -> None:
        tls = tls_context(web.ca_file)
        if ca_file is not None:
            try:
                tls.load_verify_locations(ca_file)
            except (OSError, ValueError) as error:
                raise CaFileUnusable(
                    f"{ca_file}: {getattr(error, 'strerror', None) or 'no certificates'}"
                ) from error
        options: dict[str, Any] = {
            "maxsize": connections,
            "num_pools": 8,
            "retries": False,
            "blocksize": _SENT_AT_ONCE,
        }
        self._web = web
        self._ways = Ways(web, tls, options)
        for pools in filter(None, (self._ways.direct, self._ways.through)):
            _make_patient(pools, answer_seconds)

    @contextmanager
    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None = None
    ) -> Iterator[Answer]:
        """One request; redirects are not followed.

        Args:
            body: a file is sent from where it stands, as many bytes as the header `content-length` says.

        Raises:
            Unanswered: no answer.
            DistributionFailed: no connection that can be trusted.
            StellaError: the policy refuses the address.
        """
        target = self._web.policy.admit(url, (target_of(url).host,))
        sent = {"user-agent": USER_AGENT, "accept-encoding": "identity", **headers}
        timeout = Timeout(connect=self._web.connect_seconds, read=self._web.read_seconds)
        try:
            response = self._ways.to(target).urlopen(
                method, url, headers=sent, body=body, redirect=False, retries=False, preload_content=False,
                timeout=timeout,
            )  # fmt: skip
        except SSLError as error:
            raise DistributionFailed(f"{redacted(url)}: {in_words(error)}", again=False) from error
        except (HTTPError, OSError) as error:
            raise Unanswered(f"{redacted(url)}: {in_words(error)}") from error
        try:
            yield Answer(response, url)
        finally:
            _done_with(response)


def _make_patient(manager: PoolManager, seconds: float) -> None:
    """Let connections wait no longer for the headers of an answer than some seconds."""
    pools: dict[str, Any] = {}
    known: Mapping[str, Any] = manager.pool_classes_by_scheme
    for scheme, pool in known.items():
        connection = type(
            "Patient", (pool.ConnectionCls,), {"getresponse": _watched(pool.ConnectionCls, seconds)}
        )
        pools[scheme] = type(f"Patient{pool.__name__}", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools


def _watched(kind: Any, seconds: float) -> Any:
    def getresponse(self: Any) -> Any:
        timer = threading.Timer(seconds, _cut, (self.sock,))
        timer.daemon = True
        timer.start()
        try:
            return kind.getresponse(self)
        finally:
            timer.cancel()

    return getresponse


def _cut(connection: socket.socket | None) -> None:
    with suppress(OSError):
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)


def _done_with(response: BaseHTTPResponse) -> None:
    # A connection can be used again when its body was read to the end; of a long rest it is cheaper to close it.
    if not response.closed:
        remaining = response.length_remaining
        if remaining is not None and remaining <= PIECE:
            with suppress(HTTPError, OSError):
                response.drain_conn()
        else:
            response.close()
    response.release_conn()
