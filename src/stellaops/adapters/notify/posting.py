"""POST requests of notifications: by the egress policy of the feeds, no redirects, bounded in time and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, SSLError

from stellaops.adapters.notify.context import said
from stellaops.adapters.web.client import USER_AGENT, Ways, WebSettings, body_in_time, tls_context
from stellaops.adapters.web.egress import in_words
from stellaops.core.egress import BadUrl, SchemeRefused, Target, target_of
from stellaops.notify.errors import DeliveryFailed, DeliveryRefused

_LARGEST = 64 << 10
_AGAIN = frozenset((408, 409, 423, 425, 429))
"""Beside 5xx: what may be over when it is tried later."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent, and where.

    Attributes:
        where: what messages call the place: the URL may be a secret.
        secrets: what must stand in no message, beside the URL.
    """

    url: str
    where: str
    body: bytes
    headers: Mapping[str, str]
    secrets: tuple[str, ...] = ()


class Poster:
    """Sends; safe for threads."""

    def __init__(self, web: WebSettings, seconds: float) -> None:
        self._web, self._seconds = web, seconds
        self._ways = Ways(web, tls_context(web.ca_file), {"maxsize": 4, "retries": False})

    def post(self, letter: Letter) -> str:
        """Send; the status and the begin of what was answered.

        Raises:
            DeliveryFailed, DeliveryRefused: see there; and what the egress policy refuses.
        """
        target = _admitted(letter, self._web)
        response = self._open(letter, target)
        try:
            text = body_in_time(response, _LARGEST, self._seconds, decode=False).decode("utf-8", "replace")
        except (HTTPError, OSError) as error:
            raise DeliveryFailed(f"{letter.where}: the answer was cut off") from error
        finally:
            response.close()
            response.release_conn()
        answer = f"{response.status} {said(text, letter.url, *letter.secrets)}".strip()
        _judge(letter, response, answer)
        return answer

    def _open(self, letter: Letter, target: Target) -> BaseHTTPResponse:
        timeout = Timeout(connect=self._seconds, read=self._seconds)
        headers = {"user-agent": USER_AGENT, "accept-encoding": "identity", **letter.headers}
        try:
            return self._ways.to(target).urlopen(
                "POST", letter.url, body=letter.body, headers=headers, redirect=False, retries=False,
                preload_content=False, timeout=timeout,
            )  # fmt: skip
        except SSLError as error:
            raise DeliveryFailed(f"{letter.where}: {said(in_words(error), letter.url)}") from error
        except (HTTPError, OSError) as error:
            raise DeliveryFailed(f"{letter.where}: {_reason(error, letter)}") from error
        except ValueError as error:
            raise BadUrl(f"{letter.where}: a URL that cannot be used") from error


def _admitted(letter: Letter, web: WebSettings) -> Target:
    """Where a letter goes. What is wrong with a URL that is a secret is told without it."""
    try:
        host = target_of(letter.url).host
    except (BadUrl, SchemeRefused):
        raise BadUrl(f"{letter.where}: no URL as https://host/path, without user name and password") from None
    return web.policy.admit(_origin(letter.url), (host,))


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _judge(letter: Letter, response: BaseHTTPResponse, answer: str) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    what = f"{letter.where} answers {answer}"
    if status >= 500 or status in _AGAIN:
        wanted = response.headers.get("retry-after", "")
        raise DeliveryFailed(what, retry_after=float(wanted) if wanted.isdecimal() else None)
    if 300 <= status < 400:
        raise DeliveryRefused(f"{what}: redirects are not followed; name the final address")
    raise DeliveryRefused(what)


def _reason(error: BaseException, letter: Letter) -> str:
    return said(in_words(error), letter.url, *letter.secrets) or type(error).__name__
