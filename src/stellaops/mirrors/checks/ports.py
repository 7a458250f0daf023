"""What a check needs from the outside: one who asks a mirror as any client would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from stellaops.core.errors import DependencyFailed, InvalidInput, QuotaExceeded

_BASIC = re.compile(r"(^|,\s*)basic\b", re.IGNORECASE)
KEPT = 32 << 20
"""Bytes of a body that are kept where nothing else is asked for."""


class CheckUnreachable(DependencyFailed):
    """The mirror that is to be checked does not answer."""

    code = "ERR_MIRROR_CHECK_UNREACHABLE"
    hint = "See that the address is right and answers at /healthz, and that the egress settings allow it."


class CheckNotTrusted(DependencyFailed):
    """The mirror shows a certificate that is not trusted for its name."""

    code = "ERR_MIRROR_CHECK_CERTIFICATE"
    hint = "Renew the certificate; for an authority of your own name its certificates in the setting egress.caFile."


class CheckThrottled(QuotaExceeded):
    """The hourly budget of the credentials ended before the check did."""

    code = "ERR_MIRROR_CHECK_THROTTLED"
    hint = "Check with credentials that have budget left, or after as many seconds as the message says."


class CheckCredentials(InvalidInput):
    """The mirror takes none of the credentials that the check was given."""

    code = "ERR_MIRROR_CHECK_CREDENTIALS"
    hint = "Give --user and --password-file of a domain of this mirror, and the domain by --domain."


class Login(Enum):
    """Which credentials go with a request."""

    NONE = "none"
    GOOD = "those that the check was given"
    WRONG = "a user with a wrong password"


class Hasher(Protocol):
    """Is given a body, piece by piece."""

    def update(self, data: bytes, /) -> None:
        """See `hashlib`."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        path: as it goes out, without any change.
        keep: bytes of the body that are kept; all are counted and hashed.
        hasher: is given the body too.
    """

    path: str
    login: Login = Login.GOOD
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: int = KEPT
    hasher: Hasher | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer, as it came: redirects are not followed, and content codings not undone.

    Attributes:
        headers: names in lower case; those that came twice are joined by commas.
        body: its first bytes.
        size, sha256: of the whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int
    sha256: str

    def header(self, name: str) -> str:
        """A header; empty where it is missing."""
        return self.headers.get(name, "")

    @property
    def asks_for_password(self) -> bool:
        """Whether it is 401 with a challenge that every client understands, beside others."""
        return self.status == 401 and _BASIC.search(self.header("www-authenticate")) is not None


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """What a connection is protected by.

    Attributes:
        version: such as `TLSv1.3`.
        expires: when the certificate ends.
        old: a version before TLS 1.2 that is spoken too; empty where none is; None where it could not be tried.
    """

    version: str
    expires: datetime
    old: str | None


class Asker(Protocol):
    """Asks one mirror."""

    @property
    def place(self) -> str:
        """The mirror's address, for people."""

    @property
    def is_secure(self) -> bool:
        """Whether it is reached by TLS."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this very machine, which servers may show more to."""

    @property
    def is_exact(self) -> bool:
        """Whether paths arrive as they were sent; a proxy without a tunnel gets them cleaned."""

    @property
    def has_login(self) -> bool:
        """Whether there are credentials."""

    @property
    def requests(self) -> int:
        """How many were sent."""

    def ask(self, question: Question) -> Seen:
        """One request.

        Raises:
            CheckUnreachable, CheckNotTrusted: see there.
        """

    def tls(self) -> TlsSeen:
        """What connections are protected by.

        Raises:
            CheckUnreachable, CheckNotTrusted: see there.
        """
