"""Lines of row sets, read strictly: the only form in which a line may be written, and nothing else."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

_STRING = msgspec.json.Encoder()


class BadRow(InvalidInput):
    """A line of a row set that is not what its writer must write."""

    code = "ERR_ROW_INVALID"
    hint = "Fetch the bundle again; if it stays, it was made by another version of the product."


@dataclass(frozen=True, slots=True)
class Row:
    """What a line is about: whose it is ('' = shared), its source, key, and the digest of its document."""

    owner: str
    source: str
    key: str
    digest: Digest


class _Raw(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    digest: str
    key: str
    raw_digest: str
    source: str
    document: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    verbatim: str | msgspec.UnsetType = msgspec.UNSET


class _Index(msgspec.Struct):
    digest: str
    key: str
    source: str


class _Evaluation(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    finding: dict[str, Any]
    key: str
    source: str


_RAW = msgspec.json.Decoder(_Raw)


def parse_raw(line: bytes) -> Row:
    """Read a line of `data/raw/…` (without its newline) and check the digest of the document in it.

    The document's bytes are taken as they stand, since RFC 8785 allows numbers that no decoder here would write back.

    Raises:
        BadRow: another form, or a document that its digest does not fit.
    """
    try:
        raw = _RAW.decode(line)
        digests.parse(raw.digest)
        digests.parse(raw.raw_digest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRow(f"a raw line is not of its form: {error}") from error
    if isinstance(raw.document, msgspec.Raw) is isinstance(raw.verbatim, str):
        raise BadRow("a raw line must have either a document or a verbatim record")
    if isinstance(raw.document, msgspec.Raw):
        body = bytes(raw.document)
        written = b'{"digest":%b,"document":%b,"key":%b,"rawDigest":%b,"source":%b}' % (
            _json(raw.digest), body, _json(raw.key), _json(raw.raw_digest), _json(raw.source),
        )  # fmt: skip
    else:
        text = str(raw.verbatim)
        body = _verbatim(text)
        written = b'{"digest":%b,"key":%b,"rawDigest":%b,"source":%b,"verbatim":%b}' % (
            _json(raw.digest), _json(raw.key), _json(raw.raw_digest), _json(raw.source), _json(text),
        )  # fmt: skip
    if written != line:
        raise BadRow(f"the raw line of {raw.key[:200]!r} is not in its canonical form")
    if digests.sha256(body) != raw.digest:
        raise BadRow(f"the document of {raw.key[:200]!r} has another digest than its line states")
    return Row("", raw.source, raw.key, Digest(raw.digest))


def parse_index(line: bytes) -> Row:
    """Read a line of `indexes/…` (without its newline): canonical JSON with at least `digest`, `key` and `source`.

    Raises:
        BadRow: another form.
    """
    try:
        row = msgspec.convert(canonical_json.decode(line), _Index, strict=True)
        return Row("", row.source, row.key, digests.parse(row.digest))
    except (canonical_json.NotCanonical, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise BadRow(f"an index line is not of its form: {error}") from error


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
