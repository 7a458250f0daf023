"""Policy overlays as evidence: one document a file."""

from __future__ import annotations

from typing import Any

from stellaops.advisories.canonical import Canonical, Malformed, from_yaml
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.policy.overlay import API_VERSION, Overlay, read


class PolicyFeed(DocumentFiles):
    """The feed of policy overlays."""

    name = "policy"

    def recognises(self, path: str, content: bytes) -> bool:
        """A YAML or JSON document of the overlays' version."""
        if not self.may_hold_documents(path) or API_VERSION.encode() not in content:
            return False
        try:
            value = from_yaml(content).parsed
        except Malformed:
            return False
        return isinstance(value, dict) and value.get("apiVersion") == API_VERSION

    def may_hold_documents(self, path: str) -> bool:
        """YAML and JSON files but hidden ones."""
        base = path.rpartition("/")[2].lower()
        return base.endswith((".yaml", ".yml", ".json")) and not base.startswith(".")

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """YAML, of which JSON is a part."""
        return from_yaml(raw)

    def read(self, parsed: Any, context: str = "") -> Overlay | None:
        """The rules of a document.

        Raises:
            Malformed: something in it is wrong.
        """
        overlay, problems = read(parsed)
        if overlay is None:
            raise Malformed("policy", "; ".join(problems)[:400])
        return overlay
