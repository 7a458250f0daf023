"""Routes of bundles: every file of one, whole or in parts, and what a verification says of it."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response, StreamingResponse

from stellaops.api.forms import BundleFile, ReportForm
from stellaops.api.frame.answers import answer, matches
from stellaops.api.frame.openings import LinkQuery
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.api.ranges import RangeNotSatisfiable, wanted_range
from stellaops.api.runs import READ, find
from stellaops.authority.manage_keys import trusted_keys
from stellaops.bundles import layout
from stellaops.exports import manage_runs
from stellaops.exports.bundle_tar import BundleTar, bundle_tar
from stellaops.exports.distribution.links import LinkInvalid
from stellaops.exports.errors import ArtefactMissing, BundleGone, RunNotFound
from stellaops.exports.run import Archive, Run
from stellaops.kit.report import Report
from stellaops.kit.verify import verify_bundle

DOWNLOAD = "export:download"
# Who may see the file is checked every time; what it holds never changes under its digest.
_CACHE = "private, no-cache"
_TAR = "application/x-tar"
_MEDIA = {
    ".zst": "application/zstd", ".bundle": "application/gzip", ".md": "text/markdown; charset=utf-8",
    ".yaml": "application/yaml", ".sig": "text/plain; charset=utf-8", ".jws": "application/jose",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a bundle: its digest in hex."""

    archive: Archive
    path: str
    bytes: int
    sha256: str

    @property
    def etag(self) -> str:
        """The same on every machine, for it is the content's."""
        return f'"sha256:{self.sha256}"'

    @property
    def media(self) -> str:
        """By the name."""
        suffix = f".{self.path.rpartition('.')[2]}"
        return _MEDIA.get(suffix) or mimetypes.guess_type(self.path)[0] or "application/octet-stream"

    def headers(self) -> dict[str, str]:
        """Those of every answer about it."""
        return {
            "etag": self.etag,
            "cache-control": _CACHE,
            "accept-ranges": "bytes",
            "repr-digest": f"sha-256=:{base64.b64encode(bytes.fromhex(self.sha256)).decode()}:",
            "content-disposition": f'attachment; filename="{_quoted(self.path.rpartition("/")[2])}"',
        }


def list_files(call: Call) -> Response:
    """Every file of a bundle."""
    run = find(call)
    archive = manage_runs.archive_of(run, call.local.artefacts)
    known = {each.path: each.sha256 for each in run.artifacts}
    files = call.local.artefacts.files(archive)
    items = [{"path": each.path, "bytes": each.bytes, "sha256": known.get(each.path)} for each in files]
    return answer(Page(items))


async def download(call: Call) -> Response:
    """One file of a bundle, or a part of it."""
    return await _send(call, call.path["path"])


async def manifest(call: Call) -> Response:
    """`export.json` as it was signed."""
    return await _send(call, layout.MANIFEST)


async def provenance(call: Call) -> Response:
    """`provenance.json` as it was signed."""
    return await _send(call, layout.PROVENANCE)


async def _send(call: Call, path: str) -> Response:
    file = await to_thread.run_sync(partial(_find, call, path))
    headers = file.headers()
    if matches(file.etag, call.request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    part = wanted_range(call.request, file.bytes, file.etag)
    begin, end = part or (0, file.bytes)
    headers["content-length"] = str(end - begin)
    if part:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{file.bytes}"
    status = 206 if part else 200
    if call.request.method == "HEAD":
        return Response(None, status, headers, file.media)
    pieces = call.local.artefacts.read(file.archive, file.path, begin, end)
    # The first piece is read before the answer begins, so that a file that is gone is still an error.
    first = await to_thread.run_sync(next, pieces, b"")
    return StreamingResponse(_pieces(chain((first,), pieces)), status, headers, file.media)


async def tar(call: Call) -> Response:
    """Every file of a bundle in one."""
    found = await to_thread.run_sync(partial(_tar, call))
    headers = {
        "cache-control": "private, no-store",
        "content-disposition": f'attachment; filename="{found.root}.tar"',
        "content-length": str(found.size),
    }
    if call.request.method == "HEAD":
        return Response(None, 200, headers, _TAR)
    return StreamingResponse(_pieces(found.pieces()), 200, headers, _TAR)


def _tar(call: Call) -> BundleTar:
    """The bundle of a run, where all of it may be seen.

    Raises:
        RunNotFound, BundleGone, ArtefactMissing: see there.
    """
    run, local = find(call), call.local
    found = bundle_tar(run, local.artefacts, local.statements)
    confined = call.principal.confined
    if confined and not all(confined.admits(run.id, run.profile, each.path) for each in found.members):
        raise ArtefactMissing(f"the bundle of run {run.id} is not whole to be seen")
    return found


async def _pieces(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
        yield piece


def _find(call: Call, path: str) -> _File:
    """A file of the run's bundle.

    Raises:
        RunNotFound, BundleGone, ArtefactMissing: see there.
    """
    run, store = find(call), call.local.artefacts
    archive = manage_runs.archive_of(run, store)
    confined = call.principal.confined
    admitted = confined is None or confined.admits(run.id, run.profile, path)
    found = store.stat(archive, path) if admitted else None
    if found is None:
        raise ArtefactMissing(f"the bundle of run {run.id} has no file {path[:200]!r}")
    digest = next((each.sha256 for each in run.artifacts if each.path == path), None)
    if digest is None:  # a signature or a manifest: small, and it may be renewed
        hasher = hashlib.sha256()
        for piece in store.read(archive, path):
            hasher.update(piece)
        digest = hasher.hexdigest()
    return _File(archive, path, found.bytes, digest.removeprefix("sha256:"))


def _quoted(name: str) -> str:
    return "".join(
        each if each.isascii() and each.isprintable() and each not in '"\\' else "_" for each in name
    )


_VERIFYING = CapacityLimiter(1)  # a verification takes a processor for a while; others wait, and reads go on


async def verify(call: Call) -> Response:
    """Verify a bundle by the keys of its tenant."""
    run = await to_thread.run_sync(partial(find, call))
    report = await to_thread.run_sync(partial(_report, call, run), limiter=_VERIFYING)
    return answer(report.to_wire())


def _report(call: Call, run: Run) -> Report:
    keys = trusted_keys(call.local.keys, call.tenant)
    with manage_runs.opened(run, call.local.artefacts, held=True) as root:
        return verify_bundle(root, keys.pems, revoked=keys.revoked)


_ERRORS = (RunNotFound, BundleGone, ArtefactMissing, RangeNotSatisfiable)
_ETAG = {"etag": "`sha256:` and the digest of the whole file", "repr-digest": "the same as RFC 9530 has it"}
_PATH = "/api/export/runs/{id}"


def _answers(media: str) -> dict[int, Answer]:
    return {
        200: Answer("The file", media=media, headers=_ETAG),
        206: Answer("The part that Range asks for", media=media, headers=_ETAG),
        304: Answer("The caller has it already", headers=_ETAG),
    }


OPERATIONS = (
    Operation(
        "listArtifacts", "GET", f"{_PATH}/artifacts", "Every file of a bundle", list_files, DOWNLOAD,
        answers={200: Answer("By path", Page[BundleFile])}, errors=(RunNotFound, BundleGone), downloads=True,
    ),
    Operation(
        "getArtifact", "GET", f"{_PATH}/artifacts/{{path:path}}", "A file of a bundle", download, DOWNLOAD,
        query=LinkQuery, answers=_answers("*/*"), errors=(*_ERRORS, LinkInvalid), downloads=True, links=True,
    ),
    Operation(
        "getManifest", "GET", f"{_PATH}/manifest", "export.json, byte for byte", manifest, DOWNLOAD,
        answers=_answers("application/json"), errors=_ERRORS, downloads=True,
    ),
    Operation(
        "getProvenance", "GET", f"{_PATH}/provenance", "provenance.json, byte for byte", provenance, DOWNLOAD,
        answers=_answers("application/json"), errors=_ERRORS, downloads=True,
    ),
    Operation(
        "getBundle", "GET", f"{_PATH}/bundle.tar", "Every file of a bundle in one tar file", tar, DOWNLOAD,
        answers={200: Answer("The files in a directory of the run's name", media=_TAR)},
        errors=(RunNotFound, BundleGone, ArtefactMissing), downloads=True,
    ),
    Operation(
        "verifyRun", "POST", f"{_PATH}/verify", "Verify a bundle by the keys of its tenant", verify, READ,
        answers={200: Answer("What was found", ReportForm)}, errors=(RunNotFound, BundleGone),
    ),
)  # fmt: skip
