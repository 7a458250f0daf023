"""Domains of mirrors, and what publishes them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from stellaops.adapters.mirrors.directory import MirrorDirectory
from stellaops.adapters.mirrors.opening import open_copy
from stellaops.adapters.sql.mirrors import SqlDomains, SqlPublications
from stellaops.bootstrap import clock
from stellaops.bootstrap.exports import Exports
from stellaops.mirrors.ports import Bucket
from stellaops.mirrors.publish import PublishTools


class Mirrors(Exports):
    """Domains of mirrors, and what publishes them."""

    @cached_property
    def mirror_domains(self) -> SqlDomains:
        """Domains of mirrors."""
        return SqlDomains(self.service_engine, clock.now)

    @cached_property
    def mirror_publications(self) -> SqlPublications:
        """What was published where."""
        return SqlPublications(self.service_engine)

    def mirror_places(self, place: str | None) -> tuple[MirrorDirectory, list[Bucket]]:
        """Where mirrors are made, and where they are copied to.

        Args:
            place: a directory, `s3://…` or `oci://…`; `mirrors` in the data directory when None.
        """
        own = MirrorDirectory(self.data_dir / "mirrors")
        if place is None:
            return own, []
        copy = open_copy(place, self.settings, self.web_settings, clock.now)
        return (MirrorDirectory(Path(place)), []) if copy is None else (own, [copy])

    @property
    def publish_tools(self) -> PublishTools:
        """What mirrors are published with."""
        return PublishTools(self.export_tools, self.mirror_domains, self.mirror_publications)
