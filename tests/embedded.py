"""An embedded cloud for tests of AWS, and its databases, which are real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud, ask

from tests.project import ROOT

PYTHON = ROOT / ".cache/rehearsal_aws/bin/python"
HOME, AWAY = "eu-west-1", "eu-central-1"
# The account of whoever asks with another key than a number.
ACCOUNT = "000000000000"
START_SECONDS, STOP_SECONDS = 120, 20


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Have a cloud with its files in a directory, and give its address."""
    assert PYTHON.is_file(), "run `make .cache/rehearsal_aws/.installed`"
    cloud = Cloud(directory)
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    endpoint = cloud.start([str(PYTHON), "-m", "rehearsal.aws", HOME], environment, START_SECONDS)
    try:
        yield endpoint
    finally:
        stood = cloud.stop(STOP_SECONDS)
    assert stood, "the cloud ended before the tests did"


def place(endpoint: str, name: str, region: str = HOME) -> dict[str, Any]:
    """Have a PostgreSQL behind an instance, and return where it answers, to whom, and whom to trust."""
    found: dict[str, Any] = ask(endpoint, "serve", {"account": ACCOUNT, "region": region, "instance": name})
    return found


def connected(endpoint: str, name: str, region: str = HOME) -> psycopg.Connection[Any]:
    """Log in to an instance as its master, as one who knows its certificate and its name."""
    found = place(endpoint, name, region)
    return psycopg.connect(
        host=found["hostname"],
        hostaddr="127.0.0.1",
        port=found["port"],
        user=found["user"],
        password=found["password"],
        dbname=found["name"],
        sslmode="verify-full",
        sslrootcert=found["authority"],
        autocommit=True,
    )
