"""VEX documents of every form as OpenVEX 0.2.0, for readers who want one form; what each issuer said, not a consensus.

OpenVEX knows two levels, a product and what is inside it: a statement about a part of a product on a platform is left
out, since without one of the three it would say more than was said.
"""

from __future__ import annotations

from typing import Any

from stellaops.core import canonical_json, digests, timestamps
from stellaops.vex.statement import Statement, Status, Target, VexDocument, instant

CONTEXT = "https://openvex.dev/ns/v0.2.0"
JUSTIFICATIONS = frozenset((
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
))  # fmt: skip
_NO_AUTHOR = "not stated"
_NO_REASON = "The issuer states no reason."
_NO_ACTION = "The issuer states no action."


def openvex_document(document: VexDocument) -> bytes | None:
    """A document in canonical JSON; None where none of its statements can be carried, or it was withdrawn.

    Raises:
        NotCanonical: a value that canonical JSON would change.
    """
    if document.withdrawn:
        return None
    statements = [found for each in document.statements if (found := _statement(each)) is not None]
    if not statements:
        return None
    stated = instant(document.published or document.modified or "") or timestamps.EPOCH
    wire: dict[str, Any] = {
        "@context": CONTEXT,
        "author": document.issuer.name or _NO_AUTHOR,
        "role": document.issuer.role.value,
        "timestamp": timestamps.render(stated),
        "version": 1,
        "statements": statements,
    }
    changed = instant(document.modified or "")
    if changed is not None and changed != stated:
        wire["last_updated"] = timestamps.render(changed)
    digest = digests.sha256(canonical_json.encode(wire)).removeprefix(digests.PREFIX)
    return canonical_json.encode({**wire, "@id": f"urn:stellaops:openvex:{digest}"})


def _statement(statement: Statement) -> dict[str, Any] | None:
    products = [found for target in statement.targets if (found := _product(target)) is not None]
    if not products:
        return None
    wire: dict[str, Any] = {
        "vulnerability": {"name": statement.vulnerability},
        "products": products,
        "status": statement.status.value,
    }
    if statement.stated is not None:
        wire["timestamp"] = timestamps.render(statement.stated)
    notes = [statement.words.notes]
    if statement.status is Status.NOT_AFFECTED:
        told = statement.words.impact
        # The schema takes one reason, either in its words or in the issuer's.
        if statement.justification in JUSTIFICATIONS:
            wire["justification"] = statement.justification
            notes.append(told)
        else:
            wire["impact_statement"] = "\n".join(filter(None, (told, statement.justification))) or _NO_REASON
    if any(notes):
        wire["status_notes"] = "\n".join(filter(None, notes))
    if statement.status is Status.AFFECTED or statement.words.action:
        wire["action_statement"] = statement.words.action or _NO_ACTION
    return wire


def _product(target: Target) -> dict[str, Any] | None:
    inside = [part.identity for part in target.subcomponents]
    if target.platform:
        if inside:
            return None
        return {"@id": target.platform, "subcomponents": [{"@id": target.product.identity}]}
    wire: dict[str, Any] = {"@id": target.product.identity}
    if inside:
        wire["subcomponents"] = [{"@id": part} for part in inside]
    return wire
