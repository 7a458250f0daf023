"""The layouts that this release can pull."""

from __future__ import annotations

from stellaops.ingest.layouts.csaf_provider import CsafProvider
from stellaops.ingest.layouts.http_directory import HttpDirectory
from stellaops.ingest.layouts.http_file import HttpFile
from stellaops.ingest.layouts.interface import BadDefinition, Layout
from stellaops.ingest.layouts.mirror import Mirror
from stellaops.ingest.layouts.osv_bucket import OsvBucket
from stellaops.ingest.layouts.s3 import S3
from stellaops.ingest.layouts.vex_repository import VexRepository

_ALL: tuple[Layout, ...] = (
    OsvBucket(), HttpFile(), HttpDirectory(), CsafProvider(), S3(), VexRepository(), Mirror(),
)  # fmt: skip

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ALL}


def layout_of(name: str) -> Layout:
    """The layout of a name.

    Raises:
        BadDefinition: this release has none.
    """
    if name not in LAYOUTS:
        raise BadDefinition(f"layout {name!r} is none of {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]
