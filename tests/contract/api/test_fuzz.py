"""Schemathesis over the whole API with a token: no 5xx, no status that is not documented, no other form than told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stellaops.api import openapi
from stellaops.api.operation import Operation
from stellaops.api.registry import operations
from tests.contract.api.conftest import Filled
from tests.support.api import serving

# What the document says is what the service gives: a test of its own holds that.
_SCHEMA = schemathesis.openapi.from_dict(openapi.document(operations()))
_CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_BY_ID = {each.id: each for each in operations()}
# Streams of runs that have not ended last as long as the run.
_FUZZED = [each for each in _BY_ID.values() if each.id != "watchRun"]


@pytest.fixture(scope="module")
def server(filled: Filled) -> Iterator[str]:
    """The API as a process, so that the HTTP below it is real too."""
    with serving(filled.api.service) as found:
        yield found.url


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        yield found


@pytest.fixture(scope="module")
def known(filled: Filled) -> dict[str, list[str]]:
    """Things that are there, for the parameters of paths."""
    waiting = filled.api.post("/api/export/runs", {"profile": "json:raw"}).json()["runId"]
    return {
        "/api/export/runs": [filled.run.id, waiting, "latest"],
        "/api/export/profiles": ["json:raw", "trivy:db"],
        "/api/export/targets": ["http"],
    }


@dataclass(frozen=True)
class Asking:
    """How the service is asked."""

    url: str
    session: requests.Session
    token: str
    known: dict[str, list[str]]

    def ask(self, operation: Operation, examples: int) -> None:
        """So many requests to an operation: most of them for the caller's own tenant, many about things that are."""
        found = _described(operation)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=found.as_strategy(), at_random=st.integers(0, 7), number=st.integers(0, 20))
        def ask(case: Any, at_random: int, number: int) -> None:
            self._make_likely(case, operation, at_random, number)
            answer = case.call(
                base_url=self.url, session=self.session, headers={"authorization": f"Bearer {self.token}"}
            )
            case.validate_response(answer, checks=_CHECKS)

        ask()

    def _make_likely(self, case: Any, operation: Operation, at_random: int, number: int) -> None:
        if at_random and case.headers:
            case.headers.pop("X-Stella-Tenant", None)
        ids = next(
            (ids for path, ids in self.known.items() if operation.path.startswith(f"{path}/{{id}}")), []
        )
        if ids and at_random % 2 and operation.id not in ("deleteRun", "deleteProfile"):
            case.path_parameters["id"] = ids[number % len(ids)]
            if "path" in case.path_parameters and number % 2:
                case.path_parameters["path"] = "export.json"


@pytest.fixture(scope="module")
def asking(filled: Filled, server: str, session: requests.Session, known: dict[str, list[str]]) -> Asking:
    """An operator asks, who may do everything."""
    return Asking(server, session, filled.api.token(("*",)), known)


def _described(operation: Operation) -> Any:
    """An operation as the document has it."""
    described: list[Any] = [each.ok() for each in _SCHEMA.get_all_operations()]  # type: ignore[union-attr] # all are sound
    (found,) = (each for each in described if each.definition.raw["operationId"] == operation.id)
    return found


@pytest.mark.parametrize("operation", _FUZZED, ids=lambda each: each.id)
def test_whatever_is_asked_the_answer_is_one_that_was_told(asking: Asking, operation: Operation) -> None:
    asking.ask(operation, 12)


@pytest.mark.slow
@pytest.mark.parametrize("operation", _FUZZED, ids=lambda each: each.id)
def test_however_often_it_is_asked(asking: Asking, operation: Operation) -> None:
    asking.ask(operation, 400)
