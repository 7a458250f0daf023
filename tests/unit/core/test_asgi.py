"""An application that is asked without a network between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stellaops.core import asgi


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    got = await receive()
    await send({
        "type": "http.response.start", "status": 201, "headers": [(b"X-Path", scope["path"].encode("latin-1"))],
    })  # fmt: skip
    await send({"type": "http.response.body", "body": got["body"], "more_body": True})
    await send({"type": "http.response.body", "body": b"!"})


def test_the_whole_body_goes_in_and_the_whole_answer_comes_out() -> None:
    answer = asyncio.run(asgi.ask(_echo, {"path": "/a"}, b"hello"))
    assert answer == asgi.Answer(201, {"x-path": "/a"}, b"hello!")


def test_nobody_hangs_up_while_an_application_waits_for_it() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        await _echo(scope, _nothing, send)

    assert asyncio.run(asgi.ask(waits, {"path": "/"})).body == b"!"


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_an_application_that_answers_nothing_has_failed() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send

    assert asyncio.run(asgi.ask(silent, {})) == asgi.Answer(500, {}, b"")
