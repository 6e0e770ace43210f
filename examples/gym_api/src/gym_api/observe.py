"""What surrounds every request: its id, one line of log, its metrics, and the faults that a drill asks for."""

import asyncio
import logging
import random
import re
import time
import uuid

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gym_api.logs import request_id
from gym_api.metrics import REQUEST_SECONDS, RESPONSES
from gym_api.settings import FaultSettings, Release

log = logging.getLogger("gym_api.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked every few seconds by the platform: worth a metric, not a line of log each.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_FAULTY_PATHS = "/v1/"


class Observed:
    """An application with request ids, logs and metrics around it."""

    def __init__(self, app: Starlette, release: Release) -> None:
        """Observe this application; every answer says which release gave it."""
        self._app = app
        self._release = release.version
        # The route is found by its endpoint: metrics carry `/v1/check-ins/{id}`, not a series for each id.
        self._templates: dict[object, str] = {
            route.endpoint: route.path for route in app.routes if isinstance(route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        current = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(current)
        started = time.perf_counter()
        status = 500

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"], headers["x-release"] = current, self._release
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception:  # Starlette has answered 500 already and hands the exception on
            log.exception("unhandled error")
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path, method = scope["path"], scope["method"]
        route = self._templates.get(scope.get("endpoint"), "unknown")
        REQUEST_SECONDS.labels(route, method if route != "unknown" else "any", status).observe(seconds)
        RESPONSES.labels(f"{status // 100}xx").inc()
        level = logging.DEBUG if path in _QUIET and status < 500 else logging.INFO
        log.log(
            level,
            "request",
            extra={
                "method": method,
                "path": path,
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 1),
            },
        )


class Faults:
    """Errors and latency for drills, on the API's own routes and nowhere else: probes stay honest."""

    def __init__(self, app: ASGIApp, settings: FaultSettings) -> None:
        """Disturb this application as the settings say."""
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or fail it."""
        if scope["type"] == "http" and scope["path"].startswith(_FAULTY_PATHS):
            try:
                delay = self._delay(scope)
            except ValueError as error:
                await JSONResponse({"error": str(error)}, 400)(scope, receive, send)
                return
            await asyncio.sleep(self._settings.latency_seconds + delay)
            if random.random() < self._settings.error_rate:  # noqa: S311 - a fault, not a secret
                await JSONResponse({"error": "fault injected by FAULT_ERROR_RATE"}, 500)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _delay(self, scope: Scope) -> float:
        """Return the seconds of `?delay=`, which a load test asks for; outside development it means nothing."""
        longest = self._settings.longest_delay_seconds
        given = QueryParams(scope["query_string"]).get("delay", "") if longest else ""
        if given and not (re.fullmatch(r"\d{1,3}(\.\d{1,3})?", given) and float(given) <= longest):
            raise ValueError(f"delay must be a number of seconds from 0 to {longest:g}")
        return float(given or 0)
