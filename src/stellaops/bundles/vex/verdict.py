"""The consensus of selected statements on one product, as the writers of documents take it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from stellaops.core import timestamps
from stellaops.vex.consensus import Consensus, Subject
from stellaops.vex.products import package_of
from stellaops.vex.statement import Status, Words

JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
"""The reasons that OpenVEX and CSAF know."""

_STATUSES = {each.value: each for each in Status}

NO_REASON = "The issuer states no reason."
NO_ACTION = "The issuer states no action."
"""Where a format demands what nobody has said."""


class Verdict(Struct, frozen=True, gc=False):
    """What the selected statements come down to.

    Attributes:
        subject: what it is about; its vulnerability is the name that stands for all others.
        aliases: the other names of the vulnerability, sorted.
        words: the texts of the statement that decides.
    """

    subject: Subject
    aliases: tuple[str, ...]
    consensus: Consensus
    words: Words

    @property
    def status(self) -> Status:
        """What is said."""
        return _STATUSES[self.consensus.decided.status]

    @property
    def justification(self) -> str:
        """A reason that formats know, of `not_affected`; else empty."""
        said = self.consensus.decided.justification
        return said if said in JUSTIFICATIONS and self.status is Status.NOT_AFFECTED else ""

    @property
    def impact(self) -> str:
        """Why the product is not affected, in words, with a reason that formats do not know."""
        said = self.consensus.decided.justification
        return "\n".join(filter(None, (self.words.impact, "" if self.justification == said else said)))

    @property
    def instant(self) -> datetime:
        """The newest instant of all that was weighed: as of then the verdict stands; 1970 where none is stated.

        So the verdict on one version is never older than one on all versions, whose statements it has weighed too.
        """
        voices, superseded = self.consensus.voices, self.consensus.superseded
        if len(voices) == 1 and not superseded:  # as nearly all are
            return moment(voices[0].held.stated_at or 0)
        weighed = [voice.held.stated_at for voice in voices] + [held.stated_at for held in superseded]
        return moment(max((at for at in weighed if at is not None), default=0))

    @property
    def narrowness(self) -> int:
        """How much the subject leaves open: of two that hold for a product, the greater says more of it."""
        about = self.subject
        return sum(
            _told(name) for name in (about.product, about.platform, about.subcomponent) if name
        ) + 4 * bool(about.platform) + 4 * bool(about.subcomponent)  # fmt: skip


@lru_cache(maxsize=4096)  # the statements of a document have one instant, and each is asked for many times
def moment(microseconds: int) -> datetime:
    """An instant from microseconds since 1970."""
    return timestamps.EPOCH + timedelta(microseconds=microseconds)


def _told(identity: str) -> int:
    rest = identity[len(package_of(identity)) :]
    return bool(rest) + rest.count("=")
