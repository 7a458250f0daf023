"""The API, one for each module of tests, with some evidence and a finished run of each of two tenants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from stellaops.authority.actors import OPERATOR
from stellaops.authority.issue_tokens import Issuer
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client
from stellaops.bootstrap import now
from stellaops.exports.run import Run
from tests.support.api import EVERY_SCOPE, OTHER, Api, api


@dataclass
class Filled:
    """An API with a run that succeeded, and one of another tenant."""

    api: Api
    run: Run
    foreign: Run


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with api(tmp_path_factory.mktemp("api")) as found:
        found.service.fill(20)
        found.tenant(OTHER)
        found.service.profile("secret-profile", OTHER)
        yield Filled(found, found.finished_run(), found.finished_run("secret-profile", OTHER))


@pytest.fixture(scope="module")
def expired(filled: Filled) -> str:
    """A token that was good, and is over."""
    early = now() - timedelta(minutes=20)
    local = filled.api.local
    issuer = Issuer(local.clients, local.tenants, local.issuer._signer, local.token_settings, lambda: early)
    tools = ClientTools(local.clients, local.tenants)
    made = create_client(tools, OPERATOR, Wanted(tenants=("default",), scopes=EVERY_SCOPE), now=early)
    return issuer.issue(made.client.id, [made.secret or ""]).token
