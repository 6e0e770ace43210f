"""A service, its migration and its job; FAULT makes it a bad version."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMAND = sys.argv[1]
FAULT = os.environ.get("FAULT", "")
VERSION = os.environ["RELEASE_VERSION"]
# What is held at the end takes so long to finish.
HOLD_SECONDS = 2
stopping = threading.Event()


class Service(BaseHTTPRequestHandler):
    """Says its version; to `/hold` only when it is about to end, as a worker finishes the message that it holds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/hold":
            stopping.wait()
            time.sleep(HOLD_SECONDS)
        version = "another" if FAULT == "lies" else VERSION
        body = json.dumps({"version": version, "colour": os.environ["RELEASE_COLOUR"]}).encode()
        self.send_response(503 if FAULT == "refuses" and self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """A server that finishes what it holds before it ends."""

    request_queue_size = 128
    daemon_threads = False


if COMMAND == "migrate":
    print(f"schema brought to {VERSION}, password given: {'MIGRATION_PASSWORD' in os.environ}")
elif COMMAND == "report":
    print(f"report of {VERSION}")
elif FAULT == "ends":
    sys.exit("this version cannot start")
else:
    server = Server(("", int(os.environ["PORT"])), Service)

    def end(*_: object) -> None:
        """Take nothing new, and tell those who hold something."""
        stopping.set()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever()
    server.server_close()
