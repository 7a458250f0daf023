"""What every driver of distribution gets, beside the settings of its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.web.client import WebSettings
from stellaops.exports.distribution.ports import Target
from stellaops.exports.ports import ArtefactStore, Keys


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target works with.

    Attributes:
        tenant: whose bundles are brought there.
        web: how the network is reached; a target's `caFile` is for the driver to add.
        artefacts: where finished bundles are kept here.
        keys: the tenant's key, for what is signed at the target, and the public keys that it trusts.
        scratch: where `adapters.files.workspace.held_place` makes places for intermediate files.
    """

    tenant: str
    web: WebSettings
    artefacts: ArtefactStore
    keys: Keys
    scratch: Path
    now: Callable[[], datetime]


class OpenTarget(Protocol):
    """`open_target` of each driver's module. It reaches no network and reads no secret."""

    def __call__(self, name: str, settings: TargetSettings, context: TargetContext) -> Target:
        """Open a target.

        Args:
            settings: with the tenant's name filled in.

        Raises:
            BadTarget: the settings cannot be used.
            MissingPrerequisite: a library is not installed.
        """
