"""Serve SQS's protocol from MiniStack, so that what was acknowledged is on the disk and only our key is let in.

MiniStack by itself writes its state when it is stopped, and a killed process loses all messages. Here each change is
written and synced before its answer leaves: the changes of all requests that wait share one write. MiniStack also
answers to well-known test keys and has an unguarded reset; here there is one key and the queues, nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.request
from collections.abc import Awaitable, Callable, MutableMapping
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
CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/[^/]+/[^/]+/(?P<service>[^/]+)/")


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


class Endpoint:
    """The application around MiniStack's: a door before it, and a journal behind it."""

    def __init__(self, application: Application, journal: Journal, access_key: str) -> None:
        """Let requests of this access key through to the application."""
        self._application = application
        self._journal = journal
        self._access_key = access_key

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection's event."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] not in OPEN_PATHS and (refusal := refuse(scope["path"], headers, self._access_key)):
            await answer_error(send, 403, *refusal)
            return
        if action(headers) in READ_ONLY or scope["method"] != "POST":
            await self._application(scope, receive, send)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._application(scope, receive, keep)
        try:
            await self._journal.commit()
        except OSError as error:
            print(f"cannot write the queues' state: {error}", file=sys.stderr, flush=True)
            await answer_error(send, 503, "ServiceUnavailable", "The queue cannot write to its disk. Try again.")
            return
        for message in answer:
            await send(message)


def action(headers: MutableMapping[str, str]) -> str:
    """The action of a request, in the JSON protocol; empty in the old one, whose actions all count as changes."""
    return headers.get("x-amz-target", "").rpartition("AmazonSQS.")[2]


def refuse(path: str, headers: MutableMapping[str, str], access_key: str) -> tuple[str, str] | None:
    """Why a request is not even looked at; None when MiniStack may check its signature."""
    if path.startswith("/_"):
        return "AccessDenied", "Only queues are served here."
    found = CREDENTIAL.search(headers.get("authorization", ""))
    if found is None:
        return "MissingAuthenticationToken", "The request is not signed."
    if found["key"] != access_key or found["service"] != "sqs":
        return "InvalidClientTokenId", "The access key is not known here."
    return None


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
        # The format in which MiniStack reads its state when it starts.
        version = persistence._state_format_version("sqs")
        record = {"__ministack_format__": version, "payload": sqs.get_state()}
        return json.dumps(record, default=persistence._json_default)

    journal = Journal(Path(os.environ["STATE_DIR"]) / "sqs.json", snapshot)
    app.app = Endpoint(app.app, journal, os.environ["AWS_ACCESS_KEY_ID"])
    app.main()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ready"]:
        sys.exit(ready(sys.argv[2]))
    serve()
