"""The queue's endpoint: who is let in, and that an answer never leaves before its change is on the disk."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PROGRAM = Path(__file__).parents[6] / "roles" / "queue" / "files" / "queue_endpoint.py"
BODY = b'{"QueueName":"notifications"}'


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("queue_endpoint", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["queue_endpoint"] = module
    spec.loader.exec_module(module)
    return module


endpoint: Any = load()
KEY = endpoint.Key("ACCESSKEY", "secret")


def signed(secret: str = KEY.secret, key: str = "ACCESSKEY", service: str = "sqs", url: str = "http://q:4566/") -> Any:
    """A request as botocore signs it."""
    request = AWSRequest("POST", url, data=BODY, headers={"X-Amz-Target": "AmazonSQS.SendMessage", "Host": "q:4566"})
    SigV4Auth(Credentials(key, secret), service, "local-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    path, _, query = url.removeprefix("http://q:4566").partition("?")
    return endpoint.Request("POST", path, query, headers, BODY)


def changed(request: Any, **changes: Any) -> Any:
    return endpoint.Request(**{**vars(request), **changes})


@pytest.mark.parametrize("url", ["http://q:4566/", "http://q:4566/000000000000/reports", "http://q:4566/?b=2&a=1&c"])
def test_a_request_that_botocore_signed_is_let_in(url: str) -> None:
    assert endpoint.refuse(signed(url=url), KEY, datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (signed(secret="wrong"), "SignatureDoesNotMatch"),
        (signed(key="test"), "InvalidClientTokenId"),
        (signed(service="s3"), "MissingAuthenticationToken"),
        (changed(signed(), body=b"{}"), "SignatureDoesNotMatch"),
        (changed(signed(), path="/other"), "SignatureDoesNotMatch"),
        (changed(signed(), path="/_ministack/reset"), "AccessDenied"),
        (changed(signed(), headers={}), "MissingAuthenticationToken"),
    ],
)
def test_any_other_request_is_refused(request_: Any, code: str) -> None:
    assert endpoint.refuse(request_, KEY, datetime.now(UTC))[0] == code


def test_another_action_cannot_be_put_under_a_signature() -> None:
    good = signed()
    headers = {**good.headers, "x-amz-target": "AmazonSQS.PurgeQueue"}
    assert endpoint.refuse(changed(good, headers=headers), KEY, datetime.now(UTC))[0] == "SignatureDoesNotMatch"
    names = good.headers["authorization"].replace(";x-amz-target", "")
    headers = {**good.headers, "authorization": names}
    assert endpoint.refuse(changed(good, headers=headers), KEY, datetime.now(UTC))[0] == "IncompleteSignature"


def test_an_old_request_cannot_be_sent_again() -> None:
    later = datetime.now(UTC) + timedelta(minutes=16)
    assert endpoint.refuse(signed(), KEY, later)[0] == "RequestExpired"


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 5))


async def call(application: Any, journal: Any, request: Any = None) -> list[dict[str, Any]]:
    request = request or signed()
    scope = {
        "type": "http", "method": request.method, "path": request.path, "raw_path": request.path.encode(),
        "query_string": b"", "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    halves = [request.body[:5], request.body[5:]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await endpoint.Endpoint(application, journal, KEY)(scope, receive, send)
    return sent


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["body"] == BODY
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_a_change_is_on_the_disk_when_its_answer_leaves(tmp_path: Path) -> None:
    path = tmp_path / "sqs.json"
    answers = run(call(accepting, endpoint.Journal(path, lambda: "state")))
    assert [answer.get("status") for answer in answers] == [200, None]
    assert path.read_text() == "state"
    assert list(tmp_path.iterdir()) == [path]


def test_a_change_that_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    answers = run(call(accepting, endpoint.Journal(tmp_path / "missing" / "sqs.json", lambda: "state")))
    assert answers[0]["status"] == 503


def test_reading_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sqs.json"
    request = signed()
    headers = {**request.headers, "x-amz-target": "AmazonSQS.GetQueueUrl"}
    assert endpoint.action(headers) in endpoint.READ_ONLY
    unwritten = endpoint.Journal(path, lambda: "state")
    resigned = AWSRequest(
        "POST", "http://q:4566/", data=BODY, headers={"X-Amz-Target": headers["x-amz-target"], "Host": "q:4566"}
    )
    SigV4Auth(Credentials("ACCESSKEY", "secret"), "sqs", "local-1").add_auth(resigned)
    lower = {name.lower(): value for name, value in resigned.headers.items()}
    assert run(call(accepting, unwritten, changed(request, headers=lower)))[0]["status"] == 200
    assert not path.exists()


def test_one_write_serves_all_that_wait_and_never_one_that_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = 0
    written: list[str] = []
    monkeypatch.setattr(endpoint, "write_durably", lambda _, text: written.append(text))
    journal = endpoint.Journal(tmp_path / "x", lambda: str(state))

    async def change() -> None:
        nonlocal state
        state += 1
        mine = state
        await journal.commit()
        assert int(written[-1]) >= mine

    async def all_changes() -> None:
        await asyncio.gather(*(change() for _ in range(100)))
        await asyncio.gather(*(change() for _ in range(100)))

    run(all_changes())
    assert len(written) <= 4
    assert written[-1] == "200"


def test_a_body_without_end_is_not_kept() -> None:
    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1024 * 1024, "more_body": True}

    assert run(endpoint.read_body(endless)) is None
