"""One file, or several, at fixed addresses: documents, listings, archives. Only what changed is sent."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from stellaops.ingest.layouts.interface import (
    BadDefinition,
    PlainLayout,
    Plan,
    Planning,
    Situation,
    Want,
    check_options,
)
from stellaops.ingest.pull_model import Definition


class HttpFile(PlainLayout):
    """Files by name."""

    name = "http-file"
    options = {  # noqa: RUF012 - a constant of the class
        "files": "names of the files, relative to the URL, or absolute; the URL itself when left out",
        "as": "name of the only file, where the URL's own last part does not tell what it is (`x.tar.gz`)",
        "prefixes": "how the names of the source's documents begin; all when left out",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        files = _files(definition)
        paths = [path for _, path in files]
        if definition.options.get("as") and len(files) > 1:
            raise BadDefinition(f"source {definition.name!r}: option 'as' is for one file, not {len(files)}")
        if "" in paths or len(set(paths)) < len(paths):
            raise BadDefinition(
                f"source {definition.name!r}: files need names, and different ones",
                hint="Name them with --option as=NAME.",
            )

    def plan(self, situation: Situation) -> Planning:
        """See the interface. Conditional requests do the rest, so nothing is asked for."""
        wants = tuple(Want(url, path) for url, path in _files(situation.definition))
        return Plan(wants, full=True, complete=True, listed=len(wants))
        yield  # a generator that asks for no listing


def _files(definition: Definition) -> list[tuple[str, str]]:
    """URL and path of each file."""
    names = definition.options.get("files", [])
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        path = str(definition.options.get("as") or _last(definition.url))
        return [(definition.url, path)]
    base = definition.url if definition.url.endswith("/") else f"{definition.url}/"
    return [(urljoin(base, name), _relative(name)) for name in names]


def _relative(name: str) -> str:
    return _last(name) if "://" in name else unquote(name).lstrip("/")


def _last(url: str) -> str:
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
