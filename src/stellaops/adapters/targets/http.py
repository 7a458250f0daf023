"""The driver `http`: downloads from here. A bundle is there once it is published; which one is newest, the runs say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from stellaops.adapters.objects.paths import is_inside
from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.targets.context import TargetContext
from stellaops.core.errors import DependencyFailed
from stellaops.exports.distribution.ports import Delivered, Delivery, Kept, Target, Told
from stellaops.exports.errors import BundleGone, DistributionFailed
from stellaops.exports.ports import ArtefactStore
from stellaops.exports.run import Archive


def open_target(name: str, settings: TargetSettings, context: TargetContext) -> Target:
    """See `OpenTarget`."""
    del settings
    return HttpTarget(name, context.artefacts, context.scratch)


class HttpTarget:
    """`exports.distribution.ports.Target` on the store of artefacts itself.

    Args:
        scratch: a directory for intermediate files.
    """

    driver: ClassVar[str] = "http"

    def __init__(self, name: str, artefacts: ArtefactStore, scratch: Path) -> None:
        self._name, self._artefacts, self._scratch = name, artefacts, scratch

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    def check(self, options: Mapping[str, Any]) -> Sequence[str]:
        """See the port: there is nothing that a profile may say."""
        return [f"{option!r} is not a setting of the driver http" for option in sorted(options)]

    def deliver(self, delivery: Delivery, told: Told) -> Delivered:
        """See the port: publishing has brought it here; that it is whole is what is left to see."""
        del told
        there = {file.path: file.bytes for file in self._artefacts.files(delivery.archive)}
        lost = sorted(file.path for file in delivery.files if there.get(file.path) != file.bytes)
        if lost:
            raise DistributionFailed(
                f"{delivery.archive.archive_id} lacks {len(lost)} files, such as {lost[0]}",
                again=False,
                hint="Replay the run with `stella export run replay`: the same snapshot gives the same export.",
                details=lost[:100],
            )
        return Delivered(_reference(delivery.archive))

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        """See the port: `latest` is read off the records of runs."""

    def fetch(self, kept: Kept, into: Path) -> None:
        """See the port."""
        archive = _archive(kept.reference)
        if archive is None:
            raise DistributionFailed(f"{kept.reference!r} names no bundle", again=False)
        try:
            self._artefacts.copy(archive, into)
        except BundleGone as error:
            raise DistributionFailed(f"{error.what}", again=False) from error

    def newest(self, kept: Kept) -> str | None:
        """See the port: no name moves here."""

    def remove(self, kept: Kept) -> bool:
        """See the port: the bundle goes with its last run, never by itself."""
        del kept
        return False

    def probe(self) -> Mapping[str, Any]:
        """See the port: a bundle of one file comes, is read, and goes."""
        began, content = time.monotonic(), uuid4().bytes * 64
        archive = Archive(f"probe-{uuid4().hex[:12]}", "probe")
        root = self._scratch / archive.export_id
        root.mkdir(parents=True)
        (root / "probe").write_bytes(content)
        try:
            self._artefacts.put(archive, root)
            if b"".join(self._artefacts.read(archive, "probe")) != content:
                raise DistributionFailed("what was sent is not what is read")
        except DependencyFailed as error:
            if isinstance(error, DistributionFailed):
                raise
            raise DistributionFailed(f"{error.what}", hint=error.advice) from error
        finally:
            self._artefacts.delete(archive)
            (root / "probe").unlink(missing_ok=True)
            if root.is_dir():
                root.rmdir()
        return {
            "reference": _reference(archive),
            "seconds": round(time.monotonic() - began, 3),
            "remarks": [],
        }


def _reference(archive: Archive) -> str:
    """Names a bundle wherever the store of artefacts is."""
    return f"artefacts:{archive.export_id}/{archive.archive_id}"


def _archive(reference: str) -> Archive | None:
    place = reference.removeprefix("artefacts:")
    parts = place.split("/")
    if not reference.startswith("artefacts:") or len(parts) != 2 or not is_inside(place):
        return None
    return Archive(*parts)
