"""The real OSV documents of `shared/data/advisories`, where that folder stands beside the checkout."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import msgspec

_JSON = ("almalinux-osv", "bitnami-osv", "cleanstart-osv", "govuln-osv", "julia-osv")
_DATE_AND_TIME = (1980, 1, 1, 0, 0, 0)


def archives() -> dict[str, Path]:
    """The archives by source name; another folder than the one beside the checkout is named by STELLA_BENCH_SHARED."""
    root = Path(os.environ.get("STELLA_BENCH_SHARED") or Path(__file__).parents[2] / "shared")
    found = [*root.glob("data/advisories/*-osv/all.zip"), *root.glob("data/advisories/ghsa-sample/all.zip")]
    return {path.parent.name: path for path in sorted(found)}


def json_archives() -> dict[str, Path]:
    """Those of sources with a thousand JSON documents and more."""
    return {name: path for name, path in archives().items() if name in _JSON}


def write_repeated(path: Path, source: Path, count: int) -> int:
    """An archive of `count` documents of a source's, again and again under other ids; how many bytes they have.

    So what an import costs before the first document and after the last does not count.
    """
    with zipfile.ZipFile(source) as archive:
        contents = [archive.read(name) for name in archive.namelist() if name.endswith(".json")]
    total = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as repeated:
        for number in range(count):
            turn, place = divmod(number, len(contents))
            content = _renamed(contents[place], f"-{turn}") if turn else contents[place]
            repeated.writestr(
                zipfile.ZipInfo(f"{turn}/{place}.json", _DATE_AND_TIME), content, zipfile.ZIP_DEFLATED
            )
            total += len(content)
    return total


class _Named(msgspec.Struct):
    id: str


def _renamed(content: bytes, ending: str) -> bytes:
    name = msgspec.json.encode(msgspec.json.decode(content, type=_Named).id)
    place = content.index(name, content.index(b'"id"')) + len(name) - 1
    return content[:place] + ending.encode() + content[place:]
