"""A member checks in at the front door, and everything behind it does its part."""

from __future__ import annotations

import json
import time
import uuid

import pytest
import urllib3

from tests.end_to_end.client import CheckIn, Client, FrontDoor
from tests.end_to_end.platform_access import STATE, Gym, on_host, prometheus, wait_for

# Prometheus looks every 15 s, and the service refreshes what it says of kiosks on its own.
SEEN_SECONDS = 60


def check_in(gym: Gym, key: str, member: str) -> urllib3.BaseHTTPResponse:
    headers = {"Idempotency-Key": key}
    body = {"member_id": member}
    return gym.client.request("POST", "/v1/check-ins", token=gym.kiosk, body=body, headers=headers)


def test_a_check_in_is_stored_once_read_back_and_notified(gym: Gym) -> None:
    key = str(uuid.uuid4())
    first = check_in(gym, key, gym.members[0])
    assert first.status == 201, first.data
    again = check_in(gym, key, gym.members[0])
    assert again.json()["id"] == first.json()["id"]

    identity = first.json()["id"]
    read = wait_for(
        lambda: (
            (answer := gym.client.request("GET", f"/v1/check-ins/{identity}", token=gym.kiosk)).status == 200 and answer
        ),
        10,
        "the check-in is there when it is asked for through the reader endpoint",
    )
    assert isinstance(read, urllib3.BaseHTTPResponse)
    assert read.json()["member_id"] == gym.members[0]
    journal = [CheckIn(key, 0.0, 1.0, identity)]
    gym.check(journal)
    wait_for(lambda: gym.delivered(journal) == 1, 30, "its notification is delivered")


def test_the_reader_endpoint_answers_from_a_standby() -> None:
    listening = on_host("app-1", "curl", "--silent", "--show-error", "--cacert", "/etc/ssl/gym/ca.pem",
                        "https://db-1.gym.internal:8008/cluster")  # fmt: skip
    roles = [member["role"] for member in json.loads(listening)["members"]]
    assert sorted(roles) in (["leader", "replica", "replica"], ["leader", "replica", "sync_standby"]), roles


def test_heartbeat_and_latency_are_visible_in_prometheus(gym: Gym) -> None:
    before = time.time()
    assert gym.client.request("POST", "/v1/kiosks/heartbeat", token=gym.kiosk).status == 204
    fresh = f'gym_kiosk_heartbeat_timestamp_seconds{{tenant="north-gym"}} >= {before - 1:.0f}'
    wait_for(lambda: prometheus(fresh), SEEN_SECONDS, fresh)
    latency = 'sum(gym_http_request_duration_seconds_count{route="/v1/check-ins"}) > 0'
    wait_for(lambda: prometheus(latency), SEEN_SECONDS, latency)


def test_everything_that_is_scraped_answers() -> None:
    wait_for(lambda: prometheus("count(up == 1) > 20"), SEEN_SECONDS, "more than 20 targets are up")
    # The idle colour of a service is not there to be scraped.
    assert [series["metric"] for series in prometheus('up{job!~"gym-.*"} == 0')] == []


@pytest.mark.parametrize(
    "name",
    [
        "gym_http_request_duration_seconds_bucket",
        "gym_http_responses_total",
        "gym_database_query_duration_seconds_bucket",
        "gym_cache_requests_total",
        "gym_queue_messages",
        "gym_kiosk_heartbeat_timestamp_seconds",
    ],
)
def test_the_six_metrics_of_the_platform_are_there(name: str) -> None:
    wait_for(lambda: prometheus(name), SEEN_SECONDS, name)


def test_another_gym_sees_nothing_of_it(gym: Gym) -> None:
    identity = check_in(gym, str(uuid.uuid4()), gym.members[0]).json()["id"]
    other = gym.kiosk.replace("north-gym", "south-gym")
    assert gym.client.request("GET", f"/v1/check-ins/{identity}?fresh=true", token=gym.kiosk).status == 200
    assert gym.client.request("GET", f"/v1/check-ins/{identity}?fresh=true", token=other).status == 404
    # Its kiosk cannot check in another gym's member either.
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"member_id": gym.members[0]}
    assert gym.client.request("POST", "/v1/check-ins", token=other, body=body, headers=headers).status == 404


def test_attendance_counts_a_check_in_at_once(gym: Gym) -> None:
    before = gym.client.get("/v1/attendance", gym.staff)
    assert check_in(gym, str(uuid.uuid4()), gym.members[1]).status == 201
    after = gym.client.get("/v1/attendance", gym.staff)
    count = next(
        name for name in after if name != "day" and isinstance(after[name], int) and after[name] > before[name]
    )
    assert after[count] == before[count] + 1


def test_nobody_enters_without_a_token_or_under_another_name(gym: Gym) -> None:
    assert gym.client.request("GET", "/v1/members").status == 401
    assert gym.client.request("GET", "/v1/members", token="made-up").status == 401
    stranger = Client(FrontDoor("127.0.0.1", 8443, "api.example.com", STATE / "ca.pem"))
    with pytest.raises(urllib3.exceptions.HTTPError, match=r"doesn't match|certificate"):
        stranger.request("GET", "/version")


def test_every_answer_has_the_request_id_that_is_in_the_log(gym: Gym) -> None:
    answer = gym.client.request("GET", "/version")
    identity = answer.headers["X-Request-ID"]
    wait_for(
        lambda: identity in on_host("edge-1", "journalctl", "--unit=haproxy", "--lines=400", "--output=cat"),
        10,
        "the request id is in the front door's log",
    )
