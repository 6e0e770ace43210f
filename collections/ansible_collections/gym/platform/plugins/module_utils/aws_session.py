"""How the controller reaches CloudFormation, and by what an environment's stacks are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import StackError
from botocore.config import Config

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def tags(platform: str, environment: str) -> dict[str, str]:
    """Return the tags that tell an environment's stacks, and what they make, from everything else in the account."""
    return {"platform": platform, "environment": environment, "managed-by": "gym.platform.aws_stacks"}


def clients(endpoint: str | None, workers: int) -> Callable[[str, str], Any]:
    """Return what makes clients: ten attempts with growing pauses, and no faster than AWS lets us."""
    address = urlsplit(endpoint or "https://")
    if address.scheme not in ("http", "https") or (endpoint and not address.hostname):
        raise StackError(f"endpoint_url is '{endpoint}'; it is an address such as http://127.0.0.1:4566.")
    # What serves on this machine is a rehearsal, and gets to see no real credentials.
    rehearsal = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
    session = boto3.session.Session(**(rehearsal if address.hostname in LOOPBACK else {}))
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=2 * workers,
        retries={"mode": "adaptive", "total_max_attempts": 10},
    )

    def client(service: str, region: str) -> Any:
        return session.client(service, region_name=region, endpoint_url=endpoint, config=config)

    return client
