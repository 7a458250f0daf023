"""Looking into parsed documents whose types cannot be relied on: what is of another type counts as absent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)


def text(value: Any, *path: str) -> str:
    """The text at a path of names without blanks around it; empty where there is none."""
    found = member(value, *path)
    return found.strip() if isinstance(found, str) else ""


def member(value: Any, *path: str) -> Any:
    """What stands at a path of names; None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def objects(value: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The objects of the array at a path of names."""
    found = member(value, *path)
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def is_cve(identifier: str) -> bool:
    """Whether a text is a CVE id, written as it must be."""
    return _CVE.match(identifier) is not None


def english(values: Iterator[dict[str, Any]]) -> str:
    """The `value` of the first English entry, else of the first of any language."""
    told = [(text(entry, "lang").lower(), text(entry, "value")) for entry in values]
    by_language = [value for lang, value in told if value and (lang == "en" or lang.startswith("en-"))]
    return next(iter(by_language), "") or next((value for _, value in told if value), "")
