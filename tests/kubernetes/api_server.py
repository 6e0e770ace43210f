"""The API server of the collection's tests behind real HTTP, and the registry that the driver asks, on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from ansible_collections.gym.platform.tests.unit.kubernetes_api import Api

# An image that the registry does not have.
MISSING = "nowhere"


@contextmanager
def serving(api: Api) -> Iterator[str]:
    """Serve an API on a free port, and give its URL."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if url.path.startswith("/v2/"):
                self.registry(url.path.rpartition("/")[2])
                return
            with lock:
                status, answer = api.answer(self.command, url.path, dict(parse_qsl(url.query)), body)
                text = answer if isinstance(answer, str) else json.dumps(answer)
            self.reply(status, text.encode(), {"Content-Type": "application/json"})

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815 - names of the library

        def registry(self, mark: str) -> None:
            digest = mark if mark.startswith("sha256:") else f"sha256:{mark}"
            self.reply(404 if mark == MISSING else 200, b"", {"Docker-Content-Digest": digest})

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
