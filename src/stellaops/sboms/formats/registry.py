"""The forms of bills of materials that can be read."""

from __future__ import annotations

from stellaops.sboms.formats.cyclonedx import CycloneDxForm
from stellaops.sboms.formats.interface import SbomForm
from stellaops.sboms.formats.spdx import SpdxForm

FORMS: tuple[SbomForm, ...] = (CycloneDxForm(), SpdxForm())
"""In the order in which they are asked."""
