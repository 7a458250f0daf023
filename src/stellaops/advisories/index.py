"""The index row of a document: what a reader needs to find it and to decide whether to look at it."""

from __future__ import annotations

import msgspec

from stellaops.advisories import advisory as fields
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.packages import purls
from stellaops.advisories.severity import Severity
from stellaops.core import timestamps
from stellaops.core.digests import Digest

VERSION = 1
"""Version of this projection; another value makes the store rebuild its rows."""


class DocumentId(msgspec.Struct, frozen=True):
    """Where an index row points."""

    source: str
    key: str
    digest: Digest


class IndexRow(msgspec.Struct, frozen=True):
    """An index row; its fields stand in the order of canonical JSON."""

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


_ENCODER = msgspec.json.Encoder()


def index_row(advisory: Advisory, document: DocumentId, severity: Severity) -> bytes:
    """Canonical JSON of the index row, without a newline.

    `severity` is a word. Instants are the stated ones brought to UTC; null where none is stated, except that an
    unreadable withdrawal instant stays as it is: the document is withdrawn all the same.
    """
    return _ENCODER.encode(
        IndexRow(
            aliases=fields.all_aliases(advisory),
            digest=document.digest,
            ecosystems=fields.ecosystems(advisory),
            id=advisory.id,
            key=document.key,
            modified=_instant(advisory.modified),
            packages=purls(advisory),
            published=_instant(advisory.published),
            severity=severity.name,
            source=document.source,
            withdrawn=_instant(advisory.withdrawn) or (advisory.withdrawn or None),
        )
    )


def _instant(text: str | None) -> str | None:
    instant = timestamps.parse(text) if text else None
    return timestamps.render(instant) if instant else None
