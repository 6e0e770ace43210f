"""The one way in which everything here reaches AWS."""

from __future__ import annotations

import importlib
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_client import ATTEMPTS, RequestError, clients
from ansible_collections.gym.platform.tests.unit.module_runs import answer
from botocore.exceptions import NoCredentialsError

MODULES: dict[str, dict[str, Any]] = {
    "aws_prices": {"path": "prices.yml"},
    "aws_savings": {"region": "eu-west-1"},
    "aws_rds_restore": {"region": "eu-west-1", "source": "x", "target": "y"},
    "aws_bucket_copy": {"region": "eu-west-1", "source_region": "eu-central-1", "source": "x", "target": "y"},
    "aws_rds_takeover": {"region": "eu-west-1", "name": "x"},
}
every_module = pytest.mark.parametrize("name", MODULES)


def run(name: str, **options: Any) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.gym.platform.plugins.modules.{name}")
    return answer(module.main, **{**MODULES[name], **options})


def test_a_rehearsal_gets_no_real_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")

    def key(endpoint: str | None) -> Any:
        return clients(endpoint)("cloudformation", "eu-west-1")._request_signer._credentials.access_key

    assert key("http://127.0.0.1:4566") == "rehearsal"
    assert key("https://cloudformation.example.com") == "real"
    assert key(None) == "real"


@every_module
@pytest.mark.parametrize(("endpoint", "shown"), [("http://localhost:1", "rehearsal"), (None, None)])
def test_no_module_shows_a_rehearsal_real_credentials(
    name: str, endpoint: str | None, shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str | None] = []

    def session(**credentials: str) -> Any:
        given.append(credentials.get("aws_access_key_id"))
        raise NoCredentialsError

    monkeypatch.setattr(boto3.session, "Session", session)
    assert run(name, endpoint_url=endpoint)["msg"].startswith("There are no AWS credentials")
    assert given == [shown]


@every_module
@pytest.mark.parametrize("address", ["127.0.0.1:4566", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(name: str, address: str) -> None:
    sentence = f"endpoint_url is '{address}'; it is an address such as http://127.0.0.1:4566."
    assert run(name, endpoint_url=address)["msg"] == sentence


@pytest.mark.parametrize(
    ("name", "option"),
    [*((name, "region") for name in MODULES if "region" in MODULES[name]), ("aws_bucket_copy", "source_region")],
)
def test_a_region_that_does_not_exist_is_refused(name: str, option: str) -> None:
    told = run(name, **{option: "eu-wset-1"})
    assert told["msg"] == "There is no AWS region 'eu-wset-1'; did you mean eu-west-1?"


def test_a_client_is_patient() -> None:
    config = clients(None, workers=8)("sqs", "eu-west-1").meta.config
    assert config.retries == {"mode": "adaptive", "total_max_attempts": ATTEMPTS}
    assert config.max_pool_connections == 16
    with pytest.raises(RequestError, match="There is no AWS region 'nowhere'"):
        clients(None)("sqs", "nowhere")
