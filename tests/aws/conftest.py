"""AWS's API as moto answers it: a server of its own on loopback, from its own environment in .cache/moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud

from tests.project import ROOT

PYTHON = ROOT / ".cache/rehearsal_aws/bin/python"
START_SECONDS = 60


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the server once, and give its address."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON.relative_to(ROOT)} is missing: run `make .cache/moto/.installed`", pytrace=False)
    cloud = Cloud(tmp_path_factory.mktemp("moto"))
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    yield cloud.start([str(PYTHON), "-m", "rehearsal.aws", "eu-west-1"], environment, START_SECONDS)
    assert cloud.stop(START_SECONDS)


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
