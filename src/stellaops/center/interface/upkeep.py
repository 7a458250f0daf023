"""What looks after bundles, how long they stay, and who may fetch them."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from stellaops.authority.download_tokens import Wanted as TokenWanted
from stellaops.center.interface.progress import Progress, silent
from stellaops.center.wire import Wire


class Upkeep(Protocol):
    """What looks after bundles: what is kept, whether targets have what they should, what workers do by themselves."""

    def quotas(self) -> Wire:
        """What the tenant may have, and has: `maxStorageBytes`, `storedBytes`, `stores[]`, numbers of runs."""
        ...

    def verifications(self) -> list[Wire]:
        """What was last found of the newest bundles at each target, with `soundAt`."""
        ...

    def verify(
        self, target: str | None = None, profile: str | None = None, progress: Progress = silent
    ) -> list[Wire]:
        """Fetch the newest bundles back from their targets and verify them; what was found of each."""
        ...

    def chores(self) -> list[Wire]:
        """What workers do by themselves, and what came of it."""
        ...


class Retention(Protocol):
    """How long a tenant's bundles are kept."""

    def show(self) -> Wire:
        """`rules` of profiles; which runs' bundles `stays` and `goes` and `why`; `pins`; the `last` pass."""
        ...

    def run(self, *, dry_run: bool = False, every_tenant: bool = False) -> Wire:
        """One pass: `expired` runs and why, `archives` and `targets` that they went from, `evidence`, `failures`."""
        ...

    def pin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """Let a run's bundle stay: `runId kind reason by at`."""
        ...

    def unpin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """Leave it to the rules again."""
        ...


class Downloads(Protocol):
    """Tokens and links that open the downloads of the tenant to those who are no clients."""

    def tokens(self) -> list[Wire]:
        """Every download token, the oldest first."""
        ...

    def create_token(self, wanted: TokenWanted) -> Wire:
        """Make a token; the answer has it as `downloadToken`, this once."""
        ...

    def rotate_token(self, token_id: str, *, overlap: timedelta) -> Wire:
        """Give a token another secret; the answer has it as `downloadToken`, this once."""
        ...

    def revoke_token(self, token_id: str, reason: str = "") -> Wire:
        """Revoke a token for ever."""
        ...

    def links(self, run_id: str, path: str | None = None, *, life: timedelta) -> Wire:
        """Signed links to a file of a run's bundle, or to all: `runId expiresAt links[]{path,bytes,sha256,url}`."""
        ...
