"""The driver `oci`: bundles as artefacts of an OCI registry, Trivy's databases as stock Trivy pulls them.

    <repository>/trivy-db      the database; tags 2, latest, YYYYMMDD, <exportId>; the whole bundle refers to it
    <repository>/<profile>     one layer for each file of the bundle root; tags latest, YYYYMMDD, <exportId>

Each manifest is signed with the tenant's key, in both forms that cosign knows. Blobs come first, then manifests and
signatures, then the tags of the content; the tags that move are `point`'s.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from stellaops.adapters.oci import downloads, signing
from stellaops.adapters.oci.logins import read_login
from stellaops.adapters.oci.registry import RegistryClient
from stellaops.adapters.oci.transport import Transport
from stellaops.adapters.oci.uploads import Content, upload
from stellaops.adapters.settings.targets import BadTarget, TargetSettings
from stellaops.adapters.targets.context import TargetContext
from stellaops.bundles import layout
from stellaops.bundles.oci import manifests, names
from stellaops.bundles.oci.manifests import BadManifest, Descriptor, Identity, Manifest, WireManifest
from stellaops.bundles.oci.names import BadRepository, Repository
from stellaops.core import digests, timestamps
from stellaops.core.digests import PREFIX, Digest
from stellaops.exports.distribution.ports import Delivered, DeliveredFile, Delivery, Kept, Target, Told
from stellaops.exports.errors import DistributionFailed, TargetIsNewer
from stellaops.exports.run import Archive
from stellaops.kit.disk import disk_errors
from stellaops.signing.ecdsa_p256 import PublicKey, load_public_keys

_AT_ONCE, _TICK = 4, 0.5
_DATABASES = {"trivy:db": (layout.TRIVY_DB, "2"), "trivy:java-db": (layout.TRIVY_JAVA_DB, "1")}
"""The file that Trivy pulls, and the number of its schema, by the kind of the bundle."""


def open_target(name: str, settings: TargetSettings, context: TargetContext) -> Target:
    """See `OpenTarget`."""
    try:
        repository = names.repository(settings.need("repository").rstrip("/"))
    except BadRepository as error:
        raise BadTarget(f"targets.{name}.repository: {error.what}", hint=error.advice) from error
    logins, ca_file = settings.get("dockerConfigFile"), settings.get("caFile")
    place = _Place(
        repository,
        None if logins is None else Path(logins),
        settings.is_on("plainHttp"),
        None if ca_file is None else Path(ca_file),
    )
    return OciTarget(name, place, context)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the settings say of a registry."""

    repository: Repository
    logins: Path | None
    plain: bool
    ca_file: Path | None


class OciTarget:
    """`exports.distribution.ports.Target` at a registry. The login is read again for each call."""

    driver: ClassVar[str] = "oci"

    def __init__(self, name: str, place: _Place, context: TargetContext) -> None:
        self._name, self._place, self._context = name, place, context

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    def check(self, options: Mapping[str, Any]) -> Sequence[str]:
        """See the port: a profile may choose the last part of its repository's name."""
        problems = [
            f"{key!r} is not a setting of the driver oci; there is name"
            for key in sorted(options)
            if key != "name"
        ]
        name = options.get("name")
        if name is not None and not (
            isinstance(name, str) and names.is_component(name) and name != names.PROBE
        ):
            problems.append(f"name: {name!r} is no last part of a repository's name, such as trivy-db")
        return problems

    def deliver(self, delivery: Delivery, told: Told) -> Delivered:
        """See the port."""
        with self._failures():
            return self._deliver(delivery, told)

    def _deliver(self, delivery: Delivery, told: Told) -> Delivered:
        registry = self._open(self._repository(delivery.profile, delivery.options))
        identity = _identity(delivery)
        layers = tuple(_layer(delivery.root, file) for file in delivery.files)
        database = _database(delivery.kind, layers)
        contents = [Content(layer, delivery.root / layer.annotations[manifests.TITLE]) for layer in layers]
        contents.append(_in_memory(identity.config(), manifests.BUNDLE_CONFIG))
        main = None if database is None else manifests.of_database(identity, database)
        if main is not None:
            contents.append(_in_memory(manifests.EMPTY, manifests.TRIVY_CONFIG))
        sent = _send(registry, contents, told)
        whole = manifests.of_bundle(identity, layers, None if main is None else main.descriptor())
        self._put(registry, main, whole, delivery)
        return Delivered(registry.repository.at((main or whole).digest), sent)

    def _put(
        self, registry: RegistryClient, main: Manifest | None, whole: Manifest, delivery: Delivery
    ) -> None:
        """Send the manifests, sign them, and let the names of the content name them."""
        signer, archive = self._context.keys.signer(self._context.tenant, delivery.key), delivery.archive
        if main is not None:
            _put_once(registry, main)
            signing.refer(registry, whole, main.digest)
            signing.sign(registry, main.descriptor(), signer)
        else:
            _put_once(registry, whole)
        signing.sign(registry, whole.descriptor(), signer)
        export, own = (
            names.export_tag(archive.export_id),
            names.export_tag(archive.export_id, archive.archive_id),
        )
        if main is not None:
            _tag(registry, whole, names.bundle_tag(archive.export_id, archive.archive_id))
        for tag in (own, export):
            _tag(registry, main or whole, tag)

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        """See the port. What the tags stand for is written down first, so that an older bundle finds it."""
        with self._failures():
            self._point(delivery, delivered)

    def _point(self, delivery: Delivery, delivered: Delivered) -> None:
        repository, digest = names.reference(delivered.reference)
        registry = self._open(repository)
        found = registry.manifest(digest)
        if found is None:
            raise DistributionFailed(f"{delivered.reference} is not there")
        self._demand_newer(registry, delivery)
        state = manifests.of_state(digest, delivery.sequence, delivery.generated_at)
        _send(registry, [_in_memory(manifests.EMPTY, manifests.EMPTY_TYPE)], _silent)
        before = registry.digest_of(names.STATE)
        _tag(registry, state, names.STATE)
        manifest = Manifest(found.content, found.digest, found.media_type or manifests.MANIFEST)
        for tag in names.moving_tags(delivery.generated_at, _schema(delivery.kind, found.content)):
            _tag(registry, manifest, tag)
        if before is not None and before != state.digest:
            registry.remove_manifest(before)

    def _demand_newer(self, registry: RegistryClient, delivery: Delivery) -> None:
        latest = registry.manifest(names.LATEST)
        if latest is None:
            return
        state, mine = _state(registry), (delivery.tenant, delivery.profile)
        theirs = _owner(latest.content)
        # The state is written before the tags: where it names a bundle of ours, others put this over our tag.
        if theirs != mine and (state is None or _owner_by(state, registry) != mine):
            raise _taken(registry.repository, theirs)
        if state is not None and manifests.is_behind(state, delivery.sequence, delivery.generated_at):
            raise TargetIsNewer(f"{registry.repository}: tag latest stands for a newer bundle")

    def fetch(self, kept: Kept, into: Path) -> None:
        """See the port."""
        repository, digest = self._kept(kept)
        registry = self._open(repository)
        with self._failures():
            files = self._bundle(registry, digest, kept.archive)
            signing.demand_signature(registry, digest, self._keys())
        with disk_errors(into):
            for folder in sorted({(into / path).parent for path in files}):
                folder.mkdir(parents=True, exist_ok=True)
        progress = _Progress(_silent, sum(blob.bytes for blob in files.values()))
        wanted = ((blob, into / path) for path, blob in sorted(files.items()))
        _at_once((partial(downloads.download, registry, *each, progress.add) for each in wanted), progress)

    def _bundle(self, registry: RegistryClient, digest: Digest, archive: Archive) -> dict[str, Descriptor]:
        """The files of a bundle; where users pull the database in it, of the bundle that refers to that."""
        named = _manifest(registry, digest)
        if named.config.media_type != manifests.TRIVY_CONFIG:
            return manifests.files_of(named)
        whole = _manifest(registry, names.bundle_tag(archive.export_id, archive.archive_id))
        files = manifests.files_of(whole)
        database = {layer.digest for layer in named.layers}
        if whole.subject is None or whole.subject.digest != digest:
            raise BadManifest(f"the bundle of archive {archive.archive_id} refers to another database")
        if not database <= {blob.digest for blob in files.values()}:
            raise BadManifest(f"the bundle of archive {archive.archive_id} does not hold the database")
        return files

    def newest(self, kept: Kept) -> str | None:
        """See the port."""
        registry = self._open(self._repository(kept.profile, kept.options))
        with self._failures():
            found = registry.digest_of(names.LATEST)
            if found is None:
                return None
            reference = registry.repository.at(found)
            if reference == kept.reference:
                _demand_together(registry, found, kept.kind)
            return reference

    def remove(self, kept: Kept) -> bool:
        """See the port. The blobs go when the registry itself collects what no manifest names."""
        with self._failures():
            return self._remove(kept)

    def _remove(self, kept: Kept) -> bool:
        repository, digest = self._kept(kept)
        registry = self._open(repository)
        schema = _DATABASES.get(kept.kind, ("", ""))[1]
        if any(registry.digest_of(tag) == digest for tag in (names.LATEST, schema) if tag):
            return False
        whole = registry.digest_of(names.bundle_tag(kept.archive.export_id, kept.archive.archive_id))
        gone = registry.remove_manifest(digest)
        for each in (digest, *(() if whole is None else (whole,))):
            if gone:
                signing.forget(registry, each)
        return gone and (whole is None or registry.remove_manifest(whole))

    def probe(self) -> Mapping[str, Any]:
        """See the port. Its repository stays, without manifests: registries have no request that removes one."""
        began = time.monotonic()
        registry = self._open(self._place.repository.below(names.PROBE))
        content = _in_memory(secrets.token_bytes(64), "application/octet-stream")
        config = _in_memory(manifests.EMPTY, manifests.EMPTY_TYPE)
        _send(registry, [content, config], _silent)
        manifest = manifests.build(config.blob, [content.blob], artifact_type=manifests.STATE)
        tag = f"{names.PROBE}-{secrets.token_hex(6)}"
        registry.put_manifest(manifest, tag)
        read = registry.manifest(tag)
        if read is None or read.content != manifest.content:
            raise DistributionFailed(f"{registry.repository}:{tag}: what was sent is not what is read")
        if downloads.small(registry, content.blob, 64) != content.source:
            raise DistributionFailed(f"{registry.repository}: the blob that was sent is not what is read")
        remarks = _remarks(registry, manifest.digest)
        return {
            "reference": registry.repository.at(manifest.digest),
            "seconds": round(time.monotonic() - began, 3),
            "remarks": remarks,
        }

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What a registry has and should not have, as a failure of the target."""
        try:
            yield
        except BadManifest as error:
            what = f"{error.what}"
            raise DistributionFailed(what, again=False, hint=error.advice) from error

    def _open(self, repository: Repository) -> RegistryClient:
        place = self._place
        transport = Transport(self._context.web, ca_file=place.ca_file, connections=2 * _AT_ONCE)
        return RegistryClient(
            transport, repository, lambda: read_login(place.logins, repository), plain=place.plain
        )

    def _repository(self, profile: str, options: Mapping[str, Any]) -> Repository:
        return self._place.repository.below(options.get("name") or names.component(profile))

    def _kept(self, kept: Kept) -> tuple[Repository, Digest]:
        """Where a bundle was brought to, which has to be inside of what the settings say at present."""
        try:
            repository, digest = names.reference(kept.reference)
        except BadRepository as error:
            raise DistributionFailed(f"{error.what}", again=False) from error
        if not str(repository).startswith(f"{self._place.repository}/"):
            what = f"{kept.reference} is not at {self._place.repository}, where the target is"
            raise DistributionFailed(f"{what}", again=False)
        return repository, digest

    def _keys(self) -> list[PublicKey]:
        pems, revoked = self._context.keys.trusted(self._context.tenant)
        keys = [key for pem in pems for key in load_public_keys(pem)]
        return [key for key in keys if key.key_id not in revoked]


def _identity(delivery: Delivery) -> Identity:
    return Identity(
        delivery.tenant,
        delivery.profile,
        delivery.kind,
        delivery.archive.export_id,
        delivery.archive.archive_id,
        delivery.generated_at,
    )


def _layer(root: Path, file: DeliveredFile) -> Descriptor:
    with disk_errors(root), (root / file.path).open("rb") as content:
        head = content.read(8)
    digest = digests.parse(f"{PREFIX}{file.sha256}")
    return Descriptor(manifests.media_type(file.path, head), digest, file.bytes, {manifests.TITLE: file.path})


def _database(kind: str, layers: Sequence[Descriptor]) -> Descriptor | None:
    """What stock Trivy is to pull; None where there is none, or where it is encrypted."""
    path, _ = _DATABASES.get(kind, ("", ""))
    known = (layout.TRIVY_DB_TYPE, layout.TRIVY_JAVA_DB_TYPE)
    found = (
        layer for layer in layers if layer.annotations[manifests.TITLE] == path and layer.media_type in known
    )
    return next(found, None)


def _schema(kind: str, manifest: bytes) -> str | None:
    config = manifests.parse(manifest).config.media_type
    return _DATABASES[kind][1] if kind in _DATABASES and config == manifests.TRIVY_CONFIG else None


def _owner(manifest: bytes) -> tuple[str | None, str | None]:
    """The tenant and the profile of a bundle; nothing where it is none of ours."""
    try:
        whose = manifests.parse(manifest).annotations
    except BadManifest:
        return None, None
    return whose.get(manifests.TENANT), whose.get(manifests.PROFILE)


def _state(registry: RegistryClient) -> WireManifest | None:
    """What is kept about the moving tags; None where nothing is, or something else lies there."""
    found = registry.manifest(names.STATE)
    try:
        return None if found is None else manifests.parse(found.content)
    except BadManifest:
        return None


def _owner_by(state: WireManifest, registry: RegistryClient) -> tuple[str | None, str | None]:
    """Whose bundle the moving tags were last moved to."""
    digest = manifests.stood_for(state)
    found = None if digest is None else registry.manifest(digest)
    return (None, None) if found is None else _owner(found.content)


def _taken(repository: Repository, theirs: tuple[str | None, str | None]) -> DistributionFailed:
    tenant, profile = theirs
    if profile is None:
        what = "tag latest stands for something that was never brought from here"
        hint = "Remove the tag at the registry if nobody needs it, or give the profile another name there."
    else:
        what = f"tag latest stands for a bundle of profile {profile!r} of tenant {tenant!r}"
        hint = "Give the profiles names of their own at the target, with `settings: {name: …}`."
    return DistributionFailed(f"{repository}: {what}", again=False, hint=hint)


def _demand_together(registry: RegistryClient, digest: Digest, kind: str) -> None:
    """See that every moving tag stands for the manifest that `latest` stands for.

    Raises:
        DistributionFailed: one does not.
    """
    found = registry.manifest(digest)
    content = b"" if found is None else found.content
    created = timestamps.parse(manifests.parse(content).annotations.get(manifests.CREATED, ""))
    if created is None:
        raise BadManifest(f"{registry.repository.at(digest)} states no date")
    there = {tag: registry.digest_of(tag) for tag in names.moving_tags(created, _schema(kind, content))}
    astray = [f"tag {tag} stands for {found or 'nothing'}" for tag, found in there.items() if found != digest]
    if astray:
        what = f"{registry.repository}: {', '.join(astray)}; latest stands for {digest}"
        raise DistributionFailed(what, again=False, hint="`stella export distribute` moves the tags again.")


def _in_memory(content: bytes, kind: str) -> Content:
    return Content(manifests.blob(content, kind), content)


def _silent(event: str, data: Mapping[str, Any]) -> None:
    """For what is too small to be told."""


class _Progress:
    """How many bytes went so far, told by the caller's own thread; who listens may end it by raising."""

    def __init__(self, told: Told, total: int) -> None:
        self._told, self._total = told, total
        self._guard = threading.Lock()
        self._heard = 0
        self.done = 0
        self.is_over = False

    def add(self, count: int) -> None:
        """Some bytes more, from any thread; ends what still sends when the delivery is over."""
        with self._guard:
            self.done += count
        if self.is_over:
            raise DistributionFailed("another file failed, or whoever asked has ended it")

    def tell(self) -> None:
        """Say how far it is, where that has changed."""
        if self.done != self._heard:
            self._heard = self.done
            self._told("sent", {"sent": self._heard, "bytes": self._total})


def _send(registry: RegistryClient, contents: Iterable[Content], told: Told) -> int:
    """Send the blobs that the registry does not have; the bytes that were sent."""
    wanted = {content.blob.digest: content for content in contents}.values()
    progress = _Progress(told, sum(content.blob.bytes for content in wanted))
    _at_once((partial(_send_one, registry, content, progress) for content in wanted), progress)
    return progress.done


def _send_one(registry: RegistryClient, content: Content, progress: _Progress) -> None:
    with disk_errors(Path()):
        if not registry.has(content.blob):
            upload(registry, content, progress.add)


def _at_once(tasks: Iterable[Callable[[], None]], progress: _Progress) -> None:
    """Do some tasks, a few at a time, in other threads; after a failure the others end as soon as they can."""
    left = iter(tasks)
    pool = ThreadPoolExecutor(_AT_ONCE)
    running = {pool.submit(task) for task in islice(left, 2 * _AT_ONCE)}
    try:
        while running:
            done, running = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            progress.tell()
            for future in done:
                future.result()
            running |= {pool.submit(task) for task in islice(left, len(done))}
    finally:
        progress.is_over = True
        pool.shutdown(cancel_futures=True)


def _put_once(registry: RegistryClient, manifest: Manifest) -> None:
    if registry.digest_of(manifest.digest) is None:
        registry.put_manifest(manifest)


def _tag(registry: RegistryClient, manifest: Manifest, tag: str) -> None:
    """Let a tag name a manifest; one that does is left, since some registries let tags be written only once."""
    if registry.digest_of(tag) != manifest.digest:
        registry.put_manifest(manifest, tag)


def _manifest(registry: RegistryClient, reference: str) -> WireManifest:
    found = registry.manifest(reference)
    if found is None:
        raise DistributionFailed(f"{registry.repository}: the manifest {reference} is not there", again=False)
    return manifests.parse(found.content)


def _remarks(registry: RegistryClient, digest: Digest) -> list[str]:
    """What an operator should know of a registry, with the probe's manifest, which goes."""
    _, kept = registry.referrers(digest)
    remarks = [] if kept else ["the registry keeps no index of referrers; the tag sha256-… stands in for it"]
    if not registry.remove_manifest(digest):
        remarks.append(
            "manifests cannot be removed here: retention leaves bundles, and the probe has left its own"
        )
    return remarks
