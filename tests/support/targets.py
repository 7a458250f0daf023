"""Deliveries to try targets with, and a target in memory that passes the same contract as the real ones."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from stellaops.exports.distribution.ports import Delivered, DeliveredFile, Delivery, Kept, Target, Told
from stellaops.exports.errors import DistributionFailed, TargetIsNewer, TargetNotFound
from stellaops.exports.run import Archive

TENANT = "acme"
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = bytes(range(256)) * 3_000


class Place(Protocol):
    """Somewhere that a target brings bundles to, made anew for each test.

    `points` says whether the target has names that move, `removes` whether it removes single bundles.
    """

    points: bool
    removes: bool

    def open(self) -> Target:
        """The target, opened as another process would."""

    def prepare(self, delivery: Delivery) -> None:
        """Called before the first delivery of a bundle, such as to put it where the target expects it."""


def delivery(directory: Path, number: int = 1, *, kind: str = "json:raw", profile: str = "raw") -> Delivery:
    """A small bundle, as far as targets look at one; those of different numbers share a file and differ in others."""
    root = directory / f"bundle-{profile.replace(':', '-')}-{number}"
    files = {
        "export.json": b'{"exportId":"export-%d"}' % number,
        "files.json": b'{"kind":"%s"}' % kind.encode(),
        "data/raw/advisories/00000.jsonl.zst": ROWS,
        "data/raw/advisories/00001.jsonl.zst": b"%d" % number * 70_000,
        "signatures/export.sig": b"signature-%d" % number,
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return Delivery(
        tenant=TENANT,
        profile=profile,
        kind=kind,
        archive=Archive(f"export-{number}", f"archive-{number}"),
        generated_at=MOMENT.replace(day=number),
        sequence=number * 10,
        root=root,
        files=measured(root),
    )


def signed_again(delivery: Delivery) -> Delivery:
    """The same bundle with another signature."""
    (delivery.root / "signatures/export.sig").write_bytes(b"another signature")
    return replace(delivery, files=measured(delivery.root))


def measured(root: Path) -> tuple[DeliveredFile, ...]:
    """The files of a bundle root."""
    return tuple(
        DeliveredFile(path, hashlib.sha256(content).hexdigest(), len(content))
        for path, content in sorted(contents(root).items())
    )


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def kept(delivery: Delivery, delivered: Delivered) -> Kept:
    """How the run's record names a delivery."""
    return Kept(
        delivery.tenant,
        delivery.profile,
        delivery.kind,
        delivery.archive,
        delivered.reference,
        delivery.options,
    )


def untold(event: str, data: Mapping[str, Any]) -> None:
    """For who does not care about progress."""


@dataclass
class FakePlace:
    """A place in memory.

    Attributes:
        bundles: by reference, the files that were brought.
        moving: by profile, the reference that `latest` names, and the sequence of its snapshot.
        said: what `deliver` raises before it does anything, one a call, in order.
        pause: is called in the middle of every delivery.
    """

    name: str = "fake"
    driver: str = "object"
    points: bool = True
    removes: bool = True
    bundles: dict[str, dict[str, bytes]] = field(default_factory=dict)
    moving: dict[str, tuple[str, int]] = field(default_factory=dict)
    moves: list[tuple[str, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    said: list[Exception] = field(default_factory=list)
    pause: Callable[[], None] = lambda: None

    def open(self) -> FakeTarget:
        return FakeTarget(self)

    def prepare(self, delivery: Delivery) -> None:
        """Nothing has to be there."""


@dataclass
class FakeTarget:
    """`exports.distribution.ports.Target` on a place in memory."""

    place: FakePlace

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def driver(self) -> str:
        return self.place.driver

    def check(self, options: Mapping[str, Any]) -> Sequence[str]:
        return [f"{name!r} is not a setting" for name in sorted(options) if name != "colour"]

    def deliver(self, delivery: Delivery, told: Told) -> Delivered:
        self.place.calls.append(delivery.archive.archive_id)
        if self.place.said:
            raise self.place.said.pop(0)
        reference = f"fake://{delivery.profile}/{delivery.archive.export_id}/{delivery.archive.archive_id}"
        there = dict(self.place.bundles.get(reference, {}))
        sent = 0
        for file in delivery.files:
            content = (delivery.root / file.path).read_bytes()
            if there.get(file.path) != content:
                sent += file.bytes
                told("sent", {"path": file.path, "bytes": file.bytes})
            there[file.path] = content
        self.place.pause()
        self.place.bundles[reference] = there
        return Delivered(reference, sent)

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        now = self.place.moving.get(delivery.profile)
        if now is not None and now[1] > delivery.sequence:
            raise TargetIsNewer("something newer is there already")
        self.place.moving[delivery.profile] = (delivered.reference, delivery.sequence)
        self.place.moves.append((delivered.reference, delivery.sequence))

    def fetch(self, kept: Kept, into: Path) -> None:
        found = self.place.bundles.get(kept.reference)
        if found is None:
            raise DistributionFailed(f"{kept.reference} is not there", again=False)
        for path, content in found.items():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(content)

    def newest(self, kept: Kept) -> str | None:
        now = self.place.moving.get(kept.profile)
        return now[0] if now else None

    def remove(self, kept: Kept) -> bool:
        if self.newest(kept) == kept.reference:
            return False
        self.place.bundles.pop(kept.reference, None)
        return True

    def probe(self) -> Mapping[str, Any]:
        if self.place.said:
            raise self.place.said.pop(0)
        return {"reference": "fake://probe", "seconds": 0.0, "remarks": []}


@dataclass
class FakeTargets:
    """`exports.distribution.ports.Targets` on places in memory."""

    places: dict[str, FakePlace] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    lost: bool = False
    _locks: dict[tuple[str, str], threading.Lock] = field(default_factory=dict)

    def add(self, name: str, **values: Any) -> FakePlace:
        place = self.places[name] = FakePlace(name, **values)
        return place

    def names(self, tenant: str) -> Sequence[str]:
        del tenant
        return ["http", *self.places]

    def target(self, tenant: str, name: str) -> Target:
        del tenant
        if name == "http":
            return FakePlace("http", "http").open()
        if name not in self.places:
            raise TargetNotFound(f"there is no target {name!r}")
        return self.places[name].open()

    @contextmanager
    def turn(self, name: str, tenant: str) -> Iterator[FakeTargets]:
        with self._locks.setdefault((name, tenant), threading.Lock()):
            self.held.append(name)
            yield self

    def demand(self) -> None:
        if self.lost:
            raise DistributionFailed("the turn was lost")
