"""AWS Signature Version 4 for requests without a body: what reading from an S3 bucket needs. Pure.

The client libraries for S3 bring a network stack of their own, which cannot be told to connect to the address that
the egress policy has checked; so requests are signed here and go the one way that all fetches go.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An S3 access key; the secret parts show in no message."""

    id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"


def signed_headers(
    method: str, url: str, headers: Mapping[str, str], key: AccessKey, moment: datetime
) -> dict[str, str]:
    """The headers to add to a request without a body.

    Args:
        headers: further headers to sign, names in lower case; `host` is added.
        moment: of the request, in UTC.
    """
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    parts = urlsplit(url)
    signed = {**headers, "host": parts.netloc, "x-amz-content-sha256": EMPTY, "x-amz-date": stamp}
    if key.token:
        signed["x-amz-security-token"] = key.token
    names = ";".join(sorted(signed))
    request = "\n".join(
        (
            method,
            # A path that is percent-encoded in an unusual way must be sent and signed in one and the same form.
            quote(unquote(parts.path or "/"), safe="/-_.~"),
            _query(parts.query),
            "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed)),
            names,
            EMPTY,
        )
    )
    scope = f"{stamp[:8]}/{key.region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(_signing_key(key, scope), text.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    sent = {name: value for name, value in signed.items() if name.startswith("x-amz-")}
    return sent | {"authorization": credential}


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(
        f"{name}={value}"
        for name, value in sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs
        )
    )


def _signing_key(key: AccessKey, scope: str) -> bytes:
    made = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        made = hmac.new(made, part.encode(), hashlib.sha256).digest()
    return made
