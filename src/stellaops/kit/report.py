"""What a verification found: one entry for each numbered check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stellaops.core.errors import NotTrusted

Status = Literal["ok", "warning", "failed", "skipped"]


class BundleRefused(NotTrusted):
    """A bundle that failed its verification."""

    code = "ERR_EXPORT_VERIFY"
    hint = "Do not use this bundle; fetch it again, and check that the key is the sender's."


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `id` is its number in the documentation (`V01`), `name` a stable word for metrics and scripts.

    `detail` is a sentence: what was found wrong, what was counted, or why it was skipped. A `warning` does not make
    the verdict worse.
    """

    id: str
    name: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification; `export_id` and `rerun_hash` are None unless the manifest could be trusted."""

    verdict: Literal["ok", "failed"]
    export_id: str | None
    rerun_hash: str | None
    checks: tuple[Check, ...]

    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "failed")

    def to_wire(self) -> dict[str, object]:
        """The report as the command line and the API give it."""
        return {
            "verdict": self.verdict,
            "exportId": self.export_id,
            "rerunHash": self.rerun_hash,
            "checks": [
                {"id": check.id, "name": check.name, "status": check.status, "detail": check.detail}
                for check in self.checks
            ],
        }

    def require(self) -> None:
        """Raise where the verdict is not ok.

        Raises:
            BundleRefused: with every failed check in `details`.
        """
        failed = self.failed()
        if self.verdict != "ok":
            what = f"{failed[0].name}: {failed[0].detail}" if failed else "the bundle was not verified"
            raise BundleRefused(
                what, details=[f"{check.id} {check.name}: {check.detail}" for check in failed]
            )
