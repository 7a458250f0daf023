"""VEX repositories as `trivy --vex repo` reads them (specification 0.1): a manifest, and an archive of documents.

The archive holds one merged OpenVEX document a package and an index that finds it by package URL without version. A
reader of an OCI image asks under its `repository_url` too and then sees nothing but that document, so it holds what
is said of all repositories of that name as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, quote

import msgspec

from stellaops.bundles import gzip_tar, layout
from stellaops.bundles.content import members_digest
from stellaops.bundles.vex import openvex
from stellaops.bundles.vex.openvex import Author
from stellaops.bundles.vex.verdict import Verdict
from stellaops.core import digests, timestamps
from stellaops.core.digests import Digest
from stellaops.vex.products import package_of

MANIFEST = ".well-known/vex-repository.json"
ARCHIVE = "vex-repository.tar.gz"
INDEX = "index.json"
SPECIFICATION = "0.1"
FORMAT = "openvex"

_ENCODER = msgspec.json.Encoder()
_GO_DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+")
_URL = "repository_url"
_DOCUMENT = "vex.json"
# Types whose names are written in small letters in the package URLs of readers.
_LOWER = frozenset(
    ("alpm", "apk", "bitbucket", "bitnami", "composer", "deb", "github", "golang", "npm", "oci", "pypi")
)


class Writer:
    """An archive; the verdicts on a vulnerability are given together, vulnerabilities in ascending order.

    Attributes:
        left_out: verdicts on products without a package URL, and those that OpenVEX cannot carry.
    """

    def __init__(self, out: BinaryIO, scratch: BinaryIO, author: Author) -> None:
        self._out = out
        self._scratch = scratch
        self._author = author
        self._pieces: dict[str, list[tuple[int, int]]] = {}
        self._newest: dict[str, datetime] = {}
        self._tar_hasher = hashlib.sha256()
        self.left_out = 0
        self.statements = 0

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""
        by_id: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            identifier = package_id(verdict.subject.platform or verdict.subject.product)
            if identifier and openvex.can_carry(verdict):
                by_id.setdefault(identifier, []).append(verdict)
            else:
                self.left_out += 1
        for identifier, said in by_id.items():
            pieces = self._pieces.setdefault(identifier, [])
            for statement in openvex.statements(said):
                text = _ENCODER.encode(statement)
                pieces.append((self._scratch.tell(), len(text)))
                self._scratch.write(text)
                self.statements += 1
            newest = max(verdict.instant for verdict in said)
            self._newest[identifier] = max(newest, self._newest.get(identifier, newest))

    @property
    def packages(self) -> int:
        """How many packages there are documents about."""
        return len(self._pieces)

    def finish(self) -> Digest:
        """Write the archive; its content digest, by members."""
        self._scratch.flush()
        members: dict[str, Digest] = {}
        gzip_tar.write(self._out, self._tar(members))
        return members_digest(members)

    @property
    def tar_digest(self) -> Digest:
        """SHA-256 of the archive, unpacked, once it is finished."""
        return digests.of_hash(self._tar_hasher)

    def _tar(self, members: dict[str, Digest]) -> Iterator[bytes]:
        for piece in self._pieces_of_tar(members):
            self._tar_hasher.update(piece)
            yield piece

    def _pieces_of_tar(self, members: dict[str, Digest]) -> Iterator[bytes]:
        named = {location(identifier): identifier for identifier in self._pieces}
        for name in sorted((INDEX, *named)):
            data = self._index(named) if name == INDEX else self._document(named[name])
            members[name] = digests.sha256(data)
            yield gzip_tar.header(name, len(data)) + data + gzip_tar.padding(len(data))
        yield gzip_tar.END

    def _index(self, named: dict[str, str]) -> bytes:
        packages = [
            {"id": identifier, "location": name, "format": FORMAT}
            for name, identifier in sorted(named.items(), key=lambda pair: pair[1])
        ]
        updated = max(self._newest.values(), default=timestamps.EPOCH)
        return _lines({"updated_at": timestamps.render(updated)}, "packages", map(_ENCODER.encode, packages))

    def _document(self, identifier: str) -> bytes:
        bare = identifier.partition("?")[0]
        sources = (identifier,) if bare == identifier else (identifier, bare)
        statements = [self._read(piece) for each in sources for piece in self._pieces.get(each, ())]
        newest = max(self._newest[each] for each in sources if each in self._newest)
        digest = digests.sha256(b"\n".join(statements)).removeprefix(digests.PREFIX)
        return _lines(openvex.head(self._author, newest, digest), "statements", statements)

    def _read(self, piece: tuple[int, int]) -> bytes:
        self._scratch.seek(piece[0])
        return self._scratch.read(piece[1])


def _lines(head: dict[str, Any], name: str, items: Any) -> bytes:
    start = _ENCODER.encode(head)[:-1] + b',\n"%b": [\n' % name.encode()
    return start + b",\n".join(items) + b"\n]}\n"


def package_id(identity: str) -> str:
    """How readers ask for a product: its package URL without version, qualifiers and subpath; empty where none is.

    Of OCI images the repository belongs to the name.
    """
    if not identity.startswith("pkg:") or "/" not in identity:
        return ""
    bare = package_of(identity)
    kind, _, path = bare.removeprefix("pkg:").partition("/")
    if kind in _LOWER:
        path = _lower(path)
    asked = f"pkg:{kind}/{path}"
    if kind != "oci":
        return asked
    qualifiers = identity.partition("#")[0].partition("?")[2]
    url = dict(parse_qsl(qualifiers)).get(_URL, "")
    return f"{asked}?{_URL}={quote(url, safe='._~-')}" if url else asked


def location(identifier: str) -> str:
    """Where the document about a package lies in the archive; a name that every file system takes."""
    bare, _, qualifiers = identifier.removeprefix("pkg:").partition("?")
    url = dict(parse_qsl(qualifiers)).get(_URL, "")
    name = f"pkg/{bare}/{url}/repository.{_DOCUMENT}" if url else f"pkg/{bare}/{_DOCUMENT}"
    plain = len(name) <= gzip_tar.LONGEST_NAME and layout.is_portable(name) and name == name.lower()
    if plain and _DOCUMENT not in f"{bare}/{url}".split("/"):
        return name
    kind = bare.partition("/")[0]
    place = kind if layout.is_portable(kind) else "other"
    return f"pkg/{place}/{digests.content_id(identifier.encode())}.json"


def is_duration(text: str) -> bool:
    """Whether a text is a duration as Go writes it."""
    return _GO_DURATION.fullmatch(text) is not None


def manifest(author: Author, archive_url: str, update_interval: str) -> bytes:
    """The manifest that names the archive; a reader fetches it once and never again.

    Args:
        archive_url: absolute.
        update_interval: as Go writes durations, such as `24h`.

    Raises:
        ValueError: another form of duration.
    """
    if not is_duration(update_interval):
        raise ValueError(f"{update_interval!r} is no duration such as 24h or 90m")
    wire = {
        "name": author.name,
        "description": "Consensus of VEX statements, one document a package",
        "versions": [
            {
                "spec_version": SPECIFICATION,
                "locations": [{"url": archive_url}],
                "update_interval": update_interval,
            }
        ],
    }
    return msgspec.json.format(_ENCODER.encode(wire), indent=2) + b"\n"


def _lower(path: str) -> str:
    """Small letters, but for the two that follow a percent sign."""
    return re.sub(r"%[0-9a-f]{2}", lambda found: found[0].upper(), path.lower())
