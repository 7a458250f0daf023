"""Which name stands for a vulnerability that goes by several."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from stellaops.advisories.aliases import Statement, identify

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}$", re.ASCII)


def is_settled(name: str) -> bool:
    """Whether a name stands for itself whatever documents say: a CVE id does."""
    return _CVE.match(name) is not None


def stands_for(
    name: str, stated: Callable[[Collection[str]], Iterable[Statement]]
) -> tuple[str, tuple[str, ...]]:
    """The name that stands for a vulnerability, and the names that were walked through to tell.

    The CVE where documents lead to one; else, so that all its names come to the same, the first of them. What
    documents say of any name on the way can change it, and nothing else can.

    Args:
        stated: what documents say about any of some ids (`advisories.aliases.identify`).
    """
    if is_settled(name):
        return name, (name,)
    names = identify(name, stated).names
    return min(names, key=lambda each: (not is_settled(each), each)), names
