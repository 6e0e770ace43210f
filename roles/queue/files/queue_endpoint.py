"""Serve SQS's protocol from MiniStack, so that what was acknowledged is on the disk and only our key is let in.

MiniStack by itself writes its state when it is stopped, and a killed process loses all messages. Here each change is
written and synced before its answer leaves: the changes of all requests that wait share one write. MiniStack also
answers to well-known test keys, does not check what SQS requests are signed with, and has an unguarded reset; here
there is one key whose signature is checked, and the queues, nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

READ_ONLY = frozenset(
    {"GetQueueAttributes", "GetQueueUrl", "ListQueues", "ListQueueTags", "ListDeadLetterSourceQueues"}
)
OPEN_PATHS = frozenset({"/_ministack/health", "/_ministack/ready"})
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[^/]+)/sqs/aws4_request),"
    r"\s*SignedHeaders=(?P<names>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
# As SQS allows: clocks that differ more make a request look replayed.
CLOCK_SKEW = timedelta(minutes=15)
# SQS takes 1 MiB of messages in one request; what is around them is small.
LARGEST_BODY = 2 * 1024 * 1024


class Journal:
    """The queues' state on the disk, written in one step and shared by all requests that wait for it."""

    def __init__(self, path: Path, snapshot: Callable[[], str]) -> None:
        """Keep what `snapshot` returns in the file at `path`."""
        self._path = path
        self._snapshot = snapshot
        self._written = ""
        self._waiting: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def commit(self) -> None:
        """Return when a snapshot that was taken after this call is on the disk; raise OSError when it cannot be."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        waiting = self._waiting
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        # One client that goes away must not take the answer from the others.
        await asyncio.shield(waiting)

    async def _write_all(self) -> None:
        while self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            try:
                # Taken in the event loop, where no request is in the middle of a change.
                text = self._snapshot()
                if text != self._written:
                    await asyncio.to_thread(write_durably, self._path, text)
                    self._written = text
            except Exception as error:
                waiting.set_exception(error)
                # Its requests get it; without this, one whose clients have all gone would be logged as unread.
                waiting.exception()
            else:
                waiting.set_result(None)


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash it holds the old text or the new one."""
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@dataclass(frozen=True)
class Key:
    """The only key that is let in."""

    identifier: str
    secret: str


@dataclass(frozen=True)
class Request:
    """What a signature covers."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """The application around MiniStack's: a door before it, and a journal behind it."""

    def __init__(self, application: Application, journal: Journal, key: Key) -> None:
        """Let requests that are signed with this key through to the application."""
        self._application = application
        self._journal = journal
        self._key = key

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection's event."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            await answer_error(send, 413, "RequestEntityTooLarge", f"A request has at most {LARGEST_BODY} bytes.")
            return
        request = Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
        )
        if refusal := refuse(request, self._key, datetime.now(UTC)):
            await answer_error(send, 403, *refusal)
            return
        given = False

        async def receive_body() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        if action(request.headers) in READ_ONLY:
            await self._application(scope, receive_body, send)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._application(scope, receive_body, keep)
        try:
            await self._journal.commit()
        except OSError as error:
            print(f"cannot write the queues' state: {error}", file=sys.stderr, flush=True)
            await answer_error(send, 503, "ServiceUnavailable", "The queue cannot write to its disk. Try again.")
            return
        for message in answer:
            await send(message)


async def read_body(receive: Receive) -> bytes | None:
    """Read a request's body; None when it is too large to be one."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return body


def action(headers: Mapping[str, str]) -> str:
    """The action of a request, in the JSON protocol; empty in the old one, whose actions all count as changes."""
    return headers.get("x-amz-target", "").rpartition("AmazonSQS.")[2]


def refuse(request: Request, key: Key, now: datetime) -> tuple[str, str] | None:
    """Why a request is not let in, as code and text; None when it is."""
    if request.path.startswith("/_"):
        return "AccessDenied", "Only queues are served here."
    found = AUTHORIZATION.match(request.headers.get("authorization", ""))
    if found is None:
        return "MissingAuthenticationToken", "The request is not signed for SQS with an access key."
    if found["key"] != key.identifier:
        return "InvalidClientTokenId", "The access key is not known here."
    stamp = request.headers.get("x-amz-date", "")
    # A body or a target that the signature does not cover could be put in by anybody on the way.
    if not {"host", "x-amz-date", "x-amz-target"} & set(request.headers) <= set(found["names"].split(";")):
        return "IncompleteSignature", "The signature must cover host, x-amz-date and x-amz-target."
    if not hmac.compare_digest(signature(request, found, stamp, key.secret), found["signature"]):
        return "SignatureDoesNotMatch", "The secret key does not belong to the access key, or the request was changed."
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(now - signed_at) > CLOCK_SKEW:
        return "RequestExpired", f"The request was signed at {stamp}, which is too far from this clock."
    return None


def signature(request: Request, authorization: re.Match[str], stamp: str, secret: str) -> str:
    """What AWS's version 4 signature of this request is."""
    names = authorization["names"].split(";")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    query = "&".join(sorted(part if "=" in part else f"{part}=" for part in request.query.split("&") if part))
    body = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join([request.method, request.path, query, headers, authorization["names"], body])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, authorization["scope"], digest])
    signing_key = f"AWS4{secret}".encode()
    for part in authorization["scope"].split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    return hmac.digest(signing_key, text.encode(), "sha256").hex()


async def answer_error(send: Send, status: int, code: str, text: str) -> None:
    """Answer like SQS does."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": text}).encode()
    headers = [(b"content-type", b"application/x-amz-json-1.0"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ready(url: str) -> int:
    """Succeed when the endpoint answers."""
    try:
        with urllib.request.urlopen(url + "/_ministack/ready", timeout=2) as answer:  # noqa: S310 (our own http url)
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1


def serve() -> None:
    """Serve until the process is stopped."""
    from ministack import app
    from ministack.core import persistence
    from ministack.services import sqs

    def snapshot() -> str:
        # The format in which MiniStack reads its state when it starts. Its own get_state would copy every message
        # before it is written; nothing changes them meanwhile, because this runs in the event loop.
        state = {"queues": sqs._queues, "queue_name_to_url": sqs._queue_name_to_url}
        record = {"__ministack_format__": persistence._state_format_version("sqs"), "payload": state}
        return json.dumps(record, default=persistence._json_default)

    journal = Journal(Path(os.environ["STATE_DIR"]) / "sqs.json", snapshot)
    key = Key(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    app.app = Endpoint(app.app, journal, key)
    app.main()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ready"]:
        sys.exit(ready(sys.argv[2]))
    serve()
