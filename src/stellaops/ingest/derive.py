"""What is derived from a revision by pure functions of the document: when it enters, or when a release changes."""

from __future__ import annotations

from msgspec import Struct

from stellaops.advisories import aliases
from stellaops.advisories.advisory import Assessment
from stellaops.advisories.aliases import Link
from stellaops.advisories.databases import Database
from stellaops.advisories.index import DocumentId, index_row
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.ingest.feeds import Document
from stellaops.policy.overlay import Overlay
from stellaops.policy.overlay import index_row as overlay_index_row
from stellaops.sboms.component import Sbom
from stellaops.sboms.projection import SbomRows
from stellaops.sboms.projection import index_row as sbom_index_row
from stellaops.sboms.projection import rows as sbom_rows
from stellaops.vex.projection import VexRows
from stellaops.vex.projection import index_row as vex_index_row
from stellaops.vex.projection import rows as vex_rows
from stellaops.vex.statement import VexDocument


class Derived(Struct, frozen=True):
    """All rows that are derived from one revision.

    Attributes:
        index_row: canonical JSON of its index row.
        projection: its rows for Trivy databases.
        links: what it says about ids.
        vex: the rows of its statements; None for what makes none.
        sbom: the rows of its components; None for what lists none.
    """

    index_row: bytes
    projection: Projection = Projection()
    links: list[Link] = []
    vex: VexRows | None = None
    sbom: SbomRows | None = None


def derive(read: Document, database: Database, assessment: Assessment, place: DocumentId) -> Derived:
    """The rows of a revision."""
    if isinstance(read, VexDocument):
        row = vex_index_row(read, place.source, place.key, place.digest)
        return Derived(row, vex=vex_rows(read))
    if isinstance(read, Sbom):
        return Derived(sbom_index_row(read, place.source, place.key, place.digest), sbom=sbom_rows(read))
    if isinstance(read, Overlay):
        return Derived(overlay_index_row(read, place.source, place.key, place.digest))
    return Derived(
        index_row(read, place, assessment.highest),
        project(read, database, assessment),
        aliases.links(read, database),
    )
