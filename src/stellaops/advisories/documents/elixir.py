"""The Elixir security advisories of mirego: GitHub's advisories of Hex packages, one YAML file for each package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stellaops.advisories.advisory import Advisory, Package
from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.advisories.documents import handwritten
from stellaops.advisories.documents.interface import Slice

_MARK = "vulnerable_version_ranges"


class ElixirFeed(handwritten.YamlFiles):
    """The feed of mirego/elixir-security-advisories."""

    name = "elixir"

    def recognises(self, path: str, content: bytes) -> bool:
        """YAML with a package and its vulnerable ranges."""
        if not self.may_hold_documents(path) or _MARK.encode() not in content:
            return False
        try:
            parsed = from_yaml(content).parsed
        except Malformed:
            return False
        return isinstance(parsed, dict) and {"id", "package", _MARK} <= set(parsed)

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file."""
        return (Slice(0, content),)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields; None for YAML without ranges."""
        if not isinstance(parsed, dict) or not {_MARK, "first_patched_versions"} & set(parsed):
            return None
        vulnerable = handwritten.constraints(parsed, _MARK)
        if not vulnerable:
            raise Malformed("schema", f"the field `{_MARK}` names no range")
        patched = handwritten.constraints(parsed, "first_patched_versions")
        package = Package("Hex", handwritten.required_text(parsed, "package"))
        return Advisory(
            id=handwritten.identifier(handwritten.text(parsed.get("id"))),
            published=handwritten.text(parsed.get("disclosure_date")),
            summary=handwritten.text(parsed.get("title")),
            details=handwritten.text(parsed.get("description")),
            severity=handwritten.text(parsed.get("severity")),
            affected=[handwritten.requirements(package, vulnerable=vulnerable, patched=patched)],
            references=handwritten.references(handwritten.texts(parsed.get("link"))),
        )
