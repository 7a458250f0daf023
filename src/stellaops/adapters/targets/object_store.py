"""The driver `object`: bundles in a bucket of any S3-compatible store, for receivers who read there.

<prefix>/<exportId>/<archiveId>/…      the files of a bundle
<prefix>/<exportId>/<archiveId>.json   which files it has; written last, removed first: without it there is none
<prefix>/<profile>/latest.json         which bundle is the newest of a profile; moved by one conditional write
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import msgspec

from stellaops.adapters.objects.paths import is_inside
from stellaops.adapters.objects.s3_bucket import S3Bucket, Stored, Wanted
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client, S3Failed
from stellaops.adapters.objects.s3_keys import key_source
from stellaops.adapters.settings.targets import BadTarget, TargetSettings
from stellaops.adapters.targets.context import TargetContext
from stellaops.core import timestamps
from stellaops.core.errors import InvalidInput, MissingPrerequisite, NotPermitted, StellaError
from stellaops.exports.distribution.ports import Delivered, Delivery, Kept, Target, Told
from stellaops.exports.errors import DistributionFailed, TargetIsNewer
from stellaops.exports.run import Archive

_SCHEMA = "https://stellaops.io/export-center/latest/v1"
_LOCKS = ("governance", "compliance")
_MOVES = 5
"""How often a moving name is tried to be moved while others move it too."""
_FULL = frozenset(
    ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull",
     "BucketQuotaExceeded", "NoSpaceLeftOnDevice", "TooManyBuckets")
)  # fmt: skip
"""What servers say of a bucket that takes nothing more; AWS's own is never full."""
_EXPIRED = frozenset(("ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId"))


class TargetRefused(NotPermitted):
    """A target does not let us do what a delivery takes."""

    code = "ERR_EXPORT_TARGET_REFUSED"
    hint = "Check the secret in the file that the target's settings name, and what its holder may do there."


class TargetFull(MissingPrerequisite):
    """A target takes no more data."""

    code = "ERR_EXPORT_TARGET_FULL"
    hint = "Make room at the target, or raise its quota; then `stella export distribute` goes on where this ended."


class TargetClock(MissingPrerequisite):
    """The clock here and the one of a target are too far apart for signed requests."""

    code = "ERR_EXPORT_TARGET_CLOCK"
    hint = "Set the clock of the machine that is wrong, such as by NTP; then run `stella export distribute`."


class _File(msgspec.Struct, frozen=True):
    path: str
    sha256: str
    bytes: int


class _Listing(msgspec.Struct, frozen=True, rename="camel"):
    """The files of a bundle."""

    export_id: str
    archive_id: str
    kind: str
    files: tuple[_File, ...]


class _Latest(msgspec.Struct, frozen=True, rename="camel"):
    """Which bundle is the newest. Trust comes from the signatures in it, not from here."""

    schema: str
    profile: str
    kind: str
    export_id: str
    archive_id: str
    generated_at: str
    sequence: int
    path: str


@dataclass(frozen=True, slots=True)
class _Lock:
    """For how long what is sent cannot be removed."""

    mode: str
    days: int

    def headers(self, now: datetime) -> dict[str, str]:
        """What asks for it."""
        until = (now + timedelta(days=self.days)).astimezone(UTC)
        return {
            "x-amz-object-lock-mode": self.mode.upper(),
            "x-amz-object-lock-retain-until-date": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }


def open_target(name: str, settings: TargetSettings, context: TargetContext) -> Target:
    """See `OpenTarget`."""
    keys = key_source(settings.get("keyFile"))
    region, endpoint = settings.get("region"), settings.get("endpoint")
    if region is None and endpoint is None:
        raise BadTarget(
            f"targets.{name}.region is missing: without `endpoint` the bucket is one of AWS's own"
        )
    try:
        place = BucketPlace.of(settings.need("store"), endpoint, region or "us-east-1")
    except InvalidInput as error:
        raise BadTarget(f"targets.{name}: {error.what}") from error
    ca_file = settings.get("caFile")
    client = S3Client(
        place, lambda: keys(region), context.web, context.now, ca_file=Path(ca_file) if ca_file else None
    )
    return ObjectTarget(name, client, context.now, _lock(name, settings))


def _lock(name: str, settings: TargetSettings) -> _Lock | None:
    mode, days = settings.get("lock.mode"), settings.number("lock.days")
    if mode is None and days is None:
        return None
    if mode not in _LOCKS or days is None:
        raise BadTarget(f"targets.{name}.lock: `mode` ({' or '.join(_LOCKS)}) and `days` belong together")
    return _Lock(mode, days)


class ObjectTarget:
    """`exports.distribution.ports.Target` in a bucket."""

    driver: ClassVar[str] = "object"

    def __init__(
        self, name: str, client: S3Client, now: Callable[[], datetime], lock: _Lock | None = None
    ) -> None:
        self._name, self._client, self._lock = name, client, lock
        self._bucket = S3Bucket(client, locks=lambda: lock.headers(now()) if lock else {})

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    def check(self, options: Mapping[str, Any]) -> Sequence[str]:
        """See the port: there is nothing that a profile may say."""
        return [f"{option!r} is not a setting of the driver object" for option in sorted(options)]

    def deliver(self, delivery: Delivery, told: Told) -> Delivered:
        """See the port."""
        sent = 0

        def tell(size: int) -> None:
            nonlocal sent
            sent += size
            told("sent", {"sent": sent, "bytes": delivery.bytes})

        with self._failures():
            folder = _folder(delivery.archive)
            there = self._bucket.listed(folder)
            missing = [
                Wanted(folder + file.path, delivery.root / file.path, file.sha256, file.bytes)
                for file in delivery.files
                if not self._is_there(folder + file.path, file, there)
            ]
            self._bucket.send(missing, tell)
            self._list(delivery)
            # Of a bundle that was signed again: what it does not have any more.
            self._bucket.delete(there.keys() - {folder + file.path for file in delivery.files})
        return Delivered(self._reference(delivery.archive), sent)

    def _is_there(self, key: str, file: _File | Any, there: Mapping[str, Stored]) -> bool:
        known = there.get(key)
        if known is None or known.bytes != file.bytes:
            return False
        found = self._bucket.stat(key)
        return found is not None and (found.sha256, found.bytes) == (file.sha256, file.bytes)

    def _list(self, delivery: Delivery) -> None:
        archive, files = delivery.archive, tuple(_File(f.path, f.sha256, f.bytes) for f in delivery.files)
        listing = _Listing(archive.export_id, archive.archive_id, delivery.kind, files)
        body = msgspec.json.encode(listing)
        known = self._bucket.read(_listing_key(archive))
        if known is None or known[0] != body:
            self._bucket.put(_listing_key(archive), body)

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        """See the port."""
        archive, key = delivery.archive, _latest_key(delivery.profile)
        latest = _Latest(
            _SCHEMA, delivery.profile, delivery.kind, archive.export_id, archive.archive_id,
            timestamps.render(delivery.generated_at), delivery.sequence, _folder(archive),
        )  # fmt: skip
        body = msgspec.json.format(msgspec.json.encode(latest), indent=2) + b"\n"
        with self._failures():
            for _ in range(_MOVES):
                known = self._bucket.read(key)
                if known is not None and known[0] == body:
                    return
                if known is not None and _is_newer(self._latest(known[0], key), delivery):
                    raise TargetIsNewer(
                        f"{key} names a newer bundle than {delivered.reference}",
                        again=False,
                    )
                if self._bucket.write(key, body, over=known[1] if known else None):
                    return
        raise DistributionFailed(f"others change {key} all the time")

    def _latest(self, body: bytes, key: str) -> _Latest:
        try:
            return msgspec.json.decode(body, type=_Latest)
        except msgspec.DecodeError as error:
            raise DistributionFailed(
                f"{key} was not written by us: {error}", again=False,
                hint="Look at the object; remove it if nothing reads it, then run `stella export distribute`.",
            ) from error  # fmt: skip

    def fetch(self, kept: Kept, into: Path) -> None:
        """See the port."""
        archive = self._meant(kept)
        with self._failures():
            body = self._bucket.read(_listing_key(archive))
            if body is None:
                raise DistributionFailed(f"{kept.reference} is not there", again=False)
            listing = _listing_of(body[0], kept.reference)
            wanted = [
                Wanted(_folder(archive) + file.path, into / file.path, file.sha256, file.bytes)
                for file in listing.files
            ]
            for each in wanted:
                each.file.parent.mkdir(parents=True, exist_ok=True)
            damaged = sorted(each.key for each in self._bucket.fetch(wanted))
        if damaged:
            raise DistributionFailed(
                f"{len(damaged)} files are missing or not as they were sent, such as {damaged[0]}",
                again=False, details=damaged[:100],
            )  # fmt: skip

    def newest(self, kept: Kept) -> str | None:
        """See the port."""
        key = _latest_key(kept.profile)
        with self._failures():
            known = self._bucket.read(key)
            if known is None:
                return None
            latest = self._latest(known[0], key)
            return self._reference(Archive(latest.export_id, latest.archive_id))

    def remove(self, kept: Kept) -> bool:
        """See the port. False too where the bundle is locked."""
        archive = self._meant(kept)
        if self.newest(kept) == self._reference(archive):
            return False
        try:
            with self._failures():
                there = self._bucket.listed(_folder(archive))
                self._bucket.delete([_listing_key(archive)])
                self._bucket.delete(there)
        except TargetRefused:
            if self._lock is None:
                raise
            return False
        return True

    def probe(self) -> Mapping[str, Any]:
        """See the port."""
        key, content, began = f".probe-{uuid4().hex}", uuid4().bytes * 64, time.monotonic()
        remarks: list[str] = []
        with self._failures():
            if not self._bucket.write(key, content):
                raise DistributionFailed("an object of a fresh name is there already")
            try:
                found = self._bucket.read(key)
                if found is None or found[0] != content:
                    raise DistributionFailed("what was sent is not what is read")
                if self._bucket.write(key, content):
                    remarks.append("conditional writes are not kept to: nothing else may write to this place")
            finally:
                self._bucket.delete([key])
            if self._lock and not self._locks():
                remarks.append("the bucket locks nothing: it was made without object lock")
        reference = f"{self._client.place.address}/{key}"
        return {"reference": reference, "seconds": round(time.monotonic() - began, 3), "remarks": remarks}

    def _locks(self) -> bool:
        reply = self._client.request("GET", query={"object-lock": ""}, allowed=(400, 404, 501))
        return reply.status == 200 and reply.xml().told("ObjectLockEnabled") == "Enabled"

    def _meant(self, kept: Kept) -> Archive:
        """The archive that a reference names.

        Raises:
            DistributionFailed: it lies somewhere else than the target is.
        """
        head = f"{self._client.place.address}/"
        parts = kept.reference.removeprefix(head).rstrip("/").split("/")
        if not kept.reference.startswith(head) or len(parts) != 2 or not is_inside("/".join(parts)):
            raise DistributionFailed(f"{kept.reference} is not there", again=False)
        return Archive(*parts)

    def _reference(self, archive: Archive) -> str:
        return f"{self._client.place.address}/{_folder(archive)}"

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except S3Failed as failure:
            raise _told(failure) from failure


def _told(failure: S3Failed) -> StellaError:
    """A failure of the store in the words of targets."""
    what = f"{failure.what}"
    if failure.code == "RequestTimeTooSkewed":
        return TargetClock(what)
    if failure.code in _FULL or failure.status == 507:
        return TargetFull(what)
    if failure.code in _EXPIRED:
        return TargetRefused(
            what, hint="Renew the access key in the target's `keyFile`; it is read at every request."
        )
    if failure.status in (401, 403):
        return TargetRefused(what)
    if failure.code == "Tls":
        hint = "For a certificate of your own authority name its file in the target's `caFile`."
        return DistributionFailed(what, again=False, hint=hint)
    return DistributionFailed(what, retry_after=failure.retry_after, again=failure.passing)


def _is_newer(latest: _Latest, delivery: Delivery) -> bool:
    """By sequence and content: the one begins anew with the installation, the other may go back by itself."""
    stated = timestamps.parse(latest.generated_at)
    return latest.sequence > delivery.sequence and (stated is None or stated > delivery.generated_at)


def _listing_of(body: bytes, reference: str) -> _Listing:
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except msgspec.DecodeError as error:
        raise DistributionFailed(f"the list of {reference} is damaged", again=False) from error
    if not all(is_inside(file.path) for file in listing.files):
        raise DistributionFailed(f"the list of {reference} names a strange path", again=False)
    return listing


def _folder(archive: Archive) -> str:
    return f"{archive.export_id}/{archive.archive_id}/"


def _listing_key(archive: Archive) -> str:
    return f"{archive.export_id}/{archive.archive_id}.json"


def _latest_key(profile: str) -> str:
    return f"{profile}/latest.json"
