"""What an inspection of a bundle has established so far, and the outcomes that a check can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from stellaops.bundles.encryption.envelope import Opener
from stellaops.bundles.files_manifest import FilesManifest
from stellaops.bundles.manifest import ExportManifest
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.contents import Examined, Examiner
from stellaops.kit.delta import DeltaExaminer
from stellaops.kit.locate import Found
from stellaops.kit.opening import Opening
from stellaops.kit.tree import Tree
from stellaops.signing.ecdsa_p256 import PublicKey

_T = TypeVar("_T")

_MOST_PROBLEMS_SHOWN = 5


class Refused(Exception):
    """A check's problems; never leaves the verification."""

    def __init__(self, problems: Iterable[str]) -> None:
        found = list(problems)
        text = "; ".join(found[:_MOST_PROBLEMS_SHOWN])
        super().__init__(
            f"{text}; and {len(found) - _MOST_PROBLEMS_SHOWN} more"
            if len(found) > _MOST_PROBLEMS_SHOWN
            else text
        )


class NotApplicable(Exception):
    """Why a check has nothing to look at in this bundle."""


class Doubtful(Exception):
    """What the receiver should know, though it is no reason to refuse the bundle."""


def refuse_any(problems: Iterable[str]) -> None:
    """Refuse where there is any problem."""
    found = list(problems)
    if found:
        raise Refused(found)


@dataclass(slots=True)
class Inspection:
    """What the steps have established so far of a bundle."""

    found: Found
    trusted: tuple[PublicKey, ...]
    revoked: frozenset[str]
    remarks: Mapping[str, str]
    scratch: Path
    max_age: timedelta | None
    at: datetime | None
    identities: Sequence[Opener] = ()
    raw: bytes = b""
    key: PublicKey | None = None
    manifest: ExportManifest | None = None
    files: FilesManifest | None = None
    opening: Opening | None = None
    examiner: Examiner | DeltaExaminer | None = None
    examined: Examined | None = None
    jws: bool = False

    @property
    def tree(self) -> Tree | ArchiveTree:
        """Where its files are read."""
        return self.found.tree


def established(value: _T | None) -> _T:
    """What an earlier step set; `_Step.needs` sees to it that it ran and succeeded."""
    if value is None:
        raise RuntimeError("a step ran without what it needs")
    return value
