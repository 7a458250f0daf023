"""The rows that a store keeps of a document's statements, so that nothing parses a document twice."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from stellaops.core import timestamps
from stellaops.core.digests import Digest
from stellaops.vex.statement import Issuer, Statement, Target, VexDocument, Words, instant

VERSION = 1
"""Version of this projection; another value makes the store rebuild its rows."""

SEPARATOR = "\n"
"""Between the names in a list of them."""

_MICROSECOND = timedelta(microseconds=1)
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Words)
_NO_WORDS = Words()

Row = tuple[int, int, str, str, str, str, str, str, str, str, int | None, int | None]
"""`position number vulnerability package product platform subcomponents others status justification stated_at words`:
one product of one statement. `stated_at` in microseconds since 1970; the document's where the statement has none."""


class VexRows(Struct, frozen=True):
    """All rows of one document.

    Attributes:
        statements: how many statements it makes.
        words: the texts of the statements, by the number that rows name them by: each once.
    """

    id: str
    issuer: Issuer
    statements: int
    words: dict[int, bytes]
    rows: list[Row]


class VexIndexRow(Struct, frozen=True):
    """An index row; its fields stand in the order of canonical JSON."""

    digest: str
    id: str
    issuer: str
    key: str
    modified: str | None
    packages: list[str]
    published: str | None
    role: str
    source: str
    statements: int
    vulnerabilities: list[str]
    withdrawn: str | None


def rows(document: VexDocument) -> VexRows:
    """The rows of a document."""
    own = instant(document.modified or "") or instant(document.published or "")
    words: dict[int, bytes] = {}
    numbers: dict[Words, int | None] = {_NO_WORDS: None}
    found: list[Row] = []
    for position, statement in enumerate(document.statements):
        told = statement.words
        if told not in numbers:
            text = _ENCODER.encode(told)
            numbers[told] = _number(text)
            words[_number(text)] = text
        stated = statement.stated or own
        stated_at = None if stated is None else _microseconds(stated)
        found.extend(
            (position, number, *_row(statement, target), stated_at, numbers[told])
            for number, target in enumerate(statement.targets)
        )
    return VexRows(document.id, document.issuer, len(document.statements), words, found)


def words_of(text: bytes) -> Words:
    """The texts that a row names."""
    return _DECODER.decode(text)


def index_row(document: VexDocument, source: str, key: str, digest: Digest) -> bytes:
    """Canonical JSON of a document's index row, without a newline; instants as in the index of advisories."""
    targets = (target for statement in document.statements for target in statement.targets)
    return _ENCODER.encode(
        VexIndexRow(
            digest=digest,
            id=document.id,
            issuer=document.issuer.name,
            key=key,
            modified=_instant(document.modified),
            packages=sorted({target.product.package for target in targets}),
            published=_instant(document.published),
            role=document.issuer.role.value,
            source=source,
            statements=len(document.statements),
            vulnerabilities=sorted({statement.vulnerability for statement in document.statements}),
            withdrawn=_instant(document.withdrawn) or (document.withdrawn or None),
        )
    )


def _row(statement: Statement, target: Target) -> tuple[str, str, str, str, str, str, str, str]:
    product = target.product
    return (
        statement.vulnerability,
        product.package,
        product.identity,
        target.platform,
        SEPARATOR.join([each.identity for each in target.subcomponents]),
        SEPARATOR.join(product.others),
        statement.status.value,
        statement.justification,
    )


def _number(text: bytes) -> int:
    """A number that stands for a text wherever it is said."""
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


def _microseconds(stated: datetime) -> int:
    return (stated - timestamps.EPOCH) // _MICROSECOND


def _instant(text: str | None) -> str | None:
    found = instant(text) if text else None
    return timestamps.render(found) if found else None
