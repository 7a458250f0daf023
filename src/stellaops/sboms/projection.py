"""The rows that a store keeps of a bill of materials, so that nothing parses it twice."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from stellaops.core import timestamps
from stellaops.core.digests import Digest
from stellaops.sboms.component import Sbom

VERSION = 1
"""Version of this projection; another value makes the store rebuild its rows."""

_ENCODER = msgspec.json.Encoder()

Row = tuple[int, str, str, str, str, str, str]
"""`number purl name version source_name source_version parents` of one component; `parents` are numbers with commas."""


class SbomRows(Struct, frozen=True):
    """All rows of one document; the platform's texts are empty where it states none."""

    subject: str
    form: str
    family: str
    release: str
    components: list[Row]


class SbomIndexRow(Struct, frozen=True):
    """An index row; its fields stand in the order of canonical JSON."""

    components: int
    digest: str
    form: str
    id: str
    key: str
    packages: list[str]
    platform: str
    published: str | None
    source: str
    withdrawn: None = None


def rows(sbom: Sbom) -> SbomRows:
    """The rows of a document."""
    platform = sbom.platform
    return SbomRows(
        sbom.id,
        sbom.form,
        platform.family if platform else "",
        platform.release if platform else "",
        [
            (
                number,
                each.purl,
                each.name,
                each.version,
                each.source_name,
                each.source_version,
                ",".join(map(str, sbom.parents[number])) if sbom.parents else "",
            )
            for number, each in enumerate(sbom.components)
        ],
    )


def index_row(sbom: Sbom, source: str, key: str, digest: Digest) -> bytes:
    """Canonical JSON of a document's index row, without a newline."""
    platform = sbom.platform
    stated = timestamps.parse(sbom.published) if sbom.published else None
    return _ENCODER.encode(
        SbomIndexRow(
            components=len(sbom.components),
            digest=digest,
            form=sbom.form,
            id=sbom.id,
            key=key,
            packages=sorted({each.purl for each in sbom.components if each.purl}),
            platform=f"{platform.family} {platform.release}".strip() if platform else "",
            published=timestamps.render(stated) if stated else None,
            source=source,
        )
    )
