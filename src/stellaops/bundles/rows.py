"""Lines of row sets, read strictly: the only form in which a line may be written, and nothing else."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from stellaops.bundles import layout
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

_JSON = msgspec.json.Encoder()
_sha256 = hashlib.sha256
_HEX = b"0123456789abcdef"


class BadRow(InvalidInput):
    """A line of a row set that is not what its writer must write."""

    code = "ERR_ROW_INVALID"
    hint = "Fetch the bundle again; if it stays, it was made by another version of the product."


class Placed(Protocol):
    """What a line is about. Rows of one source have one owner."""

    @property
    def owner(self) -> str:
        """Whose it is ('' = shared)."""

    @property
    def source(self) -> str:
        """The source that it is from."""

    @property
    def key(self) -> str:
        """Its key among those of its source."""

    @property
    def digest(self) -> str:
        """The digest of its document."""

    @property
    def file(self) -> str | None:
        """Of a bill of materials, the file of the bundle that holds it."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row by itself: see `Placed`."""

    owner: str
    source: str
    key: str
    digest: Digest
    file: str | None = None


class _Sourced(Protocol):
    source: str


class _Usual(msgspec.Struct, gc=False):
    """A row whose fields are all that its line has, in canonical order, so that encoding it gives the line."""

    file: ClassVar[None] = None

    @property
    def owner(self: _Sourced) -> str:
        return owner_of(self.source)


class _RawRow(_Usual, forbid_unknown_fields=True, rename="camel", gc=False):
    """A document's line; the document stands as it is, since RFC 8785 has numbers that no decoder here writes back."""

    digest: str
    document: msgspec.Raw
    key: str
    raw_digest: str
    source: str


class _NormalizedRow(_Usual, forbid_unknown_fields=True, gc=False):
    digest: str
    document: msgspec.Raw
    key: str
    source: str


class _AdvisoryRow(_Usual, forbid_unknown_fields=True, gc=False):
    """The index row of an advisory as this release writes it; all that it holds are texts."""

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


class _VerbatimRow(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    digest: str
    key: str
    raw_digest: str
    source: str
    verbatim: str


class _Kind(msgspec.Struct):
    """What tells a raw line with a verbatim document from one with a document."""

    verbatim: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


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


class _Evaluation(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    finding: dict[str, Any]
    key: str
    source: str


_RAW = msgspec.json.Decoder(_RawRow)
_KIND = msgspec.json.Decoder(_Kind)
_VERBATIM = msgspec.json.Decoder(_VerbatimRow)
_NORMALIZED = msgspec.json.Decoder(_NormalizedRow)
_ADVISORY = msgspec.json.Decoder(_AdvisoryRow)
_UPSTREAM = msgspec.json.Decoder(_Upstream)
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OWNED_BY = "@"


def owner_of(source: str) -> str:
    """The tenant that a source belongs to, by its name; empty for a source of all tenants."""
    return source.partition(_OWNED_BY)[2] if _OWNED_BY in source else ""


_Row = TypeVar("_Row")


def _canonical(decoder: msgspec.json.Decoder[_Row], lines: bytes, count: int) -> list[_Row] | None:
    """The rows of lines, each with its newline, where each is the one that its values give; else None."""
    try:
        rows = decoder.decode_lines(lines)
    except _NO_JSON:
        return None
    # White space may hold a newline, so that a document would be spread over lines.
    return rows if len(rows) == count and _JSON.encode_lines(rows) == lines else None


def _raw_rows(lines: bytes, count: int) -> list[_RawRow] | None:
    rows = _canonical(_RAW, lines, count)
    sound = rows is not None and _documents_fit(rows) and _are_digests([row.raw_digest for row in rows])
    return rows if sound else None


def _normalized_rows(lines: bytes, count: int) -> list[_NormalizedRow] | None:
    rows = _canonical(_NORMALIZED, lines, count)
    return rows if rows is not None and _documents_fit(rows) else None


def _advisory_rows(lines: bytes, count: int) -> list[_AdvisoryRow] | None:
    rows = _canonical(_ADVISORY, lines, count)
    return rows if rows is not None and _are_digests([row.digest for row in rows]) else None


def _documents_fit(rows: Sequence[_RawRow] | Sequence[_NormalizedRow]) -> bool:
    """Whether each line states the digest of its document."""
    found = [f"sha256:{_sha256(row.document).hexdigest()}" for row in rows]
    return found == [row.digest for row in rows]


def _are_digests(texts: list[str]) -> bool:
    """Whether all are written as digests are."""
    prefixes, sizes = {text[:7] for text in texts}, set(map(len, texts))
    if not (prefixes <= {digests.PREFIX} and sizes <= {7 + 64}):
        return False
    digits = "".join([text[7:] for text in texts])
    return digits.isascii() and not digits.encode().translate(None, _HEX)


def parse_raw(line: bytes) -> Placed:
    """Read a line of `data/raw/…` (without its newline) and check the digest of the document in it.

    Raises:
        BadRow: another form, or a document that its digest does not fit.
    """
    usual = _raw_rows(line + b"\n", 1)
    if usual is not None:
        return usual[0]
    try:
        if not isinstance(_KIND.decode(line).verbatim, msgspec.UnsetType):
            return _parse_verbatim(line)
        row = _RAW.decode(line)
    except _NO_JSON as error:
        raise BadRow(f"a raw line is not of its form: {error}") from error
    raise _refusal(row, line)


def _refusal(row: _RawRow | _NormalizedRow, line: bytes) -> BadRow:
    """Why the line of a document is not taken."""
    if _JSON.encode(row) != line:
        return BadRow(f"the line of {row.key[:200]!r} is not in its canonical form")
    if isinstance(row, _RawRow) and not _are_digests([row.raw_digest]):
        return BadRow(f"the line of {row.key[:200]!r} has no digest as its rawDigest")
    return BadRow(f"the document of {row.key[:200]!r} has another digest than its line states")


def _parse_verbatim(line: bytes) -> Row:
    try:
        raw = _VERBATIM.decode(line)
        digests.parse(raw.digest)
        digests.parse(raw.raw_digest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRow(f"a raw line is not of its form: {error}") from error
    body = _verbatim(raw.verbatim)
    if _JSON.encode(raw) != line:
        raise BadRow(f"the raw line of {raw.key[:200]!r} is not in its canonical form")
    if digests.sha256(body) != raw.digest:
        raise BadRow(f"the document of {raw.key[:200]!r} has another digest than its line states")
    return Row(owner_of(raw.source), raw.source, raw.key, Digest(raw.digest))


def parse_index(line: bytes) -> Placed:
    """Read a line of `indexes/…` (without its newline): canonical JSON with at least `digest`, `key` and `source`.

    Raises:
        BadRow: another form.
    """
    usual = _advisory_rows(line + b"\n", 1)
    if usual is not None:
        return usual[0]
    try:
        row = canonical_json.decode(line)
    except (canonical_json.NotCanonical, RecursionError) as error:
        raise BadRow(f"an index line is not of its form: {error}") from error
    if isinstance(row, dict):
        source, key, digest = row.get("source"), row.get("key"), row.get("digest")
        if (
            isinstance(source, str) and isinstance(key, str) and isinstance(digest, str)
            and _are_digests([digest])
        ):  # fmt: skip
            return Row(owner_of(source), source, key, Digest(digest))
    raise BadRow("an index line is not of its form: it needs digest, key and source")


def parse_sbom_index(line: bytes) -> Placed:
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
    return Row(row.owner, row.source, row.key, Digest(row.digest), about.path)


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


def parse_normalized(line: bytes) -> Placed:
    """Read a line of `data/normalized/…` (without its newline) and check the digest of the document in it.

    Raises:
        BadRow: another form, or a document that its digest does not fit.
    """
    usual = _normalized_rows(line + b"\n", 1)
    if usual is not None:
        return usual[0]
    try:
        row = _NORMALIZED.decode(line)
    except _NO_JSON as error:
        raise BadRow(f"a normalized line is not of its form: {error}") from error
    raise _refusal(row, line)


def normalized_line(source: str, key: str, digest: str, body: bytes) -> bytes:
    """A line of `data/normalized/…`: a document in canonical JSON."""
    return b'{"digest":%b,"document":%b,"key":%b,"source":%b}' % (
        _JSON.encode(digest), body, _JSON.encode(key), _JSON.encode(source),
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


def _verbatim(text: str) -> bytes:
    try:
        record = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRow("a verbatim record is not base64") from error
    if base64.b64encode(record) != text.encode("ascii"):
        raise BadRow("a verbatim record is not in canonical base64")
    return record


@dataclass(frozen=True, slots=True)
class Form:
    """How the lines of a row set are read.

    Attributes:
        parse: reads one, without its newline.
        usual: what reads the usual ones all at once, where there is such.
    """

    parse: Callable[[bytes], Placed]
    usual: Callable[[bytes, int], Sequence[Placed] | None] = lambda lines, count: None

    def read(self, lines: bytes, count: int) -> Sequence[Placed]:
        """Read some number of lines, each with its newline: one by one only where not all are of the usual kind.

        Raises:
            BadRow: see `parse`.
        """
        rows = self.usual(lines, count)
        return [self.parse(line) for line in lines.split(b"\n")[:-1]] if rows is None else rows


RAW = Form(parse_raw, _raw_rows)
NORMALIZED = Form(parse_normalized, _normalized_rows)
INDEX = Form(parse_index, _advisory_rows)
UPSTREAM = Form(parse_upstream)
SBOM_INDEX = Form(parse_sbom_index)
EVALUATIONS = Form(parse_evaluation)
