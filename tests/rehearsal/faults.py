"""A way to the embedded cloud on which things go wrong: refusals in AWS's own words, and a network that is cut."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

CUT = "cut"
# What to answer to an action: `CUT`, a status with a code and a message, or None to pass it on.
Rule = Callable[[str], "tuple[int, str, str] | str | None"]
ERROR = (
    '<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error><Type>Sender</Type>'
    "<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
)


@contextmanager
def faulty(endpoint: str, rule: Rule) -> Iterator[str]:
    """Give the address of a proxy that asks `rule` what to do with each action."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = rule(parse_qs(body.decode()).get("Action", [""])[0])
            if fault == CUT:
                self.close_connection = True
                self.connection.close()
            elif isinstance(fault, tuple):
                status, code, message = fault
                self._answer(status, "text/xml", ERROR.format(code=code, message=message).encode())
            else:
                self._answer(*self._passed_on(body))

        def _passed_on(self, body: bytes) -> tuple[int, str, bytes]:
            headers = {key: value for key, value in self.headers.items() if key not in ("Host", "Content-Length")}
            request = urllib.request.Request(endpoint + self.path, body, headers, method="POST")  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    return answer.status, answer.headers["Content-Type"], answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.headers["Content-Type"], error.read()

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
