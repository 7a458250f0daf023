"""The places of mirrors that commands name: directories and buckets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.objects.s3_keys import key_source
from stellaops.adapters.settings import Settings
from stellaops.adapters.web.client import WebSettings

BUCKET = "s3://"


def open_bucket(
    address: str, settings: Settings, web: WebSettings, now: Callable[[], datetime]
) -> MirrorBucket:
    """The bucket of an address; no network is reached and no key is read yet.

    Raises:
        BadBucket: see there.
    """
    keys, region = key_source(settings.get("mirror.keyFile")), settings.get("mirror.region")
    place = BucketPlace.of(address, settings.get("mirror.endpoint"), region or "us-east-1")
    return MirrorBucket(S3Client(place, lambda: keys(region), web, now))
