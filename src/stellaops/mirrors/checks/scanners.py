"""What stock scanners pull: OSV's bucket layout, a registry with databases, a VEX repository."""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit

from msgspec import Struct

from stellaops.mirrors.checks.ports import Login, Question
from stellaops.mirrors.checks.visit import Visit

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DATABASES = ("trivy-db", "trivy-java-db")
_FEW = 3


class _Tags(Struct):
    name: str
    tags: list[str]


class _Descriptor(Struct, rename="camel"):
    media_type: str
    digest: str
    size: int


class _OciManifest(Struct, rename="camel"):
    schema_version: int
    config: _Descriptor
    layers: list[_Descriptor]


class _Location(Struct):
    url: str


class _Version(Struct):
    spec_version: str
    locations: list[_Location]
    update_interval: str


class _Repository(Struct):
    name: str
    versions: list[_Version]


def judge_osv(visit: Visit) -> None:
    """Judge the bucket layout: ecosystems, archives, and documents that the list of changes names."""
    base = f"/osv/{visit.domain}"
    seen = visit.get(f"{base}/ecosystems.txt")
    if seen.status == 404:
        visit.notes.skip(f"{base} is not there", "osv")
        return
    if not visit.notes.demand("osv", seen.status == 200, f"{base}/ecosystems.txt answers {seen.status}"):
        return
    for ecosystem in seen.body.decode("utf-8", "replace").split("\n")[:_FEW]:
        if not ecosystem:
            continue
        folder = f"{base}/{quote(ecosystem)}"
        changes = visit.get(f"{folder}/modified_id.csv")
        listed = visit.notes.demand(
            "osv", changes.status == 200, f"{folder}/modified_id.csv answers {changes.status}"
        )
        archive = visit.ask(Question(f"{folder}/all.zip", keep=4))
        packed = archive.status == 200 and archive.body[:2] == b"PK"
        visit.notes.demand("osv", packed, f"{folder}/all.zip is no archive")
        if not listed:
            continue
        for line in changes.body.decode("utf-8", "replace").split("\n")[:_FEW]:
            if line:
                _osv_document(visit, folder, line.rpartition(",")[2].strip())


def _osv_document(visit: Visit, folder: str, name: str) -> None:
    path = f"{folder}/{quote(name.rpartition('/')[2])}.json"
    seen = visit.get(path)
    try:
        right = seen.status == 200 and json.loads(seen.body).get("id") == name.rpartition("/")[2]
    except (ValueError, AttributeError, RecursionError):
        right = False
    visit.notes.demand("osv", right, f"{path} is not the document of {name[:80]}")


def judge_registry(visit: Visit) -> None:
    """Judge what a client of a registry asks for: the base, tags, a manifest by tag and by digest, its blobs."""
    found = [name for name in _DATABASES if visit.get(f"/v2/{visit.domain}/{name}/tags/list").status == 200]
    if not found:
        visit.notes.skip("there are no databases", "registry")
        return
    base, demand = visit.get("/v2/"), visit.notes.demand
    if visit.asker.has_login or base.status != 401:  # it may well ask for credentials of the other domains
        demand("registry", base.status == 200, f"/v2/ answers {base.status}")
        version = base.header("docker-distribution-api-version")
        demand("registry", version == "registry/2.0", "/v2/ has no Docker-Distribution-Api-Version")
    if visit.is_closed("/v2/"):
        stranger = visit.get("/v2/", Login.NONE)
        demand("registry", stranger.asks_for_password, f"/v2/ answers {stranger.status} without credentials")
    for name in found:
        _judge_repository(visit, f"/v2/{visit.domain}/{name}")


def _judge_repository(visit: Visit, base: str) -> None:
    demand = visit.notes.demand
    tags = visit.decoded("registry", f"{base}/tags/list", visit.get(f"{base}/tags/list"), _Tags)
    for tag in tags.tags[:_FEW] if tags else ():
        path = f"{base}/manifests/{tag}"
        seen = visit.get(path, accept=_MANIFEST)
        digest = f"sha256:{seen.sha256}"
        told = seen.header("docker-content-digest")
        demand("registry", told == digest, f"{path}: Docker-Content-Digest is {told[:80] or 'missing'}")
        again = visit.get(f"{base}/manifests/{digest}", accept=_MANIFEST)
        demand("registry", again.body == seen.body, f"{base}/manifests/{digest} is another manifest")
        manifest = visit.decoded("registry", path, seen, _OciManifest)
        for each in [manifest.config, *manifest.layers] if manifest else ():
            blob = f"{base}/blobs/{each.digest}"
            visit.same("registry", blob, visit.ask(Question(blob, keep=0)), each.digest, each.size)


def judge_vex_repository(visit: Visit) -> None:
    """Judge the manifest of a VEX repository, and the archive that it names."""
    base = f"/vex/{visit.domain}"
    path = f"{base}/.well-known/vex-repository.json"
    seen = visit.get(path)
    if seen.status == 404:
        visit.notes.skip(f"{base} is not there", "vex-repository")
        return
    told = visit.decoded("vex-repository", path, seen, _Repository)
    versions = told.versions if told else []
    if not visit.notes.demand("vex-repository", told is None or versions, f"{path} names no version"):
        return
    for each in (location for version in versions for location in version.locations):
        here = urlsplit(each.url)
        own = f"{here.scheme}://{here.netloc}" == visit.asker.place.rstrip("/")
        visit.notes.demand(
            "vex-repository", own, f"{path} leads to {each.url[:200]}, not to {visit.asker.place}"
        )
        if own:
            archive = visit.ask(Question(here.path, keep=2))
            packed = archive.status == 200 and archive.body == b"\x1f\x8b"
            visit.notes.demand("vex-repository", packed, f"{here.path} is no archive")
