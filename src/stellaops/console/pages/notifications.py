"""Notifications: channels, rules, what a message will look like, what was sent."""

from __future__ import annotations

from starlette.responses import Response

from stellaops.console.pages.page import Page, form
from stellaops.console.visit import Visit, listed


async def notifications(visit: Visit) -> Response:
    """Channels, rules and deliveries."""
    query = visit.query
    channels, rules = await visit.all("/api/notify/channels", "/api/notify/rules")
    deliveries = await visit.maybe(
        "/api/notify/deliveries", limit=50, status=query.get("status"), channel=query.get("channel"),
        cursor=query.get("cursor"),
    )  # fmt: skip
    return await visit.page(
        "notifications.html", channels=listed(channels), rules=listed(rules), deliveries=listed(deliveries),
        next=deliveries["next"] if deliveries else None, query=query, states=("pending", "delivered", "failed"),
    )  # fmt: skip


async def test(visit: Visit) -> Response:
    """Show what a test of a channel would send; send it where that is asked for."""
    channel = visit.part("id")
    preview = "send" not in visit.form
    body = {"preview": preview, "text": visit.form.get("text", "")}
    told = await visit.change("POST", f"/api/notify/channels/{channel}/test", body)
    return await visit.page(
        "notification.html", channel=channel, preview=told["preview"], delivery=told["delivery"],
        text=visit.form.get("text", ""),
    )  # fmt: skip


async def retry(visit: Visit) -> Response:
    """Try a delivery again that was given up."""
    await visit.change("POST", f"/api/notify/deliveries/{visit.part('id')}/retry")
    return visit.go("/notifications")


PAGES = (
    Page("/notifications", notifications),
    form("/notifications/channels/{id}/test", test),
    form("/notifications/deliveries/{id}/retry", retry),
)
