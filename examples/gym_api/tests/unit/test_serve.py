"""The end of a process: what was asked is answered, and nobody is cut off."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gym_api.serve import serve

from ..conftest import free_ports

pytestmark = pytest.mark.anyio
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while True:
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.01)


async def test_open_requests_are_answered_and_idle_connections_are_closed() -> None:
    asked, answer, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        asked.set()
        await answer.wait()
        return PlainTextResponse("done")

    (port,) = free_ports(1)
    serving = asyncio.create_task(serve(Starlette(routes=[Route("/", slow)]), port, stop))
    idle, _ = await connect(port)
    reader, writer = await connect(port)
    writer.write(REQUEST)
    await asked.wait()
    stop.set()
    async with asyncio.timeout(10):
        assert await idle.read() == b"", "closed by a FIN, not by a reset"
        answer.set()
        text = (await reader.read()).decode().lower()
        await serving
    assert text.startswith("http/1.1 200")
    assert "connection: close" in text, "who kept it alive is told that it ends"
    assert text.endswith("done")


def test_a_drill_crashes_the_process() -> None:
    script = "import asyncio; from gym_api.serve import crash; asyncio.run(crash(asyncio.Event(), 0.1))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 1
