"""Names at a registry: where a repository is, and the tags that a bundle gets."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from stellaops.core.digests import PREFIX, Digest, parse
from stellaops.core.errors import InvalidInput

LATEST = "latest"
STATE = "latest.state"
"""The tag of what is kept about the moving ones: the sequence that they stand for."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LONGEST, _LONGEST_COMPONENT = 255, 63
_STANDARD = ("json:raw", "json:policy", "trivy:db", "trivy:java-db", "mirror:full", "mirror:delta")
_PLAIN = {name: name.replace(":", "-") for name in _STANDARD}
PROBE = "probe"
_TAKEN = frozenset((*_PLAIN.values(), PROBE))
_HUB, _HUB_SERVER = ("docker.io", "index.docker.io"), "registry-1.docker.io"


class BadRepository(InvalidInput):
    """A text that names no repository of a registry."""

    code = "ERR_OCI_REPOSITORY"
    hint = "Write `HOST[:PORT]/PATH`, with the path in lower case, as registry.example.org/stella/default."


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry.

    Attributes:
        registry: `host[:port]`, as users write it.
        path: inside it, lower case.
    """

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def server(self) -> str:
        """`host[:port]` that answers for the registry: Docker's own goes by another name than it is called by."""
        return _HUB_SERVER if self.registry in _HUB else self.registry

    def below(self, name: str) -> Repository:
        """The repository of a name inside this path.

        Raises:
            BadRepository: the name is no component of a path.
        """
        return repository(f"{self}/{name}")

    def at(self, digest: Digest) -> str:
        """What names one manifest in it for good."""
        return f"{self}@{digest}"


def repository(text: str) -> Repository:
    """Read `HOST[:PORT]/PATH`.

    Raises:
        BadRepository: it is something else.
    """
    registry, _, path = text.partition("/")
    if "://" in text or not _HOST.fullmatch(registry):
        raise BadRepository(f"{text[:120]!r} does not begin with a registry's host")
    if not _PATH.fullmatch(path) or len(text) > _LONGEST:
        raise BadRepository(f"{text[:120]!r}: {path[:100]!r} is no path of a repository")
    return Repository(registry, path)


def reference(text: str) -> tuple[Repository, Digest]:
    """Read `HOST[:PORT]/PATH@sha256:…`.

    Raises:
        BadRepository: it is something else.
    """
    name, _, digest = text.partition("@")
    try:
        return repository(name), parse(digest)
    except ValueError as error:
        raise BadRepository(f"{text[:200]!r} names no manifest by its digest") from error


def is_component(text: str) -> bool:
    """Whether a text can be one part of a repository's path."""
    return len(text) <= _LONGEST_COMPONENT and re.fullmatch(_COMPONENT, text) is not None


def component(profile: str) -> str:
    """The last part of the repository of a profile's bundles: `trivy:db` is `trivy-db`.

    No two profiles share one: a name that cannot stand as it is gets eight digits of its digest.
    """
    plain = _PLAIN.get(profile)
    if plain is not None:
        return plain
    if is_component(profile) and profile not in _TAKEN:
        return profile
    told = re.sub(r"[^a-z0-9]+", "-", profile.lower()).strip("-")[:40].strip("-")
    return f"{told}-{hashlib.sha256(profile.encode()).hexdigest()[:8]}".lstrip("-")


def export_tag(export_id: str, archive_id: str | None = None) -> str:
    """The tag of an export, or of one archive of it."""
    return export_id if archive_id is None else f"{export_id}-{archive_id}"


def bundle_tag(export_id: str, archive_id: str) -> str:
    """The tag of the whole bundle, where `export_tag` names the database in it."""
    return f"{export_tag(export_id, archive_id)}-bundle"


def date_tag(generated_at: datetime) -> str:
    """The tag of a day: `YYYYMMDD`."""
    return f"{generated_at:%Y%m%d}"


def moving_tags(generated_at: datetime, schema: str | None) -> tuple[str, ...]:
    """The tags that move to a newer bundle, in the order in which they are moved.

    Args:
        schema: number of the schema that scanners ask for; None where there is none.
    """
    return (date_tag(generated_at), *((schema,) if schema else ()), LATEST)


def fallback_tag(digest: Digest) -> str:
    """The tag of the index of what refers to a manifest, at registries without the referrers API."""
    return f"sha256-{digest.removeprefix(PREFIX)}"


def signature_tag(digest: Digest) -> str:
    """The tag under which cosign looks for signatures of a manifest."""
    return f"{fallback_tag(digest)}.sig"
