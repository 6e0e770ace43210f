"""Connections that stay open over a reload; prints what came back on each afterwards.

`held.py <address> <host name> <path> <number> <stop>`: asks once on each of so many connections, makes the file
<stop>.started, waits for the file <stop>, at most for a minute, and asks on each once more.
"""

from __future__ import annotations

import collections
import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path

ADDRESS, NAME, PATH = sys.argv[1:4]
NUMBER, STOP = int(sys.argv[4]), Path(sys.argv[5])
LONGEST_SECONDS = 60
CONTEXT = ssl.create_default_context(cafile="/etc/ssl/gym/ca.pem")


class Connection(http.client.HTTPSConnection):
    """Goes to an address and asks for a name, and does not come back once it was closed."""

    auto_open = 0

    def connect(self) -> None:
        """Connect."""
        self.sock = CONTEXT.wrap_socket(socket.create_connection((ADDRESS, 443), 5), server_hostname=NAME)

    def ask(self) -> tuple[str, str]:
        """Return the status, or what came instead of one, and the colour."""
        try:
            self.request("GET", PATH)
            response = self.getresponse()
            return str(response.status), str(json.loads(response.read())["colour"])
        except (OSError, ValueError, http.client.HTTPException) as error:
            return type(error).__name__, ""


connections = [Connection(NAME, timeout=20) for _ in range(NUMBER)]
for connection in connections:
    connection.connect()
    connection.ask()
Path(f"{STOP}.started").touch()
end = time.monotonic() + LONGEST_SECONDS
while not STOP.exists() and time.monotonic() < end:
    time.sleep(0.05)
found = [connection.ask() for connection in connections]
statuses = collections.Counter(status for status, _ in found)
print(json.dumps({"statuses": statuses, "answers": collections.Counter(colour for _, colour in found)}))
