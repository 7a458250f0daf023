"""VEX repositories (vex-repo-spec 0.1): a manifest that names an archive with all documents."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from stellaops.ingest.layouts.interface import (
    Answer,
    Ask,
    ListingUnusable,
    PlainLayout,
    Plan,
    Planning,
    Situation,
    Want,
    check_options,
)
from stellaops.ingest.pull_model import Definition
from stellaops.vex.documents import layout

_WELL_KNOWN = f".well-known/{layout.MANIFEST}"


class VexRepository(PlainLayout):
    """The archive that a manifest names; unchanged ones are not sent again."""

    name = "vex-repository"
    options = {  # noqa: RUF012 - a constant of the class
        "prefixes": "how the names of the source's documents begin; all when left out",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)

    def plan(self, situation: Situation) -> Planning:
        """See the interface. The URL is that of the manifest, or of the site that has it at its well-known place."""
        url = situation.definition.url
        if urlsplit(url).path.endswith(".json"):
            answer = yield Ask(url)
        else:
            base = url if url.endswith("/") else f"{url}/"
            answer = yield Ask(urljoin(base, _WELL_KNOWN), optional=True)
            if answer.missing:
                answer = yield Ask(urljoin(base, layout.MANIFEST))
        archive, folder = _archive(situation.definition, answer)
        want = Want(archive, _name(archive), inside=folder)
        return Plan((want,), full=True, complete=True, listed=1)


def _archive(definition: Definition, answer: Answer) -> tuple[str, str]:
    """The address of the archive, and the folder in it that is the repository."""
    try:
        url, folder = layout.archive(answer.content)
    except layout.BadRepository as error:
        raise ListingUnusable(f"source {definition.name!r}: {answer.url} {error}") from error
    return urljoin(answer.url, url), folder


def _name(archive: str) -> str:
    """The archive's name, from which its kind is told; Trivy reads `?archive=tar.gz` for an address without one."""
    address = urlsplit(archive)
    name = unquote(address.path.rstrip("/").rpartition("/")[2]) or "archive"
    kinds = parse_qs(address.query).get("archive", [""])
    return f"{name}.{kinds[0]}" if kinds[0] and not name.endswith(kinds[0]) else name
