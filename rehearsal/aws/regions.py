"""Regions that are lost: nobody in them answers, what ran there has ended, and what is elsewhere goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rehearsal.aws import served
from rehearsal.aws.application_autoscaling import SCOPE
from rehearsal.aws.asgi import App, respond

lost: set[str] = set()


def lose(region: str) -> list[str]:
    """Lose a region, and say which are lost."""
    if region not in lost:
        served.lose(region)
        lost.add(region)
    return sorted(lost)


def find(region: str) -> list[str]:
    """Have a region back as it was, and say which are still lost."""
    if region in lost:
        served.find(region)
        lost.remove(region)
    return sorted(lost)


def reached(app: App) -> App:
    """Return the cloud without what is lost."""

    async def answering(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        headers = {key.decode(): value.decode() for key, value in scope.get("headers", [])}
        found = SCOPE.search(headers.get("authorization", ""))
        if found and found[2] in lost:
            await respond(send, 503, "text/plain", b"")
            return
        await app(scope, receive, send)

    return answering
