"""The forms of VEX that can be imported, by name."""

from __future__ import annotations

from stellaops.advisories.documents.interface import Form
from stellaops.vex.documents.csaf import CsafVexFeed
from stellaops.vex.documents.cyclonedx import CycloneDxFeed
from stellaops.vex.documents.openvex import OpenVexFeed
from stellaops.vex.statement import VexDocument

FEEDS: dict[str, Form[VexDocument]] = {
    feed.name: feed for feed in (OpenVexFeed(), CsafVexFeed(), CycloneDxFeed())
}
"""In the order in which they are asked whether a file is of their form."""
