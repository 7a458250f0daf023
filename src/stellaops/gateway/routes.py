"""What a path asks for. Pure: a path in, a wish out; nothing is looked up.

Every route names the domain it is about, so that who may read it is known before anything is opened. A path that is
no route is None, and looks to everybody like a file that is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import unquote_to_bytes

from stellaops.adapters.settings.mirrors import DOMAIN_ID

LONGEST = 1024
"""Bytes of the longest path that is looked at."""
STABLE_SECONDS = 60
IMMUTABLE_SECONDS = 300
REPOSITORIES = ("trivy-db", "trivy-java-db")
AREAS = ("mirror", "oci", "osv", "vex")
"""What an export holds: in each a directory for each domain."""
VEX_MANIFEST = ".well-known/vex-repository.json"

_EXPORT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,127}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SIGNATURES = (".sig", ".jws", ".sigstore.json")


class Kind(Enum):
    """How a wish is answered."""

    FILE = "a file of an export"
    SIDE_FILE = "a file beside the exports"
    INDEX = "Concelier's index, as the caller may see it"
    EXPORT = "an export of Excititor, by its key"
    OCI_BASE = "whether there is a registry"
    OCI_MANIFEST = "a manifest, by tag or digest"
    OCI_BLOB = "a blob, by digest"
    OCI_TAGS = "the tags of a repository"
    OCI_REFERRERS = "what refers to a manifest"
    VEX_MANIFEST = "the manifest of a VEX repository"
    KEY = "the public key of a domain"
    POLICY = "the access policy"


class Budget(Enum):
    """Which hourly budget a request is counted in."""

    INDEX = "index"
    DOWNLOAD = "download"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a path asks for.

    Attributes:
        side: `concelier`, `excititor`, or empty where it is about the host.
        domain: None where it is about every domain, or the one of the host name.
        export: an export id; None for the one that is active.
        path: below the export's directory, or below the side's; a key, a tag or a digest for the other kinds.
        repository: of `/v2/`.
        seconds: how long an answer may be kept.
        immutable: whether the path never means anything else.
    """

    kind: Kind
    side: str
    domain: str | None
    path: str = ""
    export: str | None = None
    budget: Budget = Budget.DOWNLOAD
    seconds: int = STABLE_SECONDS
    immutable: bool = False
    repository: str = ""


def segments(raw: bytes) -> tuple[str, ...] | None:
    """The parts of a path, decoded once; None for a path that no file of ours can have.

    Encoded slashes, backslashes, dots and control characters do not come through, nor does what is still encoded
    after one decoding: a proxy in front may have read it otherwise.
    """
    if not raw.startswith(b"/") or len(raw) > LONGEST:
        return None
    found = []
    for part in raw[1:].split(b"/"):
        decoded = unquote_to_bytes(part) if b"%" in part else part
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if text in (".", "..") or "%" in text or "/" in text or "\\" in text or not text.isprintable():
            return None
        found.append(text)
    return tuple(found)


def parse(raw: bytes) -> Wish | None:
    """What a path asks for; None where there is no such route."""
    parts = segments(raw)
    if parts is None or "" in parts[:-1]:
        return None
    reader = _ROUTES.get(parts[0])
    return reader(parts[1:]) if reader is not None else None


def _concelier(parts: tuple[str, ...]) -> Wish | None:
    match parts:
        case ("exports", "index.json"):
            return Wish(Kind.INDEX, "concelier", None, budget=Budget.INDEX)
        case ("exports", export, "index.json") if _is_id(export):
            return Wish(Kind.INDEX, "concelier", None, export=export, budget=Budget.INDEX)
        case ("exports", "mirror", domain, *rest):
            return _file("concelier", None, ("mirror", domain, *rest))
    return _export("concelier", parts)


def _excititor(parts: tuple[str, ...]) -> Wish | None:
    match parts:
        case ("mirror", domain, "index" | "index.json"):
            path = f"mirror/{domain}/index.json"
            return _of(domain, Wish(Kind.FILE, "excititor", domain, path, budget=Budget.INDEX))
        case ("mirror", domain, "exports", key) | ("mirror", domain, "exports", key, "download"):
            return _of(domain, Wish(Kind.EXPORT, "excititor", domain, key)) if _KEY.fullmatch(key) else None
        case ("mirror", domain, *rest):
            return _file("excititor", None, ("mirror", domain, *rest))
    return _export("excititor", parts)


def _export(side: str, parts: tuple[str, ...]) -> Wish | None:
    """Whatever lies under an export's id, and the freshness statements beside the exports."""
    match parts:
        case ("exports", "freshness", name):
            domain = name.partition(".")[0]
            return _of(domain, Wish(Kind.SIDE_FILE, side, domain, f"freshness/{name}", budget=Budget.INDEX))
        case ("exports", export, area, _, *_) if area in AREAS and _is_id(export):
            return _file(side, export, parts[2:])
    return None


def _file(side: str, export: str | None, parts: tuple[str, ...]) -> Wish | None:
    if len(parts) < 3 or "" in parts:
        return None
    signature = parts[-1].endswith(_SIGNATURES)  # a rotation signs kept exports anew
    immutable = export is not None and not signature
    seconds = IMMUTABLE_SECONDS if immutable else STABLE_SECONDS
    wish = Wish(Kind.FILE, side, parts[1], "/".join(parts), export, seconds=seconds, immutable=immutable)
    return _of(parts[1], wish)


def _osv(parts: tuple[str, ...]) -> Wish | None:
    if len(parts) < 2 or "" in parts:
        return None
    return _of(parts[0], Wish(Kind.FILE, "concelier", parts[0], "/".join(("osv", *parts))))


def _vex(parts: tuple[str, ...]) -> Wish | None:
    if len(parts) < 2 or "" in parts:
        return None
    domain, path = parts[0], "/".join(parts[1:])
    if path == VEX_MANIFEST:
        return _of(domain, Wish(Kind.VEX_MANIFEST, "excititor", domain, path, budget=Budget.INDEX))
    return _of(domain, Wish(Kind.FILE, "excititor", domain, f"vex/{domain}/{path}"))


def _well_known(parts: tuple[str, ...]) -> Wish | None:
    match parts:
        case ("api-policy.json",):
            return Wish(Kind.POLICY, "", None, budget=Budget.FREE)
        case ("vex-repository.json",):
            return Wish(Kind.VEX_MANIFEST, "excititor", None, VEX_MANIFEST, budget=Budget.INDEX)
    return None


def _key(parts: tuple[str, ...]) -> Wish | None:
    return Wish(Kind.KEY, "", None, "mirror-key.pub") if not parts else None


def _registry(parts: tuple[str, ...]) -> Wish | None:
    if parts in ((), ("",)):
        return Wish(Kind.OCI_BASE, "concelier", None, budget=Budget.FREE)
    if len(parts) != 4 or parts[1] not in REPOSITORIES:
        return None
    domain, repository, area, name = parts
    kind, form = _REGISTRY.get(area, (None, None))
    if kind is None or form is None or not form.fullmatch(name):
        return None
    wish = Wish(kind, "concelier", domain, name, budget=Budget.INDEX, repository=repository)
    if area in ("manifests", "blobs") and _DIGEST.fullmatch(name):
        wish = replace(wish, budget=Budget.DOWNLOAD, seconds=IMMUTABLE_SECONDS, immutable=True)
    return _of(domain, wish)


_REGISTRY = {
    "manifests": (Kind.OCI_MANIFEST, re.compile(f"{_DIGEST.pattern}|{_TAG.pattern}")),
    "blobs": (Kind.OCI_BLOB, _DIGEST),
    "tags": (Kind.OCI_TAGS, re.compile("list")),
    "referrers": (Kind.OCI_REFERRERS, _DIGEST),
}


def _of(domain: str, wish: Wish) -> Wish | None:
    return wish if DOMAIN_ID.fullmatch(domain) else None


def _is_id(text: str) -> bool:
    return _EXPORT_ID.fullmatch(text) is not None


_ROUTES = {
    "concelier": _concelier,
    "excititor": _excititor,
    "osv": _osv,
    "vex": _vex,
    "v2": _registry,
    ".well-known": _well_known,
    "mirror-key.pub": _key,
}
