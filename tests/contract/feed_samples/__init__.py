"""What each feed must be able to take: one module a feed, named as the feed with `_` for `-`.

A module holds small documents about real vulnerabilities, in the form of the upstream:

    SAMPLE: dict[str, bytes | str]     files by path, all of the feed's form
    EXPECTED_KEYS: Sequence[str]       the keys that an import of all of them leaves, in any order
    BROKEN: dict[str, tuple[bytes | str, str]]
                                       files of which one record goes to quarantine, each with its reason
    SHARED: tuple[str, int, int] | None
                                       folder under `shared/data/advisories`, the least number of documents that its
                                       import leaves, the exact number in quarantine

and may hold

    COUNTS: dict[str, int]             fields of the report on that folder's import, exactly
    QUIRKS: dict[str, tuple[str, bytes | str, Sequence[str] | str]]
                                       by a sentence: path and content of a file, and the keys that its import leaves,
                                       or the reason why it is in quarantine;
                                       no keys where it holds nothing but is none the worse for it
    NO_DOCUMENTS: dict[str, bytes | str]
                                       files that come along with documents and are none

A feed that publishes in several folders may have more modules, `<feed>__<word>`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Samples:
    """A module of this package, checked for its form."""

    name: str
    feed: str
    files: Mapping[str, bytes] = field(repr=False)
    keys: Sequence[str] = field(repr=False)
    broken: Mapping[str, tuple[bytes, str]] = field(repr=False)
    shared: tuple[str, int, int] | None = field(repr=False)
    counts: Mapping[str, int] = field(repr=False)
    quirks: Mapping[str, tuple[str, bytes, Sequence[str] | str]] = field(repr=False)
    no_documents: Mapping[str, bytes] = field(repr=False)


def all_samples() -> dict[str, Samples]:
    """Every module, by its name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return {name: _samples(name, importlib.import_module(f"{__name__}.{name}")) for name in names}


def _samples(name: str, module: ModuleType) -> Samples:
    return Samples(
        name=name,
        feed=name.partition("__")[0].replace("_", "-"),
        files={path: _bytes(content) for path, content in module.SAMPLE.items()},
        keys=tuple(module.EXPECTED_KEYS),
        broken={path: (_bytes(content), reason) for path, (content, reason) in module.BROKEN.items()},
        shared=module.SHARED,
        counts=_optional(module, "COUNTS"),
        quirks={
            sentence: (path, _bytes(content), outcome)
            for sentence, (path, content, outcome) in _optional(module, "QUIRKS").items()
        },
        no_documents={path: _bytes(content) for path, content in _optional(module, "NO_DOCUMENTS").items()},
    )


def _optional(module: ModuleType, name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(module, name, {})
    return found


def _bytes(content: bytes | str) -> bytes:
    return content if isinstance(content, bytes) else content.encode()
