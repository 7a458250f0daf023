"""The places of mirrors that commands name: directories and buckets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.sources import BucketSource, DirectorySource, HttpSource
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.objects.s3_keys import key_source
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.adapters.web.credentials import Signer
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.errors import SourceUnreachable
from stellaops.mirrors.sync_ports import TreeSource

BUCKET = "s3://"


Clock = Callable[[], datetime]


def open_bucket(address: str, settings: Settings, web: WebSettings, now: Clock) -> MirrorBucket:
    """The bucket of an address; no network is reached and no key is read yet.

    Raises:
        BadBucket: see there.
    """
    return MirrorBucket(_client(address, settings, web, now))


def _client(address: str, settings: Settings, web: WebSettings, now: Clock) -> S3Client:
    keys, region = key_source(settings.get("mirror.keyFile")), settings.get("mirror.region")
    place = BucketPlace.of(address, settings.get("mirror.endpoint"), region or "us-east-1")
    return S3Client(place, lambda: keys(region), web, now)


def open_source(
    place: str, settings: Settings, web: WebSettings, now: Clock, login: Authentication | None = None
) -> TreeSource:
    """Where trees are synced from: `s3://…`, `https://…`, or a directory; no network is reached yet.

    Args:
        login: to a mirror that is reached over HTTP.

    Raises:
        BadBucket: see there.
        SourceUnreachable: it is a directory that does not exist.
    """
    if place.startswith(BUCKET):
        return BucketSource(_client(place, settings, web, now))
    if place.startswith(("https://", "http://")):
        return HttpSource(place, WebClient(web), Signer(login, now).headers)
    if not Path(place).is_dir():
        raise SourceUnreachable(f"{place} is no directory")
    return DirectorySource(Path(place))
