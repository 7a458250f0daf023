"""The rules of OpenVEX 0.2.0 as a JSON Schema: what its specification and its schema demand of a document.

Where the two differ the stricter one stands here: the schema wants a reason in one of two fields, not in both, and
spells the identifiers of platforms `@cpe22` and `@cpe23`, the specification without the sign.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

JUSTIFICATIONS = (
    "component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
)  # fmt: skip
HASHES = (
    "md5", "sha1", "sha-256", "sha-384", "sha-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "blake2s-256",
    "blake2b-256", "blake2b-512",
)  # fmt: skip

_TEXT = {"type": "string"}
_ADDRESS = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|^`]+$"}
_INSTANT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_NUMBER = {"type": "integer", "minimum": 1}


def _closed(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """An object with these fields and no others; `at_` stands for the sign of JSON-LD."""
    named = {
        name.replace("at_", "@", 1) if name.startswith("at_") else name: of for name, of in fields.items()
    }
    return {
        "type": "object",
        "properties": named,
        "required": list(required),
        "additionalProperties": False,
    }


def _several(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "uniqueItems": True}


_PART = _closed(
    at_id=_ADDRESS,
    identifiers=_closed(purl=_TEXT),  # of platforms none can be written that both accept
    hashes={"type": "object", "propertyNames": {"enum": list(HASHES)}, "additionalProperties": _TEXT},
)
_PRODUCT = {**_PART, "properties": {**_PART["properties"], "subcomponents": _several(_PART)}}
_REASON = [
    {"required": ["justification"], "not": {"required": ["impact_statement"]}},
    {"required": ["impact_statement"], "not": {"required": ["justification"]}},
]
_STATEMENT = {
    **_closed(
        ("vulnerability", "status"),
        at_id=_ADDRESS, version=_NUMBER, timestamp=_INSTANT, last_updated=_INSTANT,
        vulnerability=_closed(("name",), at_id=_ADDRESS, name=_TEXT, description=_TEXT, aliases=_several(_TEXT)),
        products=_several(_PRODUCT), supplier=_TEXT, status_notes=_TEXT,
        status={"enum": ["not_affected", "affected", "fixed", "under_investigation"]},
        justification={"enum": list(JUSTIFICATIONS)},
        impact_statement=_TEXT, action_statement=_TEXT, action_statement_timestamp=_INSTANT,
    ),
    "allOf": [
        {"if": {"properties": {"status": {"const": "not_affected"}}}, "then": {"oneOf": _REASON}},
        {"if": {"properties": {"status": {"const": "affected"}}}, "then": {"required": ["action_statement"]}},
    ],
}  # fmt: skip
SCHEMA = _closed(
    ("@context", "@id", "author", "timestamp", "version", "statements"),
    at_context={"const": "https://openvex.dev/ns/v0.2.0"}, at_id=_ADDRESS, author=_TEXT, role=_TEXT,
    timestamp=_INSTANT, last_updated=_INSTANT, version=_NUMBER, tooling=_TEXT,
    statements={**_several(_STATEMENT), "minItems": 1},
)  # fmt: skip

_VALIDATOR = Draft202012Validator(SCHEMA)


def problems(document: Any) -> list[str]:
    """What is wrong with a document, each with its place."""
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in _VALIDATOR.iter_errors(document)
    ]
