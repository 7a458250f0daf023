"""Places of the drivers `object` and `http` for the contract of targets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from stellaops.adapters.objects.directory import DirectoryArtefacts
from stellaops.adapters.objects.s3 import S3Artefacts, S3Place
from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.targets import http, object_store
from stellaops.adapters.targets.context import TargetContext
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy, networks
from stellaops.exports.distribution.ports import Delivery, Target
from stellaops.exports.ports import ArtefactStore
from tests.support import s3
from tests.support.targets import TENANT

LOOPBACK = EgressPolicy(networks(["127.0.0.0/8"]), frozenset({"127.0.0.1"}))


def context(directory: Path, *, web: WebSettings | None = None, **more: Any) -> TargetContext:
    """What targets on this machine work with; loopback may be reached without TLS."""
    told: dict[str, Any] = {
        "tenant": TENANT,
        "web": web or WebSettings(LOOPBACK),
        "artefacts": DirectoryArtefacts(directory / "kept"),
        "keys": None,
        "scratch": directory / "scratch",
        "now": lambda: datetime.now(UTC),
        **more,
    }
    return TargetContext(**told)


def key_file(directory: Path, bucket: s3.Bucket) -> Path:
    """A file with the key of a bucket, as AWS's tools have it."""
    file = directory / "objects.key"
    text = f"aws_access_key_id = {bucket.key.id}\naws_secret_access_key = {bucket.key.secret}\n"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return file


@dataclass
class ObjectPlace:
    """A prefix of a bucket on a real server.

    Attributes:
        url: of the server, or of what stands before it.
        more: settings of the target beside its place.
    """

    directory: Path
    bucket: s3.Bucket
    url: str = ""
    name: str = "edge"
    more: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    prefix: str = field(default_factory=lambda: uuid4().hex[:12])
    points: bool = True
    removes: bool = True

    def open(self) -> Target:
        server, _, name = self.bucket.url.rstrip("/").rpartition("/")
        values = {
            "store": f"s3://{name}/{self.prefix}/acme",
            "endpoint": self.url or server,
            "keyFile": str(key_file(self.directory, self.bucket)),
            **self.more,
        }
        settings = TargetSettings(self.name, "object", values)
        return object_store.open_target(self.name, settings, context(self.directory, **self.context))

    def prepare(self, delivery: Delivery) -> None:
        """Nothing has to be there."""


@dataclass
class HttpPlace:
    """A store of artefacts, in a bucket where there is one, else in a directory."""

    directory: Path
    bucket: s3.Bucket | None = None
    points: bool = False
    removes: bool = False
    prefix: str = field(default_factory=lambda: uuid4().hex[:12])

    @property
    def artefacts(self) -> ArtefactStore:
        if self.bucket is None:
            return DirectoryArtefacts(self.directory / "kept")
        server, _, name = self.bucket.url.rstrip("/").rpartition("/")
        place = S3Place(f"s3://{name}/{self.prefix}", "us-east-1", server, self.bucket.key, plain=True)
        return S3Artefacts(place, self.directory / "scratch")

    def open(self) -> Target:
        found = context(self.directory, artefacts=self.artefacts)
        return http.open_target("http", TargetSettings("http", "http"), found)

    def prepare(self, delivery: Delivery) -> None:
        """Publish it, as the run does before it is brought anywhere."""
        copy = self.directory / "publishing"
        shutil.copytree(delivery.root, copy)
        self.artefacts.put(delivery.archive, copy)
        shutil.rmtree(copy, ignore_errors=True)
