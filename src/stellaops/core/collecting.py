"""The collector of cyclic garbage: what our processes tell it when they begin, before they load the rest."""

from __future__ import annotations

import gc


def look_seldom() -> None:
    """Have it look through the youngest objects a hundred times less often than by default.

    Loading modules makes a million objects that stay, imports and exports millions that live for a moment: there is
    hardly anything to find, and looking would take a quarter of a start's time.
    """
    gc.set_threshold(100_000, 50, 100)


def keep_all() -> None:
    """Have it never look at what there is by now: modules that stay, or all memory of a process that ends."""
    gc.freeze()
