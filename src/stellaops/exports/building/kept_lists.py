"""Digest lists of row sets, kept with exports: opened, amended, made again where one is lost or damaged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from stellaops.bundles.digest_list import AmendedList, DamagedDigestList, DigestList
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.exports.building.delta_ports import GrowingList, KeptLists
from stellaops.exports.errors import BaseMissing

_MOST_DAMAGED = 20
_T = TypeVar("_T")
NOTHING = digests.sha256(b"")
"""The content digest of a row set without rows."""


class Amended:
    """A kept list under amendment, with the file of the list that comes out."""

    def __init__(
        self, stack: ExitStack, lists: KeptLists, digest: Digest, make_again: Callable[[], object]
    ) -> None:
        base = None if digest == NOTHING else opened(stack, lists, digest, make_again)
        self.growing: GrowingList = stack.enter_context(lists.growing())
        self.list = AmendedList(base, self.growing.out)

    def finish(self) -> tuple[Digest, int]:
        """Digest and rows of the amended list, which is kept."""
        digest, records = self.list.finish()
        self.growing.keep(digest)
        return digest, records


def opened(
    stack: ExitStack, lists: KeptLists, digest: Digest, make_again: Callable[[], object]
) -> DigestList:
    """A kept list; made again from the evidence where it is not kept.

    Raises:
        BaseMissing: the evidence does not give it any more.
    """
    found = stack.enter_context(lists.opened(digest))
    if found is None:
        make_again()
        found = stack.enter_context(lists.opened(digest))
    if found is None:
        raise BaseMissing(
            f"the evidence does not give the base's state any more: nothing in it has digest {digest}"
        )
    return found


def healed(attempt: Callable[[], _T]) -> _T:
    """Attempt again where a kept list was damaged, which then is kept no more; it is made again from the evidence."""
    for _ in range(_MOST_DAMAGED):
        try:
            return attempt()
        except DamagedDigestList:
            continue
    return attempt()
