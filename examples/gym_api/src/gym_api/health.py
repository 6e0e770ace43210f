"""Liveness, readiness, version and metrics: the same for the API and the worker."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gym_api.metrics import BUILD
from gym_api.settings import Release

log = logging.getLogger(__name__)

_CHECK_SECONDS = 2.0
_CACHE_SECONDS = 1.0


@dataclass(frozen=True)
class Dependency:
    """Something that the service talks to; without a required one it does not serve."""

    ping: Callable[[], Awaitable[None]]
    required: bool


class Health:
    """Asks the dependencies, at most once a second however many ask us."""

    def __init__(self, dependencies: Mapping[str, Dependency]) -> None:
        """Watch these dependencies, by name."""
        self._dependencies = dependencies
        self._lock = asyncio.Lock()
        self._down: frozenset[str] = frozenset()
        self._checked = float("-inf")

    async def down(self) -> frozenset[str]:
        """Return the names of the dependencies that do not answer."""
        async with self._lock:
            if time.monotonic() - self._checked > _CACHE_SECONDS:
                names = list(self._dependencies)
                answers = await asyncio.gather(*(self._answers(name) for name in names))
                self._down = frozenset(name for name, answer in zip(names, answers, strict=True) if not answer)
                self._checked = time.monotonic()
            return self._down

    def blocks(self, down: frozenset[str]) -> bool:
        """Tell whether the service cannot work without these."""
        return any(self._dependencies[name].required for name in down)

    async def _answers(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._dependencies[name].ping()
        except Exception as error:  # whatever a client library raises: it does not answer
            log.warning("dependency is down", extra={"dependency": name, "error": repr(error)})
            return False
        return True


async def never() -> None:
    """Be a dependency that does not answer, as a drill asks for."""
    raise ConnectionError("FAULT_READY is 'false'")


def operations(release: Release, health: Health) -> list[Route]:
    """Return the routes that the platform asks."""
    BUILD.labels(release.version, release.colour).set(1)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        down = await health.down()
        blocked = health.blocks(down)
        status = "not ready" if blocked else "degraded" if down else "ready"
        return JSONResponse({"status": status, "down": sorted(down)}, 503 if blocked else 200)

    async def version(_: Request) -> Response:
        return JSONResponse({"version": release.version, "colour": release.colour})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/version", version),
        Route("/metrics", metrics),
    ]
