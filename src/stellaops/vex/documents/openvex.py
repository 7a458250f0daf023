"""OpenVEX 0.0.1 to 0.2.0, as JSON or YAML, one document a file.

Old forms name vulnerabilities and products by plain texts and put subcomponents beside the products. Real documents
also lack what the specification asks for (an action for `affected`, products, a version), so nothing is refused but a
statement that says nothing: without a vulnerability, or with a status that is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.csaf.values import obj, text, texts
from stellaops.vex.documents.layout import NO_DOCUMENTS
from stellaops.vex.products import Product, identify, product
from stellaops.vex.statement import (
    Issuer,
    Statement,
    Status,
    Target,
    VexDocument,
    Words,
    instant,
    role,
    vulnerability,
)

_ENDINGS = (".json", ".yaml", ".yml")
_YAML = (".yaml", ".yml")
_SIGN = b"statements"
_CONTEXT = re.compile(rb'"@context"\s*:\s*"https://openvex\.dev/ns')
_HEAD = 4096


class OpenVexFeed(DocumentFiles):
    """The OpenVEX feed."""

    name = "openvex"

    def recognises(self, path: str, content: bytes) -> bool:
        """A document whose statements have a vulnerability and a status."""
        if not self.may_hold_documents(path) or _SIGN not in content:
            return False
        if _CONTEXT.search(content, 0, _HEAD):
            return True
        try:
            return is_openvex(self.canonical(path, content).parsed)
        except Malformed:
            return False

    def may_hold_documents(self, path: str) -> bool:
        """JSON and YAML files but hidden ones and those that describe a repository."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(_ENDINGS) and not base.startswith(".") and base not in NO_DOCUMENTS

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON or YAML, by the file's name."""
        return from_yaml(raw) if path.lower().endswith(_YAML) else from_json(raw)

    def read(self, parsed: Any, context: str = "") -> VexDocument | None:
        """The statements of a document; None for other JSON."""
        if not is_openvex(parsed):
            return None
        return VexDocument(
            id=text(parsed, "@id") or text(parsed, "id"),
            issuer=Issuer(text(parsed, "author"), role(text(parsed, "role"))),
            statements=tuple(_statements(parsed["statements"])),
            published=text(parsed, "timestamp") or None,
            modified=text(parsed, "last_updated") or None,
        )


def is_openvex(value: Any) -> bool:
    """Whether a parsed value is meant as an OpenVEX document."""
    if not isinstance(value, dict) or not isinstance(value.get("statements"), list):
        return False
    if "openvex" in str(value.get("@context", "")):
        return True
    first = next(iter(value["statements"]), None)
    return isinstance(first, dict) and "vulnerability" in first and "status" in first


def _statements(told: list[Any]) -> Iterator[Statement]:
    for number, one in enumerate(told, 1):
        if not isinstance(one, dict):
            raise Malformed("schema", f"statement {number} is no object")
        try:
            yield Statement(
                _vulnerability(one.get("vulnerability")),
                _STATUS[one["status"]],
                tuple(_targets(one)),
                _said(one, "justification"),
                _words(one.get("impact_statement"), one.get("action_statement"), one.get("status_notes")),
                instant(_said(one, "last_updated") or _said(one, "timestamp")),
            )
        except (KeyError, TypeError) as error:
            raise Malformed("schema", f"statement {number}: status is none of {', '.join(Status)}") from error
        except ValueError as error:
            raise Malformed("schema", f"statement {number}: {error}") from error


def _vulnerability(told: Any) -> str:
    if isinstance(told, dict):
        name = _said(told, "name") or _said(told, "@id").rstrip("/").rpartition("/")[2]
        found = _named(name, _aliases(told["aliases"]) if "aliases" in told else ())
    else:
        found = _named(text(told))
    if not found:
        raise ValueError("vulnerability has no name")
    return found


def _targets(told: dict[str, Any]) -> Iterator[Target]:
    products = told.get("products")
    # The specification's word in 0.2.0 is `subcomponents` inside a product; 0.0.1 has one list for all.
    shared = _products(told.get("subcomponents"))
    for one in products if isinstance(products, list) else (products,):
        own = _products(one.get("subcomponents")) if isinstance(one, dict) else ()
        for each in _product(one):
            yield Target(each, "", own or shared)


def _products(told: Any) -> tuple[Product, ...]:
    if not told:
        return ()
    if isinstance(told, list) and len(told) == 1:
        return _product(told[0])
    found = (each for one in (told if isinstance(told, list) else (told,)) for each in _product(one))
    return tuple(dict.fromkeys(found))


def _product(told: Any) -> tuple[Product, ...]:
    """The product that a text or an object names; none where it names nothing."""
    if isinstance(told, dict):
        name = _said(told, "@id")
        if "identifiers" in told or "hashes" in told:
            return _identified(name, told)
    else:
        name = text(told)
    return (product(name),) if name else ()


def _identified(name: str, told: dict[str, Any]) -> tuple[Product, ...]:
    named = obj(told, "identifiers")
    purl, others = text(named, "purl"), [text(named, each) for each in ("cpe23", "cpe22")]
    others += [
        f"{kind.lower()}:{text(value).lower()}" for kind, value in obj(told, "hashes").items() if text(value)
    ]
    given = [each for each in (purl, name, *others) if each]
    # An @id may be any IRI; a package URL among the identifiers says more.
    chosen = next((each for each in given if each.startswith("pkg:")), name or (given[0] if given else ""))
    return (product(chosen, tuple(map(identify, given))),) if chosen else ()


_STATUS: dict[Any, Status] = {status.value: status for status in Status}


_named = lru_cache(maxsize=20_000)(vulnerability)


def _aliases(told: Any) -> tuple[str, ...]:
    if isinstance(told, list) and all(type(each) is str for each in told):
        return tuple(told)
    return texts(told)


def _said(told: dict[str, Any], name: str) -> str:
    """A text member; most documents of this form hold hundreds of thousands."""
    value = told.get(name)
    return value.strip() if isinstance(value, str) else ""


@lru_cache(maxsize=10_000)
def _same_words(impact: str, action: str, notes: str) -> Words:
    return Words(impact, action, notes)


def _words(impact: Any, action: Any, notes: Any) -> Words:
    # Members that are null, or of another kind, say nothing.
    return _same_words(
        impact.strip() if isinstance(impact, str) else "",
        action.strip() if isinstance(action, str) else "",
        notes.strip() if isinstance(notes, str) else "",
    )
