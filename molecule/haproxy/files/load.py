"""A load that is steady and bounded; prints what came back.

`load.py <address> <host name> <path> <requests per second> <stop>`: until the file <stop> exists, at most for two
minutes. The file <stop>.started says that the first answer is there.
"""

from __future__ import annotations

import collections
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

ADDRESS, NAME, PATH = sys.argv[1:4]
RATE, STOP = float(sys.argv[4]), Path(sys.argv[5])
LONGEST_SECONDS = 120
THREADS = 4
CONTEXT = ssl.create_default_context(cafile="/etc/ssl/gym/ca.pem")


class Connection(http.client.HTTPSConnection):
    """Goes to an address and asks for a name."""

    def connect(self) -> None:
        """Connect."""
        self.sock = CONTEXT.wrap_socket(socket.create_connection((ADDRESS, 443), 5), server_hostname=NAME)


statuses: collections.Counter[str] = collections.Counter()
answers: collections.Counter[str] = collections.Counter()
lock = threading.Lock()
end = time.monotonic() + LONGEST_SECONDS


def client() -> None:
    """Send a request, half of them POST, at an even pace, with a new connection now and then."""
    connection = Connection(NAME, timeout=20)
    sent = 0
    while (start := time.monotonic()) < end and not STOP.exists():
        sent += 1
        if sent % 20 == 0:
            connection.close()
        try:
            connection.request("POST" if sent % 2 else "GET", PATH, body=b"{}" if sent % 2 else None)
            response = connection.getresponse()
            text = json.loads(response.read())
            status, answer = str(response.status), str(text.get("version") or text.get("colour"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            status, answer = type(error).__name__, ""
            connection.close()
        with lock:
            statuses[status] += 1
            answers[answer] += 1
        STARTED.touch()
        time.sleep(max(0.0, THREADS / RATE - (time.monotonic() - start)))


STOP.unlink(missing_ok=True)
STARTED = Path(f"{STOP}.started")
STARTED.unlink(missing_ok=True)
threads = [threading.Thread(target=client) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"statuses": statuses, "answers": answers}))
