"""A repository at a registry: blobs and manifests as the OCI distribution specification has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import BinaryIO
from urllib.parse import urljoin

import msgspec

from stellaops.adapters.oci.authorizing import Authorizer
from stellaops.adapters.oci.errors import RegistryRefused
from stellaops.adapters.oci.logins import Login
from stellaops.adapters.oci.transport import Answer, Transport, Unanswered
from stellaops.bundles.oci import manifests, referrers
from stellaops.bundles.oci.manifests import Descriptor, Manifest
from stellaops.bundles.oci.names import Repository, fallback_tag
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.egress import redacted, target_of
from stellaops.exports.errors import DistributionFailed

_DOCKER = "application/vnd.docker.distribution.manifest"
_ACCEPTED = f"{manifests.MANIFEST}, {manifests.INDEX}, {_DOCKER}.v2+json, {_DOCKER}.list.v2+json"
"""Docker's own too: what others have put under a tag of ours is to be seen as it is, not as an older form of it."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 8
_LOGINS = 2
"""How often a login is looked for in one request: it may have been replaced since it was read."""
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_WAITS = (0.5, 2.0)
_LONGEST_WAIT = 30.0
"""Seconds that are waited here when a registry asks for it; with more, the delivery ends and is tried again later."""


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct, frozen=True):
    errors: tuple[_Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer with its whole body."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What a registry has under a reference."""

    content: bytes
    digest: Digest
    media_type: str


class RegistryClient:
    """One repository. Safe for threads.

    Args:
        plain: without TLS.
        login: reads the login from its file.
    """

    def __init__(
        self,
        transport: Transport,
        repository: Repository,
        login: Callable[[], Login | None],
        *,
        plain: bool = False,
    ) -> None:
        self.repository = repository
        self._transport = transport
        self._base = f"{'http' if plain else 'https'}://{repository.server}/v2/"
        self._origin = target_of(self._base).origin
        self._authorizer = Authorizer(transport, login, self._origin)

    # ---- blobs

    def has(self, blob: Descriptor) -> bool:
        """Whether the registry has a blob whole."""
        found = self._ask("HEAD", self._url("blobs", blob.digest))
        if found.status == 404:
            return False
        self._demand(found, 200)
        return found.headers.get("content-length", str(blob.bytes)) == str(blob.bytes)

    @contextmanager
    def open_blob(self, digest: Digest, start: int = 0) -> Iterator[Answer]:
        """Read a blob from a byte on; 206 or 200 as the registry can.

        Raises:
            Unanswered: the connection broke.
            DistributionFailed, RegistryRefused: see there.
        """
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._once("GET", self._url("blobs", digest), headers) as answer:
            if answer.status not in (200, 206):
                raise refusal(taken(answer))
            yield answer

    def begin_upload(self) -> Taken:
        """Begin to send a blob; `location` of the answer is the address to send it to."""
        found = self._ask("POST", self._url("blobs", "uploads/"), {"content-length": "0"})
        self._demand(found, 202)
        return found

    def send_part(self, method: str, url: str, headers: Mapping[str, str], body: BinaryIO | bytes) -> Taken:
        """Send bytes of an upload, once.

        Raises:
            Unanswered: the connection broke.
        """
        kind = {"content-type": "application/octet-stream"}
        with self._once(method, url, {**kind, **headers}, body) as answer:
            return taken(answer)

    def uploaded(self, url: str) -> tuple[str, int] | None:
        """Where an upload goes on, and after how many bytes; None where the registry has forgotten it."""
        found = self._ask("GET", url)
        last = found.headers.get("range", "").rpartition("-")[2]
        if found.status != 204 or not last.isdecimal():
            return None
        # The registry names the last byte that it has; `0-0`, where it has none, is taken at that.
        return self.location(found), int(last) + 1 if int(last) else 0

    def location(self, answer: Taken | Answer) -> str:
        """The address that an answer sends us to; of this registry by TLS where we came by TLS."""
        url = urljoin(answer.url, answer.headers.get("location", ""))
        if url.startswith("http://") and self._base.startswith("https://"):
            secure = f"https://{url.removeprefix('http://')}"
            if target_of(secure).host == target_of(self._base).host:
                return secure
        return url

    # ---- manifests

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag names; None where there is no such tag."""
        answer = self._ask("HEAD", self._url("manifests", tag), {"accept": _ACCEPTED})
        if answer.status == 404:
            return None
        self._demand(answer, 200)
        with suppress(ValueError):
            return digests.parse(answer.headers.get("docker-content-digest", ""))
        found = self.manifest(tag)
        return found.digest if found else None

    def manifest(self, reference: str) -> Told | None:
        """A manifest by tag or digest; None where there is none.

        Raises:
            DistributionFailed: it is not what it is called by.
        """
        answer = self._ask("GET", self._url("manifests", reference), {"accept": _ACCEPTED})
        if answer.status == 404:
            return None
        self._demand(answer, 200)
        digest = digests.sha256(answer.content)
        told = answer.headers.get("docker-content-digest", digest)
        if told != digest or (reference.startswith(digests.PREFIX) and reference != digest):
            raise DistributionFailed(
                f"{self.repository}: the manifest {reference} is not what it is called by"
            )
        return Told(answer.content, digest, answer.headers.get("content-type", "").partition(";")[0].strip())

    def put_manifest(self, manifest: Manifest, reference: str | None = None) -> bool:
        """Send a manifest under a tag, or under its digest; whether the registry keeps an index of its subject.

        Raises:
            DistributionFailed: the registry does not take it, or calls it by another digest.
        """
        if len(manifest.content) > manifests.LARGEST:
            size = f"{len(manifest.content)} bytes, and registries take {manifests.LARGEST}"
            raise DistributionFailed(
                f"{self.repository}: the bundle has too many files for a manifest: {size}",
                again=False,
                hint="Use a profile of kind mirror for this target: its bundles are one archive.",
            )
        url = self._url("manifests", reference or manifest.digest)
        answer = self._ask("PUT", url, {"content-type": manifest.media_type}, manifest.content)
        self._demand(answer, 201, 200, 202)
        self.check_digest(answer, manifest.digest)
        return "oci-subject" in answer.headers

    def check_digest(self, answer: Taken, digest: Digest) -> None:
        """Hold what a registry says that it has against what was sent.

        Raises:
            DistributionFailed: it is something else.
        """
        told = answer.headers.get("docker-content-digest", digest)
        if told != digest:
            raise DistributionFailed(
                f"{self.repository}: {digest} was sent, and the registry has {told[:80]}"
            )

    def remove_manifest(self, digest: Digest) -> bool:
        """Remove a manifest and the tags that name it; False where the registry cannot, or the login may only push."""
        answer = self._ask("DELETE", self._url("manifests", digest))
        if answer.status in (400, 401, 403, 405, 501):
            return False
        if answer.status != 404:
            self._demand(answer, 202, 200, 204)
        return True

    # ---- referrers

    def referrers(self, digest: Digest) -> tuple[tuple[Descriptor, ...], bool]:
        """What refers to a manifest, and whether the registry itself keeps that index."""
        answer = self._ask("GET", self._url("referrers", digest), {"accept": manifests.INDEX})
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        if answer.status == 200 and kind == manifests.INDEX:
            return referrers.read(answer.content), True
        found = self.manifest(fallback_tag(digest))
        return (referrers.read(found.content) if found else ()), False

    # ---- requests

    def _url(self, what: str, name: str) -> str:
        return f"{self._base}{self.repository.path}/{what}/{name}"

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> Taken:
        """A request that may be sent again: a connection that breaks, and a server that is busy, are tried again."""
        for wait in _WAITS:
            pause = wait
            with suppress(Unanswered):
                found = self._asked(method, url, headers, body)
                pause = max(wait, retry_after(found) or 0)
                if found.status not in _BUSY or pause > _LONGEST_WAIT:
                    return found
            time.sleep(pause)
        try:
            return self._asked(method, url, headers, body)
        except Unanswered as error:
            raise DistributionFailed(str(error)) from error

    def _asked(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Taken:
        with self._once(method, url, headers, body) as answer:
            return taken(answer)

    @contextmanager
    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: BinaryIO | bytes | None = None
    ) -> Iterator[Answer]:
        """A request with what the registry asks for; of a body that is a file, the answer 401 is the caller's."""
        again = body is None or isinstance(body, bytes)
        refusals = 0
        for _ in range(_MOST_REDIRECTS):
            sent = self._authorizer.header() if target_of(url).origin == self._origin else ""
            own = {"authorization": sent} if sent else {}
            with self._transport.send(method, url, {**headers, **own}, body) as answer:
                if answer.status == 401 and refusals < _LOGINS:
                    refusals += 1
                    self._authorizer.refused(answer.headers.get("www-authenticate", ""), sent)
                    if again:
                        continue
                elif answer.status in _REDIRECTS and method in ("GET", "HEAD"):
                    url = self.location(answer)
                    continue
                yield answer
                return
        raise DistributionFailed(f"{redacted(url)}: too many redirects")

    def _demand(self, answer: Taken, *statuses: int) -> None:
        if answer.status not in statuses:
            raise refusal(answer)


def taken(answer: Answer) -> Taken:
    """An answer with its body.

    Raises:
        Unanswered: it broke off, or is larger than any that is read whole.
    """
    return Taken(answer.url, answer.status, answer.headers, answer.read(manifests.LARGEST))


def refusal(answer: Taken) -> RegistryRefused | DistributionFailed:
    """What an answer of another status means, in the registry's words."""
    what = f"{redacted(answer.url)}: the registry answers {answer.status}{_words(answer)}"
    if answer.status in (401, 403):
        return RegistryRefused(what)
    lasting = (
        400 <= answer.status < 500 and answer.status not in _BUSY and answer.status not in (400, 404, 416)
    )
    return DistributionFailed(what, retry_after=retry_after(answer), again=not lasting)


def retry_after(answer: Taken) -> float | None:
    """Seconds after which a registry asks to be tried again; None where it does not say.

    A date is held against the registry's own clock, which may be another than ours.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        now = parsedate_to_datetime(answer.headers["date"])
        return max((parsedate_to_datetime(text) - now).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None


def _words(answer: Taken) -> str:
    try:
        found = msgspec.json.decode(answer.content, type=_Problems).errors
    except msgspec.DecodeError:
        return ""
    return "".join(f"; {each.code}: {each.message}"[:200] for each in found[:3])
