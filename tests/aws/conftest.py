"""AWS's API as moto answers it: a server of its own on loopback, from its own environment in .cache/moto."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.project import ROOT

PYTHON = ROOT / ".cache/moto/bin/python"
SERVER = ROOT / "rehearsal/aws/moto_server.py"
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own server
            return
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail("moto did not start", pytrace=False)
            time.sleep(0.05)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Start the server once, and give its address."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON.relative_to(ROOT)} is missing: run `make .cache/moto/.installed`", pytrace=False)
    port = free_port()
    environment = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    # -P: beside the script are modules that are called like those of Python.
    command = [str(PYTHON), "-P", str(SERVER), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/moto-api/data.json", server)
            yield url
        finally:
            server.terminate()


@pytest.fixture(scope="session", autouse=True)
def somebody() -> Iterator[None]:
    """Have credentials, which moto accepts whatever they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield


def client(endpoint: str, service: str, region: str) -> Any:
    """Return a client of the server."""
    return boto3.client(service, region_name=region, endpoint_url=endpoint)
