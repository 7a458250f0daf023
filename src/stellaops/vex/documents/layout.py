"""The layout of VEX repositories (vex-repo-spec 0.1): where their documents stand.

`vex-repository.json` names the archive; in the archive `index.json` names a document for each package.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from stellaops.csaf.values import objects, text

INDEX = "index.json"
MANIFEST = "vex-repository.json"
NO_DOCUMENTS = frozenset((INDEX, MANIFEST))
"""Names of files that describe a repository."""

_VERSION = "0.1"


class BadRepository(ValueError):
    """A description that says nothing usable; the message names what is wrong."""


class Entry(Struct, frozen=True):
    """What the index says of one package: its package URL without version, and where its document stands."""

    id: str
    location: str
    format: str = "openvex"


def entries(content: bytes) -> list[Entry]:
    """The packages of an index; what names none is left out.

    Raises:
        BadRepository: no JSON object.
    """
    found = (
        Entry(text(one, "id"), text(one, "location"), text(one, "format") or "openvex")
        for one in objects(_parsed(content), "packages")
    )
    return [entry for entry in found if entry.location]


def listed(path: str, content: bytes) -> frozenset[str]:
    """The paths of the documents that a file names, where it is an index of a repository."""
    folder, _, name = path.rpartition("/")
    if name != INDEX:
        return frozenset()
    try:
        found = entries(content)
    except BadRepository:
        return frozenset()
    return frozenset(f"{folder}/{entry.location}" if folder else entry.location for entry in found)


def archive(content: bytes) -> tuple[str, str]:
    """The archive that a manifest names, and the folder in it that is the repository.

    Raises:
        BadRepository: there is none of a version that is known here.
    """
    for version in objects(_parsed(content), "versions"):
        if text(version, "spec_version") == _VERSION:
            for location in objects(version, "locations"):
                url = text(location, "url")
                if url:
                    scheme, slashes, rest = url.partition("://")
                    path, _, folder = rest.partition("//")
                    return f"{scheme}{slashes}{path}", folder.strip("/")
    raise BadRepository(f"names no location for version {_VERSION} of the layout")


def _parsed(content: bytes) -> Any:
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRepository("is no JSON") from error
    if not isinstance(value, dict):
        raise BadRepository("is no JSON object")
    return value
