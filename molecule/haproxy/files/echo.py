"""A service that says who it is and what it was sent."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """Answers every request with the colour and the request's headers."""

    protocol_version = "HTTP/1.1"
    colour = sys.argv[1]

    def do_GET(self) -> None:
        """Answer; /slow takes two seconds."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/slow":
            time.sleep(2)
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = json.dumps({"colour": self.colour, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """A server that many may knock at in the same instant."""

    request_queue_size = 128


Server(("", int(sys.argv[2])), Echo).serve_forever()
