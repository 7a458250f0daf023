"""The PHP Security Advisories Database of FriendsOfPHP: one YAML file for each Composer package and vulnerability.

Each branch of a package has constraints that hold together; a version is vulnerable where those of one branch do. One
CVE is told of several packages, so that a record is known by its path.
"""

from __future__ import annotations

from typing import Any

from stellaops.advisories.advisory import Advisory, Package
from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.advisories.documents import handwritten
from stellaops.core import timestamps

_SCHEME = "composer://"


class FriendsOfPhpFeed(handwritten.YamlFiles):
    """The feed of FriendsOfPHP/security-advisories."""

    name = "friendsofphp"

    def recognises(self, path: str, content: bytes) -> bool:
        """YAML with branches and a reference to a Composer package."""
        if not self.may_hold_documents(path) or _SCHEME.encode() not in content:
            return False
        try:
            parsed = from_yaml(content).parsed
        except Malformed:
            return False
        return (
            isinstance(parsed, dict)
            and "branches" in parsed
            and str(parsed.get("reference")).startswith(_SCHEME)
        )

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields; None for YAML without branches and reference."""
        if not isinstance(parsed, dict) or not {"branches", "reference"} & set(parsed):
            return None
        reference = handwritten.required_text(parsed, "reference")
        package = reference.removeprefix(_SCHEME)
        if package == reference or not package:
            raise Malformed("schema", f"the reference {reference[:80]!r} names no Composer package")
        cves = handwritten.named("CVE-", _stated(parsed.get("cve")))
        # A date alone names many advisories; with the package it names one.
        own = context if context.startswith("CVE-") else f"{package}/{context}" if context else None
        branches = handwritten.mapping(parsed.get("branches"))
        vulnerable = list(
            dict.fromkeys(", ".join(_versions(branch)) for _, branch in sorted(branches.items()))
        )
        if not vulnerable:
            raise Malformed("schema", "no branch is named")
        return Advisory(
            id=handwritten.identifier(*cves, own),
            aliases=cves[1:],
            published=_first_fix(branches),
            summary=handwritten.text(parsed.get("title")),
            affected=[handwritten.requirements(Package("Packagist", package), vulnerable=vulnerable)],
            references=handwritten.references(handwritten.texts(parsed.get("link"))),
        )


def _stated(value: Any) -> Any:
    """None for a null that was written as a text."""
    return None if value in ("~", "null") else value


def _versions(branch: Any) -> list[str]:
    versions = handwritten.constraints(handwritten.mapping(branch), "versions")
    if not versions:
        raise Malformed("schema", "a branch names no versions")
    return versions


def _first_fix(branches: dict[str, Any]) -> str | None:
    """When the first branch was fixed, in RFC 3339: the only time that a document states."""
    times = [handwritten.text(handwritten.mapping(branch).get("time")) for branch in branches.values()]
    instants = [instant for text in times if text and (instant := timestamps.parse(text)) is not None]
    return timestamps.render(min(instants)) if instants else None
