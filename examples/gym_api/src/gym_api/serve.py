"""The HTTP server, and an orderly end on SIGTERM."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# The longest that the front door waits for an answer. Who stops this process must wait a few seconds longer.
_GRACE_SECONDS = 30
# Longer than the front door keeps an idle connection, so that it is never us who closes one it is about to use.
_KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `stop_on_signals`: the worker has more to end than a server."""
        yield


def _farewell(app: ASGIApp, stop: asyncio.Event) -> ASGIApp:
    """Tell who keeps a connection alive that this answer is its last: uvicorn would close it without a word."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def last_send(message: Message) -> None:
            if message["type"] == "http.response.start" and stop.is_set():
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await app(scope, receive, last_send)

    return wrapped


async def serve(app: ASGIApp, port: int, stop: asyncio.Event) -> None:
    """Serve until told to stop; then take no new connections and finish the requests in flight."""
    server = _Server(
        uvicorn.Config(
            _farewell(app, stop),
            host="0.0.0.0",  # noqa: S104 - the container's own address; the host publishes the port
            port=port,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    # When it was the server that ended, everything else ends with it.
    stop.set()
    server.should_exit = True
    await stopping
    await serving


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until told to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def crash(stop: asyncio.Event, seconds: float) -> None:
    """End the process without a word, as a drill asks for, unless it is told to stop before."""
    await pause(stop, seconds)
    if not stop.is_set():
        log.error("crashing, because of FAULT_CRASH_AFTER_SECONDS")
        os._exit(1)
