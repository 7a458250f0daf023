"""Lines of row sets, read strictly: the only form in which a line may be written, and nothing else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

import msgspec

from stellaops.bundles import layout
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

_STRING = msgspec.json.Encoder()


class BadRow(InvalidInput):
    """A line of a row set that is not what its writer must write."""

    code = "ERR_ROW_INVALID"
    hint = "Fetch the bundle again; if it stays, it was made by another version of the product."


class Row(msgspec.Struct, frozen=True, gc=False):
    """What a line is about: whose it is ('' = shared), its source, key, and the digest of its document.

    Attributes:
        file: of a bill of materials, the file of the bundle that holds it.
    """

    owner: str
    source: str
    key: str
    digest: Digest
    file: str | None = None


class _VerbatimRow(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    digest: str
    key: str
    raw_digest: str
    source: str
    verbatim: str


class _AdvisoryIndex(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The index row of an advisory as this release writes it; all that it holds are texts, in canonical order."""

    aliases: list[str]
    digest: str
    ecosystems: list[str]
    id: str
    key: str
    modified: str | None
    packages: list[str]
    published: str | None
    severity: str
    source: str
    withdrawn: str | None


class _SbomIndex(msgspec.Struct):
    digest: str
    id: str
    key: str
    source: str
    path: str | None = None


class _Upstream(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    key: str
    raw_digest: str
    source: str
    bytes: str | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET


class _Normalized(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    document: msgspec.Raw
    key: str
    source: str


class _Evaluation(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    finding: dict[str, Any]
    key: str
    source: str


_VERBATIM = msgspec.json.Decoder(_VerbatimRow)
_ANY = msgspec.json.Decoder(msgspec.Raw)
_QUOTED = rb'("(?:[^"\\\x00-\x1f]|\\.)*")'
_DIGEST = rb"(sha256:[0-9a-f]{64})"
# No string holds a quotation mark without a backslash before it, so the last such key is the line's own.
_KEY = b',"key":"'
_RAW_HEAD = re.compile(rb'\{"digest":"' + _DIGEST + rb'","document":')
_RAW_TAIL = re.compile(
    rb',"key":' + _QUOTED + rb',"rawDigest":"' + _DIGEST + rb'","source":' + _QUOTED + rb"\}"
)
_BODY = len(b'{"digest":"sha256:","document":') + 64
_INDEX_ROW = re.compile(_DIGEST.decode())
_UPSTREAM = msgspec.json.Decoder(_Upstream)
_NORMALIZED = msgspec.json.Decoder(_Normalized)
_ADVISORY_INDEX = msgspec.json.Decoder(_AdvisoryIndex)
_OWNED_BY = "@"


def owner_of(source: str) -> str:
    """The tenant that a source belongs to, by its name; empty for a source of all tenants."""
    return source.partition(_OWNED_BY)[2] if _OWNED_BY in source else ""


def parse_raw(line: bytes) -> Row:
    """Read a line of `data/raw/…` (without its newline) and check the digest of the document in it.

    The document's bytes are taken as they stand, since RFC 8785 allows numbers that no decoder here would write back.

    Raises:
        BadRow: another form, or a document that its digest does not fit.
    """
    place = line.rfind(_KEY)
    tail = _RAW_TAIL.fullmatch(line, place) if place > _BODY else None
    if tail is None:
        return _parse_verbatim(line)
    body = line[_BODY:place]
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if not line.startswith(f'{{"digest":"{digest}","document":'.encode()):
        if _RAW_HEAD.match(line) is None:
            return _parse_verbatim(line)
        raise BadRow(f"the document of {tail[1][:200]!r} has another digest than its line states")
    try:
        _ANY.decode(body)
        source = _text(tail[3])
        return Row(owner_of(source), source, _text(tail[1]), Digest(digest))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRow(f"a raw line is not of its form: {error}") from error


def _text(quoted: bytes) -> str:
    """A JSON string that must be written in its shortest form."""
    if b"\\" not in quoted:
        return quoted[1:-1].decode()
    text = msgspec.json.decode(quoted, type=str)
    if _json(text) != quoted:
        raise BadRow(f"{text[:200]!r} is not written in its canonical form")
    return text


def _parse_verbatim(line: bytes) -> Row:
    try:
        raw = _VERBATIM.decode(line)
        digests.parse(raw.digest)
        digests.parse(raw.raw_digest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRow(f"a raw line is not of its form: {error}") from error
    body = _verbatim(raw.verbatim)
    written = b'{"digest":%b,"key":%b,"rawDigest":%b,"source":%b,"verbatim":%b}' % (
        _json(raw.digest), _json(raw.key), _json(raw.raw_digest), _json(raw.source), _json(raw.verbatim),
    )  # fmt: skip
    if written != line:
        raise BadRow(f"the raw line of {raw.key[:200]!r} is not in its canonical form")
    if digests.sha256(body) != raw.digest:
        raise BadRow(f"the document of {raw.key[:200]!r} has another digest than its line states")
    return Row(owner_of(raw.source), raw.source, raw.key, Digest(raw.digest))


def parse_index(line: bytes) -> Row:
    """Read a line of `indexes/…` (without its newline): canonical JSON with at least `digest`, `key` and `source`.

    Raises:
        BadRow: another form.
    """
    usual = _advisory_index(line)
    if usual is not None:
        return usual
    try:
        row = canonical_json.decode(line)
    except (canonical_json.NotCanonical, RecursionError) as error:
        raise BadRow(f"an index line is not of its form: {error}") from error
    if isinstance(row, dict):
        source, key, digest = row.get("source"), row.get("key"), row.get("digest")
        if (
            isinstance(source, str)
            and isinstance(key, str)
            and isinstance(digest, str)
            and _INDEX_ROW.fullmatch(digest)
        ):
            return Row(owner_of(source), source, key, Digest(digest))
    raise BadRow("an index line is not of its form: it needs digest, key and source")


def _advisory_index(line: bytes) -> Row | None:
    """The most frequent kind of index line, three times as fast; None for every other, and for those not sound."""
    try:
        row = _ADVISORY_INDEX.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _STRING.encode(row) != line or not _INDEX_ROW.fullmatch(row.digest):
        return None
    return Row(owner_of(row.source), row.source, row.key, Digest(row.digest))


def parse_sbom_index(line: bytes) -> Row:
    """Read a line of `indexes/sbom` (without its newline), which names the file of each bill that travels.

    Raises:
        BadRow: another form, or a file whose name is not that of its subject.
    """
    row = parse_index(line)
    try:
        about = msgspec.json.decode(line, type=_SbomIndex)
    except msgspec.ValidationError as error:
        raise BadRow(f"an index line is not of its form: {error}") from error
    if about.path is None:
        return row
    folder = f"{layout.RAW_SBOMS}{digests.sha256(about.id.encode()).removeprefix(digests.PREFIX)}/"
    if not layout.is_sbom(about.path) or not about.path.startswith(folder):
        raise BadRow(f"the bill of materials {row.key[:200]!r} is not at the place of its subject")
    return Row(row.owner, row.source, row.key, row.digest, about.path)


def parse_upstream(line: bytes) -> Row:
    """Read a line of `data/upstream/…` (without its newline) and check the digest of the record in it.

    Raises:
        BadRow: another form, or a record that its digest does not fit.
    """
    try:
        row = _UPSTREAM.decode(line)
        digest = digests.parse(row.raw_digest)
        canonical = canonical_json.encode(row) == line
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRow(f"an upstream line is not of its form: {error}") from error
    if not canonical or isinstance(row.text, str) is isinstance(row.bytes, str):
        raise BadRow(f"the upstream line of {row.key[:200]!r} is not in its canonical form")
    record = row.text.encode() if isinstance(row.text, str) else _verbatim(str(row.bytes))
    if digests.sha256(record) != digest:
        raise BadRow(f"the record of {row.key[:200]!r} has another digest than its line states")
    return Row(owner_of(row.source), row.source, row.key, digest)


def parse_normalized(line: bytes) -> Row:
    """Read a line of `data/normalized/…` (without its newline) and check the digest of the document in it.

    Raises:
        BadRow: another form, or a document that its digest does not fit.
    """
    try:
        row = _NORMALIZED.decode(line)
        digest = digests.parse(row.digest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRow(f"a normalized line is not of its form: {error}") from error
    body = bytes(row.document)
    if normalized_line(row.source, row.key, row.digest, body) != line:
        raise BadRow(f"the normalized line of {row.key[:200]!r} is not in its canonical form")
    if digests.sha256(body) != digest:
        raise BadRow(f"the document of {row.key[:200]!r} has another digest than its line states")
    return Row(owner_of(row.source), row.source, row.key, digest)


def normalized_line(source: str, key: str, digest: str, body: bytes) -> bytes:
    """A line of `data/normalized/…`: a document in canonical JSON."""
    return b'{"digest":%b,"document":%b,"key":%b,"source":%b}' % (
        _json(digest), body, _json(key), _json(source),
    )  # fmt: skip


def upstream_line(source: str, key: str, raw_digest: str, record: bytes) -> bytes:
    """A line of `data/upstream/…`: a record as it was fetched."""
    wire = {"key": key, "rawDigest": raw_digest, "source": source}
    try:
        wire["text"] = record.decode("utf-8")
    except UnicodeDecodeError:
        wire["bytes"] = base64.b64encode(record).decode("ascii")
    return canonical_json.encode(wire)


def parse_evaluation(line: bytes) -> Row:
    """Read a line of `data/policy/evaluations` (without its newline) and check the digest of the finding in it.

    Raises:
        BadRow: another form, or a finding that its digest does not fit.
    """
    try:
        row = msgspec.convert(canonical_json.decode(line), _Evaluation, strict=True)
        digest = digests.parse(row.digest)
    except (canonical_json.NotCanonical, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise BadRow(f"an evaluation is not of its form: {error}") from error
    if digests.sha256(canonical_json.encode(row.finding)) != digest:
        raise BadRow(f"the finding of {row.key[:200]!r} has another digest than its line states")
    return Row("", row.source, row.key, digest)


def _json(text: str) -> bytes:
    return _STRING.encode(text)


def _verbatim(text: str) -> bytes:
    try:
        record = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRow("a verbatim record is not base64") from error
    if base64.b64encode(record) != text.encode("ascii"):
        raise BadRow("a verbatim record is not in canonical base64")
    return record
