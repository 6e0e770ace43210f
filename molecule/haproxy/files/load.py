"""A bounded load: `load.py <address> <host name> <path> <seconds> <requests per second>` prints what came back."""

from __future__ import annotations

import collections
import http.client
import json
import socket
import ssl
import sys
import threading
import time

ADDRESS, NAME, PATH = sys.argv[1:4]
SECONDS, RATE = float(sys.argv[4]), float(sys.argv[5])
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
end = time.monotonic() + SECONDS


def client() -> None:
    """Send a request, half of them POST, at an even pace, with a new connection now and then."""
    connection = Connection(NAME, timeout=20)
    sent = 0
    while (start := time.monotonic()) < end:
        sent += 1
        if sent % 20 == 0:
            connection.close()
        try:
            connection.request("POST" if sent % 2 else "GET", PATH, body=b"{}" if sent % 2 else None)
            response = connection.getresponse()
            text = json.loads(response.read())
            status, answer = str(response.status), str(text.get("colour") or text.get("version"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            status, answer = type(error).__name__, ""
            connection.close()
        with lock:
            statuses[status] += 1
            answers[answer] += 1
        time.sleep(max(0.0, THREADS / RATE - (time.monotonic() - start)))


threads = [threading.Thread(target=client) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"statuses": statuses, "answers": answers}))
