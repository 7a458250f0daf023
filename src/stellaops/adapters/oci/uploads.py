"""Bring a blob to a registry in parts, and go on where a broken connection left off.

The registry says after each part, and when it is asked, how many bytes it has. What it has forgotten is sent again from
the start. The digest is checked by the registry at the end, over all that it got.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from stellaops.adapters.oci.registry import RegistryClient, Taken, refusal, retry_after
from stellaops.adapters.oci.transport import Unanswered
from stellaops.bundles.oci.manifests import Descriptor
from stellaops.core.egress import redacted
from stellaops.exports.errors import DistributionFailed

PART = 64 << 20
"""Bytes that are sent in one request."""
_AT_ONCE = 1 << 20
"""Blobs up to this size are sent in the request that ends an upload."""
_TRIES = 4
_WAITS = (0.2, 1.0, 3.0)
_LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Content:
    """Where the bytes of a blob are: in a file or in memory."""

    blob: Descriptor
    source: Path | bytes

    def opened(self) -> BinaryIO:
        """The bytes, as a file."""
        return (
            io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb", buffering=0)
        )


class _Part:
    """Some bytes of a file, as a file to be read once."""

    def __init__(self, file: BinaryIO, start: int, count: int) -> None:
        file.seek(start)
        self._file, self._left = file, count

    def read(self, most: int = -1) -> bytes:
        """At most so many bytes."""
        piece = self._file.read(min(most, self._left) if most >= 0 else self._left)
        self._left -= len(piece)
        return piece


def upload(
    registry: RegistryClient, content: Content, sent: Callable[[int], None] = lambda count: None
) -> None:
    """Send a blob that the registry does not have.

    Args:
        sent: is told after each part how many bytes were taken, also those that are sent again; it may end the upload
            by raising.

    Raises:
        DistributionFailed: it could not be sent, however often it was tried.
        RegistryRefused: see there.
    """
    tries, furthest = 0, 0
    with content.opened() as file:
        session = _Session(registry, content.blob, file)
        while not session.done:
            try:
                sent(session.step())
                # Only what no attempt had before counts as progress: else a blob that always breaks never ends.
                if session.offset > furthest:
                    tries, furthest = 0, session.offset
            except _Broken as broken:
                tries += 1
                if tries >= _TRIES or broken.wait > _LONGEST_WAIT:
                    raise broken.failure from broken
                time.sleep(max(broken.wait, _WAITS[min(tries, len(_WAITS)) - 1]))
                session.recover(anew=broken.anew)


class _Broken(Exception):
    """A part that did not arrive; another attempt may."""

    def __init__(self, failure: DistributionFailed, wait: float = 0.0, *, anew: bool = False) -> None:
        super().__init__(failure.what)
        self.failure, self.wait, self.anew = failure, wait, anew


class _Session:
    """One upload at the registry."""

    def __init__(self, registry: RegistryClient, blob: Descriptor, file: BinaryIO) -> None:
        self._registry, self._blob, self._file = registry, blob, file
        self._url = ""
        self._part = PART
        self.offset = 0
        self.done = False

    def step(self) -> int:
        """Begin, send a part, or end; the bytes that were sent."""
        if not self._url:
            begun = self._registry.begin_upload()
            self._url = self._registry.location(begun)
            least = begun.headers.get("oci-chunk-min-length", "")
            self._part = max(PART, int(least)) if least.isdecimal() else PART
        left = self._blob.bytes - self.offset
        if left > (_AT_ONCE if self.offset == 0 else 0):
            return self._send(min(left, self._part))
        return self._end(left)

    def recover(self, *, anew: bool) -> None:
        """See how much of it the registry has; from the start where it has forgotten, or has something else."""
        try:
            known = self._registry.uploaded(self._url) if self._url and not anew else None
        except DistributionFailed:
            known = None
        self._url, self.offset = known if known and known[1] <= self._blob.bytes else ("", 0)

    def _send(self, count: int) -> int:
        end = self.offset + count
        headers = {"content-length": str(count), "content-range": f"{self.offset}-{end - 1}"}
        answer = self._request(
            "PATCH", self._url, headers, cast(BinaryIO, _Part(self._file, self.offset, count))
        )
        if answer.status not in (202, 201, 204):
            raise self._failed(answer)
        self._url, self.offset = self._registry.location(answer), end
        return count

    def _end(self, count: int) -> int:
        url = f"{self._url}{'&' if '?' in self._url else '?'}digest={self._blob.digest}"
        self._file.seek(self.offset)
        body = self._file.read(count)
        headers = {"content-length": str(len(body))}
        if self.offset and count:
            headers["content-range"] = f"{self.offset}-{self._blob.bytes - 1}"
        answer = self._request("PUT", url, headers, body)
        if answer.status not in (201, 204):
            raise self._failed(answer)
        self._registry.check_digest(answer, self._blob.digest)
        self.done = True
        return count

    def _request(self, method: str, url: str, headers: dict[str, str], body: BinaryIO | bytes) -> Taken:
        try:
            return self._registry.send_part(method, url, headers, body)
        except Unanswered as error:
            raise _Broken(DistributionFailed(str(error))) from error

    def _failed(self, answer: Taken) -> Exception:
        failure = refusal(answer)
        if answer.status == 401 or (isinstance(failure, DistributionFailed) and failure.again):
            if not isinstance(failure, DistributionFailed):
                failure = DistributionFailed(f"{redacted(answer.url)}: the registry refuses the login")
            return _Broken(failure, retry_after(answer) or 0.0, anew=answer.status == 400)
        return failure
