"""Packs of small files that a sync is reading from, held in memory while their files are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future

_KEPT = 16


class OpenedPacks:
    """The files of packs by path. Safe for threads: whoever asks for a pack first fetches it, others wait for that.

    Args:
        fetch: gets and opens a pack by its name.
    """

    def __init__(self, fetch: Callable[[str], Mapping[str, bytes]]) -> None:
        self._fetch = fetch
        self._guard = threading.Lock()
        self._known: OrderedDict[str, Future[Mapping[str, bytes]]] = OrderedDict()

    def files(self, name: str) -> Mapping[str, bytes]:
        """What a pack holds.

        Raises:
            Exception: what `fetch` raises, for everyone who asks for the pack.
        """
        with self._guard:
            found = self._known.get(name)
            is_mine = found is None
            if found is None:
                found = self._known[name] = Future()
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        if is_mine:
            try:
                found.set_result(self._fetch(name))
            except BaseException as error:  # noqa: BLE001 - it is raised where the pack was asked for
                found.set_exception(error)
        return found.result()
