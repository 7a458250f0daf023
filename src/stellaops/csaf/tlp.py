"""The Traffic Light Protocol, in the words of versions 1 and 2."""

from __future__ import annotations

LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
"""The labels of version 2, from the widest to the narrowest audience."""

_OLDER = {
    "WHITE": "CLEAR",
    "UNLABELED": "CLEAR",
    "AMBER-STRICT": "AMBER+STRICT",
    "AMBER STRICT": "AMBER+STRICT",
}


def label(word: str) -> str:
    """The label of version 2 that a word means.

    A document without a label may go anywhere. A word that is no label says that something is restricted, but not
    how much: then the narrowest is meant.
    """
    told = word.strip().upper().removeprefix("TLP:").strip()
    told = _OLDER.get(told, told)
    if not told:
        return "CLEAR"
    return told if told in LABELS else "RED"
