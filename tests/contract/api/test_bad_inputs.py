"""Bad inputs to every operation that changes something: each is refused, and nothing has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.api.operation import Operation
from stellaops.api.registry import operations
from tests.contract.api.conftest import Filled

_MUTATING = [each for each in operations() if each.mutating]
_OWN = {"allowance", "kept_answer", "token_key", "client_secret"}
"""Tables of what is known of requests and logins, which a refused request may change."""

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20).filter(str.isprintable)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_not_objects = _values.filter(lambda value: not isinstance(value, dict)).map(json.dumps).map(str.encode)
_unknown_fields = st.dictionaries(st.text(max_size=12), _values, max_size=4).map(
    lambda wire: json.dumps({**wire, "zz-not-a-field": 1}).encode()
)
_not_json = st.binary(min_size=1, max_size=60).filter(lambda data: not _is_json(data))
_BAD = _not_objects | _unknown_fields | _not_json


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _state(filled: Filled) -> str:
    """A digest of every row of both stores."""
    hasher = hashlib.sha256()
    local = filled.api.local
    for row in (*_rows(local.service_engine, SERVICE), *_rows(local.evidence_engine, EVIDENCE)):
        hasher.update(repr(row).encode())
    return hasher.hexdigest()


def _rows(engine: Engine, tables: Any) -> Iterator[Any]:
    with reading(engine) as connection:
        for table in tables.sorted_tables:
            if table.name not in _OWN:
                yield table.name, sorted(map(repr, connection.execute(select(table))))


def _refused(filled: Filled, operation: Operation, examples: int) -> None:
    path = operation.path.replace("{id}", _id(filled, operation)).replace("{path:path}", "x")
    path = path.replace("{", "").replace("}", "")
    takes = operation.raw or (operation.upload[0] if operation.upload else "application/json")
    # An upload may hold anything; what it must have is one of the media types.
    media = st.just(takes) if operation.body is not None else st.sampled_from(["text/html", "", "x"])

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(content=_BAD, media=media)
    def ask(content: bytes, media: str) -> None:
        headers = {"content-type": media}
        found = filled.api.ask(operation.method, path, content=content, headers=headers, tenants=("*",))
        assert 400 <= found.status_code < 500, (content, found.text)
        assert found.json()["code"].startswith("ERR_")

    ask()


def _id(filled: Filled, operation: Operation) -> str:
    return filled.run.id if "/runs/" in operation.path else "json:raw"


@pytest.mark.parametrize("operation", _MUTATING, ids=lambda each: each.id)
def test_bad_inputs_change_nothing(filled: Filled, operation: Operation) -> None:
    filled.api.token(("*",))
    before = _state(filled)
    _refused(filled, operation, 40)
    assert _state(filled) == before


@pytest.mark.slow
@pytest.mark.parametrize("operation", _MUTATING, ids=lambda each: each.id)
def test_a_thousand_bad_inputs_change_nothing(filled: Filled, operation: Operation) -> None:
    filled.api.token(("*",))
    before = _state(filled)
    _refused(filled, operation, 1000)
    assert _state(filled) == before
