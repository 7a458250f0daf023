"""The route of mirrors: how they stand."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import Response

from stellaops.api.forms import Form
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.center.mirror_overview import mirror_overview

READ = "export:read"


class MirrorSideForm(Form, frozen=True):
    """What readers of one side get; `behind` counts sequences of the evidence that came in since."""

    side: str
    export_id: str | None
    sequence: int | None
    published_at: datetime | None
    synced_at: datetime | None
    behind: int | None
    lag_seconds: int | None
    expires: datetime | None


class MirrorCredentialForm(Form, frozen=True):
    """Who may read, by which name, until when."""

    user: str
    recipient: str | None
    issued: datetime | None
    expires: datetime | None
    state: str


class MirrorCertificateForm(Form, frozen=True):
    """The certificate that readers get."""

    hosts: list[str]
    not_before: datetime
    not_after: datetime


class MirrorUseForm(Form, frozen=True):
    """Requests of a reader in this hour, `index` or `download`; blocks that gateways hold count whole."""

    budget: str
    reader: str
    requests: int


class MirrorDomainForm(Form, frozen=True):
    """A domain; credentials, certificate and used budgets are null where this machine does not serve it."""

    id: str
    display_name: str
    require_authentication: bool
    max_index_requests_per_hour: int | None
    max_download_requests_per_hour: int | None
    used: list[MirrorUseForm] | None
    sides: list[MirrorSideForm]
    credentials: list[MirrorCredentialForm] | None
    certificate: MirrorCertificateForm | None


def domains(call: Call) -> Response:
    """How the tenant's mirrors stand."""
    return answer(Page(mirror_overview(call.local, call.tenant)))


OPERATIONS = (
    Operation(
        "listMirrorDomains", "GET", "/api/mirror/domains", "How the tenant's mirrors stand", domains, READ,
        answers={200: Answer("By id", Page[MirrorDomainForm])}, tag="mirror",
    ),
)  # fmt: skip
