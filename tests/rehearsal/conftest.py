"""An embedded cloud for the tests of the rehearsal, with an account for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Settings, Stacks
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, parse
from botocore.config import Config

from tests import embedded

NUMBERS = itertools.count(111111111111)


class Account:
    """An account of the embedded cloud: whoever asks with its number sees nothing of any other one."""

    def __init__(self, endpoint: str, number: int = 0) -> None:
        self.endpoint, self.number = endpoint, f"{number:012d}"

    def client(self, service: str, region: str = "eu-west-1") -> Any:
        """Return a client that gives up soon: the network of a test does not come back by itself."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.number,
            aws_secret_access_key="rehearsal",
            config=Config(retries={"mode": "standard", "total_max_attempts": 4}, max_pool_connections=20),
        )

    def stacks(
        self,
        bodies: Mapping[str, str],
        confirmed: Collection[str] = (),
        client: Callable[[str, str], Any] | None = None,
        selected: Collection[str] = (),
    ) -> Stacks:
        """Return production's stacks with these templates."""
        settings = Settings(
            "gym",
            "production",
            "eu-west-1",
            ("eu-central-1", "us-east-1"),
            confirmed=frozenset(confirmed),
            prune=True,
            timeout=60,
        )
        templates = {name: Template(name, body, parse(body)) for name, body in bodies.items()}
        return Stacks(settings, client or self.client, templates, selected)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded.served(tmp_path_factory.mktemp("cloud")) as address:
        yield address


@pytest.fixture
def account(endpoint: str) -> Account:
    return Account(endpoint, next(NUMBERS))
