"""Package URLs taken apart, leniently: what tools write is not always what the specification asks for."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

from msgspec import Struct

_LONGEST = 4096
_SAFE = "._~-"


class Purl(Struct, frozen=True):
    """The parts of a package URL, decoded.

    Attributes:
        kind: the type, in lower case.
        namespace: its segments joined by slashes; empty where there is none.
        qualifiers: sorted by name.
    """

    kind: str
    namespace: str
    name: str
    version: str = ""
    qualifiers: tuple[tuple[str, str], ...] = ()
    subpath: str = ""

    @property
    def full_name(self) -> str:
        """Namespace and name joined by a slash."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def package(self) -> str:
        """The package URL without version, qualifiers and subpath."""
        return f"pkg:{self.kind}/{quote(self.full_name, safe='/' + _SAFE)}"

    def qualifier(self, name: str) -> str:
        """The value of a qualifier; empty where there is none."""
        return next((value for key, value in self.qualifiers if key == name), "")

    def __str__(self) -> str:
        """The canonical spelling."""
        version = f"@{quote(self.version, safe=':+' + _SAFE)}" if self.version else ""
        pairs = "&".join(f"{name}={quote(value, safe=':/' + _SAFE)}" for name, value in self.qualifiers)
        inside = f"#{quote(self.subpath, safe='/' + _SAFE)}" if self.subpath else ""
        return f"{self.package}{version}{'?' + pairs if pairs else ''}{inside}"


@lru_cache(maxsize=50_000)
def parse(text: str) -> Purl | None:
    """The parts of a package URL; None for what is none."""
    if len(text) > _LONGEST or text[:4].lower() != "pkg:":
        return None
    rest, _, subpath = text[4:].lstrip("/").partition("#")
    rest, _, query = rest.partition("?")
    kind, _, path = rest.partition("/")
    head, at, tail = path.rpartition("@")
    # A scope such as `@angular` stands before a slash; a version never holds one.
    versioned = bool(at) and "/" not in tail and bool(head) and not head.endswith("/")
    names = [unquote(part) for part in (head if versioned else path).split("/") if part]
    if not kind or not names:
        return None
    pairs = (pair.partition("=") for pair in query.split("&"))
    return Purl(
        kind.lower(),
        "/".join(names[:-1]),
        names[-1],
        unquote(tail) if versioned else "",
        tuple(sorted((name.lower(), unquote(value)) for name, _, value in pairs if name and value)),
        "/".join(unquote(part) for part in subpath.split("/") if part not in ("", ".", "..")),
    )
