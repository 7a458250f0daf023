"""The places of mirrors that commands name: directories, buckets, registries, shares, and mirrors over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from stellaops.adapters.mirrors.bucket import MirrorBucket
from stellaops.adapters.mirrors.registry import MirrorRegistry, OciSource
from stellaops.adapters.mirrors.rsync_source import RsyncSource, is_share, share_of
from stellaops.adapters.mirrors.sources import BucketSource, DirectorySource, HttpSource
from stellaops.adapters.objects.s3_client import BucketPlace, S3Client
from stellaops.adapters.objects.s3_keys import key_source
from stellaops.adapters.oci.logins import Login, read_login
from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.transport import Transport
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.web.client import WebClient, WebSettings
from stellaops.adapters.web.credentials import Signer, user_and_password
from stellaops.bundles.oci import names
from stellaops.core.egress import AddressRefused, EgressPolicy, SchemeRefused, redacted, target_of
from stellaops.core.errors import InvalidInput
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.errors import SourceUnreachable
from stellaops.mirrors.ports import Bucket
from stellaops.mirrors.sync_ports import TreeSource

BUCKET, REGISTRY = "s3://", "oci://"

_CONNECTIONS = 16

_SCHEMES = (BUCKET, REGISTRY, "https://", "http://", "rsync://")


class UnknownSource(InvalidInput):
    """An address of a kind that mirrors are not synced from."""

    code = "ERR_MIRROR_SOURCE_UNKNOWN"
    hint = (
        "Name s3://BUCKET/PREFIX, https://HOST, oci://REGISTRY/REPOSITORY, rsync://HOST/MODULE/PATH, HOST:PATH for a "
        "host that ssh reaches, or a directory."
    )


Clock = Callable[[], datetime]


def open_copy(place: str, settings: Settings, web: WebSettings, now: Clock) -> Bucket | None:
    """Where trees are copied to once they are made: a bucket or a registry; None of a directory.

    No network is reached and no key is read yet.

    Raises:
        BadBucket, BadRepository: see there.
    """
    if place.startswith(BUCKET):
        return MirrorBucket(_client(place, settings, web, now))
    if place.startswith(REGISTRY):
        return MirrorRegistry(_registry(place, settings, web))
    return None


def _registry(
    address: str, settings: Settings, web: WebSettings, login: Authentication | None = None
) -> RegistryClient:
    repository = names.repository(address.removeprefix(REGISTRY).rstrip("/"))
    file = settings.get("mirror.dockerConfigFile")

    def found() -> Login | None:
        if login is not None:
            return Login(*user_and_password(login))
        return read_login(None if file is None else Path(file), repository)

    plain = _may_be_plain(web.policy, repository.server)
    return RegistryClient(Transport(web, connections=_CONNECTIONS), repository, found, plain=plain)


def _may_be_plain(policy: EgressPolicy, server: str) -> bool:
    """Whether a host is one that is reached without TLS; what else the policy says is asked with each request."""
    url = f"http://{server}/"
    try:
        replace(policy, offline=False).admit(url, (target_of(url).host,))
    except SchemeRefused:
        return False
    except AddressRefused:
        return True
    return True


def _client(address: str, settings: Settings, web: WebSettings, now: Clock) -> S3Client:
    keys, region = key_source(settings.get("mirror.keyFile")), settings.get("mirror.region")
    place = BucketPlace.of(address, settings.get("mirror.endpoint"), region or "us-east-1")
    return S3Client(place, lambda: keys(region), web, now)


def open_source(
    place: str, settings: Settings, web: WebSettings, now: Clock, login: Authentication | None = None
) -> TreeSource:
    """Where trees are synced from; no network is reached yet.

    Args:
        place: `s3://…`, `oci://…`, `https://…`, `rsync://…`, `HOST:PATH`, or a directory.
        login: to a mirror over HTTP, a registry or an rsync daemon.

    Raises:
        BadBucket, BadRepository, BadShare, NoRsync, UnknownSource: see there.
        SourceUnreachable: it is a directory that does not exist.
        StellaError: the policy does not let a share be gone to, or its credentials cannot be read.
    """
    if place.startswith(BUCKET):
        return BucketSource(_client(place, settings, web, now))
    if place.startswith(REGISTRY):
        return OciSource(_registry(place, settings, web, login))
    if place.startswith(("https://", "http://")):
        return HttpSource(place, WebClient(web), Signer(login, now).headers)
    if Path(place).is_dir():
        return DirectorySource(Path(place))
    scheme, mark, _ = place.partition("://")
    if mark and f"{scheme}{mark}" not in _SCHEMES:
        raise UnknownSource(f"{redacted(place)}: mirrors are not synced by {scheme}")
    if is_share(place):
        share = share_of(place, None if login is None else user_and_password(login))
        share.admit(web.policy)
        return RsyncSource(share)
    raise SourceUnreachable(f"{place} is no directory, and no address that mirrors are synced from")
