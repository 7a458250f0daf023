"""The numbered requirements. A number keeps its meaning for ever: operators quote it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a requirement weighs: one MUST that is missed fails the mirror."""

    MUST = "MUST"
    SHOULD = "SHOULD"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a mirror owes to its readers.

    Attributes:
        name: short, for programs.
        text: completes "The mirror …".
    """

    number: int
    level: Level
    group: str
    name: str
    text: str


_M, _S = Level.MUST, Level.SHOULD
_TABLE = (
    ("TLS", (
        (_M, "https", "is reached by HTTPS, with a certificate that stock clients trust for its host name"),
        (_M, "tls-version", "speaks TLS 1.2 or later and nothing before"),
        (_S, "certificate-lasts", "has a certificate that is good for 14 days more"),
    )),
    ("Access", (
        (_M, "challenge", "answers 401 with a `Basic` challenge, without credentials, on every route of a domain"),
        (_M, "wrong-credentials", "answers 401 to a wrong password, and shows nothing"),
        (_M, "after-hit", "answers 401 without credentials also right after it gave the same path to somebody"),
        (_M, "refusals-not-kept", "marks every refusal `Cache-Control: no-store`"),
        (_S, "problems", "explains refusals as `application/problem+json` with a code"),
        (_M, "not-found", "answers 404 for what is not there"),
        (_M, "paths", "gives nothing more under dot segments, encoded slashes and paths that are encoded twice"),
        (_M, "methods", "takes GET and HEAD alone"),
        (_M, "insides", "shows no metrics and nothing of its inner routes to outsiders"),
        (_S, "server-version", "does not tell the version of its server"),
        (_S, "policy", "has an access policy at `/.well-known/api-policy.json`, which says what holds for the domain"),
    )),
    ("Concelier", (
        (_M, "index", "has `index.json` with id, export id, manifest, bundle and signatures of each domain"),
        (_M, "index-paths", "names paths with the export id in its index"),
        (_M, "manifest", "gives the manifest that the index describes: digest, size, domain, export id, bundle"),
        (_M, "bundle", "gives the bundle that index and manifest describe: digest, size, export id"),
        (_M, "signatures", "has signatures of manifest and bundle that hold (`.sig`, `.sigstore.json`)"),
        (_M, "jws", "has detached JWS of manifest and bundle that hold (`.jws`)"),
        (_M, "key", "gives out the public key that signed, which is one that the checker trusts"),
        (_M, "stable-names", "gives under stable names what the export has, and names the export"),
        (_M, "tree-list", "has a signed list of each side's files (`tree.json`)"),
        (_M, "tree-files", "gives every listed file as it was signed"),
    )),
    ("Freshness", (
        (_M, "freshness-signed", "has a freshness statement for each side, signed by the same key"),
        (_M, "freshness-holds", "states an export that is served, until an instant to come"),
        (_S, "freshness-recent", "had its statement renewed within a third of the time that it holds for"),
    )),
    ("Excititor", (
        (_M, "excititor-index", "has a signed index of VEX exports: key, format, digest, size and revision of each"),
        (_M, "excititor-exports", "gives each export as the index describes it, also under `/download`"),
        (_M, "excititor-signatures", "has signatures of each export that hold"),
    )),
    ("HTTP", (
        (_M, "etag", "has strong entity tags"),
        (_M, "conditional", "answers 304 without a body to `If-None-Match`"),
        (_M, "head", "answers HEAD as GET, without a body"),
        (_M, "range", "answers ranges with the right bytes, and 416 beyond the end"),
        (_M, "index-caching", "lets indexes, stable names and signatures be kept for 60 s at most"),
        (_M, "immutable-caching", "lets files of an export be kept for 300 s, as `immutable`"),
        (_M, "private", "tells caches that answers of closed domains differ by `Authorization`"),
        (_M, "encodings", "gives the same content in every content coding, each with an entity tag of its own"),
        (_S, "digests", "has `Repr-Digest` fields that are right"),
        (_S, "content-type", "has right media types, and forbids guessing them (`nosniff`)"),
        (_S, "cache-status", "tells in `X-Cache-Status` where an answer came from"),
    )),
    ("Scanners", (
        (_M, "osv", "has the layout of OSV's buckets where it has any of it"),
        (_M, "registry", "is a registry by the OCI distribution specification where it has databases"),
        (_M, "vex-repository", "is a VEX repository for Trivy where it has one"),
    )),
    ("Mirror hosts", (
        (_S, "archives", "has archives in its bucket that hold the listed documents beside them as they were signed"),
        (_S, "domain-list", "has in each side's signed list a list of the domains in force and of those given up"),
    )),
)  # fmt: skip


def _numbered() -> tuple[Requirement, ...]:
    rows = [(group, *row) for group, found in _TABLE for row in found]
    return tuple(
        Requirement(number, level, group, name, text)
        for number, (group, level, name, text) in enumerate(rows, 1)
    )


REQUIREMENTS = _numbered()
BY_NAME = {each.name: each for each in REQUIREMENTS}
