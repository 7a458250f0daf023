"""What Debian's feeds have in common: the names of its releases, and how a statement about one is put.

Trivy looks a release up by its major number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stellaops.advisories.advisory import Affected, Event, Package, Range, Specific

RELEASES = {
    "slink": "2.1", "potato": "2.2", "woody": "3.0", "sarge": "3.1", "etch": "4", "lenny": "5", "squeeze": "6",
    "wheezy": "7", "jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13",
    "forky": "14", "duke": "15",
}  # fmt: skip
"""Code names and version numbers of the releases that the security tracker has known."""

GENERAL = tuple(name for name, number in RELEASES.items() if "." not in number)
"""The releases for which a statement about unstable counts too; older ones share a major number with others."""

AFFECTED = "affected"
STATUSES = {
    "no-dsa": AFFECTED,
    "unfixed": AFFECTED,
    "ignored": "will_not_fix",
    "postponed": "fix_deferred",
    "end-of-life": "end_of_life",
}
"""The tracker's words for a release that has no fix, as Trivy's (`bundles.trivy.values.STATUSES`)."""

_URGENCIES = frozenset(("unimportant", "low", "medium", "high"))


def urgency(words: Iterable[str]) -> str | None:
    """The tracker's urgency among some words; `low**` is one that was derived, and counts as `low`."""
    return next((word for text in words if (word := text.strip().rstrip("*")) in _URGENCIES), None)


def statement(
    release: str,
    package: str,
    fixed: str | None,
    *,
    status: str = AFFECTED,
    urgency: str | None = None,
    weak: bool = False,
    archive: Sequence[str] = (),
) -> Affected:
    """What is said of a source package in a release.

    Args:
        release: a code name of `RELEASES`.
        fixed: the version from which it is not vulnerable; None where no fix is known.
        status: why there is no fix, one of the values of `STATUSES`.
        archive: the versions of the package that the release has, where that is known.
    """
    events = [Event(introduced="0")]
    if fixed is not None:
        events.append(Event(fixed=fixed))
    return Affected(
        package=Package(f"Debian:{RELEASES[release]}", package),
        ranges=[Range("ECOSYSTEM", events)],
        ecosystem_specific=Specific(
            urgency=urgency, status=status, weak=weak or None, archive=list(archive) or None
        ),
    )
