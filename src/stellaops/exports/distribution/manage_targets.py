"""The targets of a tenant: which there are, whether they answer, whether a profile's are among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.exports.distribution.deliver import DeliverTools, demand_fit
from stellaops.exports.distribution.ports import Pointed, Targets
from stellaops.exports.distribution.verify_targets import VerifyTools, newest_at
from stellaops.exports.errors import InvalidProfile
from stellaops.exports.manage_profiles import list_profiles
from stellaops.exports.profile import HTTP, Spec, destinations


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as a tenant sees it.

    Attributes:
        driver: `unknown` where the target cannot be opened.
        problem: why it cannot be; None where nothing is wrong with its settings.
        latest: what its moving names were last told to stand for, by profile; of `http` the newest bundles.
    """

    name: str
    driver: str
    problem: str | None = None
    latest: tuple[Pointed, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The target as scripts read it."""
        return {
            "name": self.name,
            "driver": self.driver,
            "problem": self.problem,
            "latest": [
                {
                    "profile": each.profile,
                    "runId": each.run_id,
                    "sequence": each.sequence,
                    "reference": each.reference,
                    "at": timestamps.render(each.at),
                }
                for each in self.latest
            ],
        }


def list_targets(tenant: str, tools: VerifyTools) -> list[Listed]:
    """The targets that a tenant's profiles may name."""
    latest = [*tools.latest.all(tenant), *_newest_here(tenant, tools)]
    found = []
    for name in tools.targets.names(tenant):
        mine = tuple(each for each in latest if each.target == name)
        try:
            found.append(Listed(name, tools.targets.target(tenant, name).driver, None, mine))
        except StellaError as error:
            found.append(Listed(name, "unknown", error.what, mine))
    return found


def _newest_here(tenant: str, tools: VerifyTools) -> Iterator[Pointed]:
    """The newest bundle of each profile in the store of artefacts: no name moves there, the records of runs say it."""
    for profile in list_profiles(tenant, tools.profiles):
        found = newest_at(tenant, profile.name, HTTP.name, tools)
        if found is not None:
            run, entry = found
            at = run.finished_at or run.submitted_at
            reference = str(entry["reference"])
            yield Pointed(
                HTTP.name, tenant, profile.name, run.id, run.sequence or 0, run.submitted_at, reference, at
            )


def test_target(tenant: str, name: str, tools: DeliverTools) -> Mapping[str, Any]:
    """Send a small thing to a target, read it back, remove it; what came of it.

    Raises:
        TargetNotFound: there is no such target.
    """
    if name not in tools.targets.names(tenant):
        tools.targets.target(tenant, name)  # says which there are
    told: dict[str, Any] = {"name": name, "status": "ok", "reference": None, "seconds": None, "remarks": []}
    try:
        found = tools.targets.target(tenant, name).probe()
    except StellaError as error:
        return told | {
            "status": "failed",
            "detail": error.what,
            "errorCode": error.code,
            "hint": error.advice,
        }
    remarks = list(found.get("remarks", ()))
    sent = f"a probe was sent, read back and removed: {found['reference']}"
    answers = "the store of artefacts answers" if name == HTTP.name else sent
    return told | dict(found) | {"remarks": remarks, "detail": answers, "errorCode": None, "hint": None}


def check_destinations(tenant: str, spec: Spec, targets: Targets) -> None:
    """Refuse a profile that names targets which the tenant does not have, or says to one what it does not know.

    Raises:
        InvalidProfile: with everything that is wrong.
    """
    problems = []
    for destination in destinations(spec):
        if destination == HTTP:
            continue
        try:
            demand_fit(targets.target(tenant, destination.name), destination)
        except StellaError as error:
            problems.append(f"spec.distribution: {error.what}")
    if problems:
        raise InvalidProfile("; ".join(problems), details=problems)
