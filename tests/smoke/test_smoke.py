"""What a release has to answer before anybody looks closer: the version, a check-in, and the staff's view of it.

`make smoke ENV=... [VERSION=...]`; the environment is asked as a client asks it, and nothing else is known of it.
"""

from __future__ import annotations

import os
import uuid

import pytest

from tests.end_to_end.client import Client
from tests.performance.run import log_in
from tests.performance.target import Target, target


@pytest.fixture(scope="module")
def tested() -> Target:
    return target(os.environ.get("ENV", "development"))


@pytest.fixture(scope="module")
def client(tested: Target) -> Client:
    return Client(tested.door)


def test_the_released_version_is_the_one_that_answers(client: Client) -> None:
    answer = client.get("/version")
    assert answer["version"] == (os.environ.get("VERSION") or answer["version"]), answer


def test_it_is_ready(client: Client) -> None:
    answer = client.request("GET", "/readyz")
    assert answer.status == 200, answer.data


def test_a_check_in_is_taken_once_and_counted(tested: Target, client: Client) -> None:
    token, members = log_in(tested)
    before = client.get("/v1/attendance", token)["check_ins"]
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"member_id": members[0]}
    first, again = (
        client.request("POST", "/v1/check-ins", body=body, token=tested.kiosk, headers=key) for _ in range(2)
    )
    assert (first.status, again.status) == (201, 201), (first.data, again.data)
    assert first.json()["id"] == again.json()["id"]
    assert client.get("/v1/attendance", token)["check_ins"] > before


def test_a_stranger_is_refused(client: Client) -> None:
    assert client.request("GET", "/v1/members", token="made-up").status == 401
