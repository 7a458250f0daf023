"""The OpenAPI 3.1 document, made from the table of operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from stellaops import __version__
from stellaops.api.frame import problems
from stellaops.api.frame.errors import (
    BodyTooLarge,
    HeadersTooMany,
    IdempotencyConflict,
    IdempotencyInProgress,
    InvalidRequest,
    MediaTypeUnsupported,
    RequestRateExceeded,
)
from stellaops.api.frame.problems import Problem, status_of
from stellaops.api.operation import Answer, Operation
from stellaops.authority.access import SCOPES, ForeignTenant, ScopeMissing
from stellaops.core.errors import NotAuthenticated, StellaError
from stellaops.kit.disk import NoRoom

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
TAGS = {
    "export": "profiles, runs, bundles, the queue",
    "concelier": "advisories and their sources",
    "excititor": "VEX and its consensus",
    "policy": "policy overlays and snapshots",
    "evidence": "bills of materials",
    "authority": "clients, tenants, keys, tokens",
    "notify": "who is told of what",
    "service": "health, metrics, this document",
}
"""What the operations of a tag are about."""
_HEADERS = {
    "location": "where what was made is found",
    "etag": "entity tag of the body",
    "retry-after": "seconds to wait",
    "x-stella-quota-limit": "the limit that was reached",
    "x-stella-quota-remaining": "what remains of it",
    "x-stella-quota-reset": "seconds until more does",
    "www-authenticate": "what is lacking (RFC 6750)",
}
_ERROR_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("www-authenticate",),
    403: ("www-authenticate",),
    429: ("retry-after", "x-stella-quota-limit", "x-stella-quota-remaining", "x-stella-quota-reset"),
    503: ("retry-after",),
}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document as JSON values."""
    refs, components = _components(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, refs)
    tags = {operation.tag for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "StellaOps",
            "version": __version__,
            "summary": "Signed, reproducible vulnerability databases and evidence bundles",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in tags],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _security()},
    }


def errors_of(operation: Operation) -> tuple[type[StellaError], ...]:
    """Everything that an operation may answer with beside its good answers."""
    found: list[type[StellaError]] = [InvalidRequest, HeadersTooMany, RequestRateExceeded, *operation.errors]
    if not operation.public:
        found += [NotAuthenticated, ForeignTenant]
    if operation.scope is not None:
        found.append(ScopeMissing)
    if operation.method in ("POST", "PUT", "PATCH"):
        found.append(BodyTooLarge)
    if operation.body is not None or operation.raw is not None or operation.upload:
        found.append(MediaTypeUnsupported)
    if operation.upload:
        found.append(NoRoom)
    if operation.mutating:
        found += [IdempotencyConflict, IdempotencyInProgress]
    return tuple(dict.fromkeys(found))


def _demands(operation: Operation) -> list[dict[str, list[str]]]:
    """The ways in, any of which will do; the empty one is a signed link, or that nothing is needed."""
    if operation.public:
        return []
    token = {"token": [operation.scope] if operation.scope else []}
    return [token, {}] if operation.links else [token]


def _security() -> dict[str, Any]:
    flow = {"tokenUrl": "/authority/token", "scopes": dict(SCOPES)}
    return {
        "token": {
            "type": "oauth2",
            "description": "An access token of Authority: `Authorization: Bearer TOKEN`.",
            "flows": {"clientCredentials": flow},
        }
    }


def _components(operations: Iterable[Operation]) -> tuple[dict[int, Any], dict[str, Any]]:
    """Schemas of every form by its identity, and the named ones."""
    forms: list[Any] = [Problem]
    for operation in operations:
        forms += [operation.body] if operation.body is not None else []
        forms += [field.type for field in msgspec.structs.fields(operation.query)]
        forms += [answer.form for answer in operation.answers.values() if answer.form is not None]
    schemas, components = msgspec.json.schema_components(forms, ref_template=_REF)
    return {id(form): schema for form, schema in zip(forms, schemas, strict=True)}, components


def _operation(operation: Operation, refs: Mapping[int, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": _demands(operation),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation, refs),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": refs[id(operation.body)]}}
        wire["requestBody"] = {"required": operation.required, "content": content}
    elif operation.raw is not None or operation.upload:
        media = [operation.raw] if operation.raw is not None else list(operation.upload)
        wire["requestBody"] = {"required": True, "content": {each: {"schema": {}} for each in media}}
    return wire


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    """Parameters of the query; what may be left out is never null in one."""
    schemas = msgspec.json.schema_components([operation.query], ref_template=_REF)[1]
    properties = schemas.get(operation.query.__name__, {}).get("properties", {})
    found = []
    for field in msgspec.structs.fields(operation.query):
        schema = dict(properties[field.encode_name])
        options = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
        if options:
            default = schema.get("default")
            schema = dict(options[0]) if len(options) == 1 else {"anyOf": options}
            if default is not None:
                schema["default"] = default
        found.append({"name": field.encode_name, "in": "query", "required": field.required, "schema": schema})
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    found = []
    if not operation.public:
        text = "which of the token's tenants is meant; the first if left out"
        found.append(_header("X-Stella-Tenant", text, {"type": "string"}))
    if operation.mutating:
        text = "the same key and body give the same answer, for a day"
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7E]+$"}
        found.append(_header("Idempotency-Key", text, schema))
    return found


def _header(name: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": dict(schema)}


def _responses(operation: Operation, refs: Mapping[int, Any]) -> dict[str, Any]:
    found = {str(status): _response(answer, refs) for status, answer in operation.answers.items()}
    for status, errors in sorted(_by_status(errors_of(operation)).items()):
        codes = ", ".join(sorted({error.code for error in errors}))
        error = {
            "description": f"{HTTPStatus(status).phrase}: {codes}",
            "headers": _header_objects(_ERROR_HEADERS.get(status, ())),
            "content": {problems.MEDIA: {"schema": refs_of(Problem)}},
        }
        # Where the operation has an answer of this status itself, both forms can come.
        ours = found.setdefault(str(status), error)
        ours["content"] = ours.get("content", {}) | error["content"]
    return dict(sorted(found.items()))


def refs_of(form: type[msgspec.Struct]) -> dict[str, str]:
    """A reference to a named schema."""
    return {"$ref": _REF.format(name=form.__name__)}


def _response(answer: Answer, refs: Mapping[int, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = {"description": answer.meaning}
    if answer.headers:
        wire["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    if answer.form is not None:
        wire["content"] = {answer.media: {"schema": refs[id(answer.form)]}}
    elif answer.media != "application/json":
        wire["content"] = {answer.media: {"schema": {}}}
    return wire


def _by_status(errors: Iterable[type[StellaError]]) -> dict[int, list[type[StellaError]]]:
    found: dict[int, list[type[StellaError]]] = {}
    for error in errors:
        found.setdefault(status_of(error), []).append(error)
    return found


def _header_objects(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
