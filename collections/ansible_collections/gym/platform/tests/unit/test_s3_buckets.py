"""Buckets: what is missing is made, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from ansible_collections.gym.platform.plugins.modules.s3_buckets import apply
from botocore.stub import Stubber


@pytest.fixture
def store() -> Iterator[Stubber]:
    """S3, as a list of the calls that are expected; it has one bucket."""
    stub = Stubber(boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"))
    stub.add_response("list_buckets", {"Buckets": [{"Name": "kept"}]})
    with stub:
        yield stub
        # What was expected and not called is an error, too.
        stub.assert_no_pending_responses()


def test_only_what_is_missing_is_made(store: Stubber) -> None:
    store.add_response("create_bucket", {}, {"Bucket": "new"})
    result = apply(store.client, ["kept", "new", "new"], check=False)
    assert (result["changed"], result["made"]) == (True, ["new"])
    assert result["diff"] == {"before": "kept\n", "after": "kept\nnew\n"}


def test_a_second_run_changes_nothing(store: Stubber) -> None:
    assert apply(store.client, ["kept"], check=False)["changed"] is False


def test_check_mode_sends_nothing(store: Stubber) -> None:
    assert apply(store.client, ["new"], check=True)["made"] == ["new"]
