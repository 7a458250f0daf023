"""AWS Signature Version 4 of requests to S3 buckets, in headers and in addresses. Pure.

The client libraries for S3 bring a network stack of their own, which cannot be told to connect to the address that
the egress policy has checked; so requests are signed here and go the one way that all fetches go.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An S3 access key; the secret parts show in no message."""

    id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    region: str = "us-east-1"


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    key: AccessKey,
    moment: datetime,
    *,
    payload: str = EMPTY,
) -> dict[str, str]:
    """The headers to add to a request.

    Args:
        headers: further headers to sign, names in lower case; `host` is added.
        moment: of the request, in UTC.
        payload: lower-case hexadecimal SHA-256 of the body; that of no body where left out.
    """
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    parts = urlsplit(url)
    signed = {**headers, "host": parts.netloc, "x-amz-content-sha256": payload, "x-amz-date": stamp}
    if key.token:
        signed["x-amz-security-token"] = key.token
    names, scope = ";".join(sorted(signed)), _scope(stamp, key)
    request = _canonical_request(method, url, signed, payload)
    signature = _signature(key, stamp, scope, request)
    credential = f"AWS4-HMAC-SHA256 Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    sent = {name: value for name, value in signed.items() if name.startswith("x-amz-")}
    return sent | {"authorization": credential}


def signed_url(method: str, url: str, key: AccessKey, moment: datetime, seconds: int) -> str:
    """An address that whoever has it may ask for with a method, until so many seconds after a moment.

    Args:
        url: with the parameters that are to be signed too, such as `response-content-disposition`.
        seconds: 1 to 604,800, a week.
    """
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    parts, scope = urlsplit(url), _scope(stamp, key)
    told = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key.id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if key.token:
        told["X-Amz-Security-Token"] = key.token
    query = "&".join((*([parts.query] if parts.query else ()), urlencode(told, quote_via=quote)))
    whole = urlunsplit((parts.scheme, parts.netloc, parts.path, _query(query), ""))
    request = _canonical_request(method, whole, {"host": parts.netloc}, "UNSIGNED-PAYLOAD")
    return f"{whole}&X-Amz-Signature={_signature(key, stamp, scope, request)}"


def _canonical_request(method: str, url: str, signed: Mapping[str, str], payload: str) -> str:
    parts = urlsplit(url)
    return "\n".join(
        (
            method,
            # A path that is percent-encoded in an unusual way must be sent and signed in one and the same form.
            quote(unquote(parts.path or "/"), safe="/-_.~"),
            _query(parts.query),
            "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed)),
            ";".join(sorted(signed)),
            payload,
        )
    )


def _scope(stamp: str, key: AccessKey) -> str:
    return f"{stamp[:8]}/{key.region}/s3/aws4_request"


def _signature(key: AccessKey, stamp: str, scope: str, request: str) -> str:
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    return hmac.new(_signing_key(key, scope), text.encode(), hashlib.sha256).hexdigest()


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
