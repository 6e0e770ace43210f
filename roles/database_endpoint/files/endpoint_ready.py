#!/usr/bin/python3
"""Tell whether the endpoint has checked its servers: exactly one leads, and nothing waits for its first check."""

from __future__ import annotations

import socket
import sys

SOCKET = "/run/database-endpoint/haproxy.sock"
UP, NAME, BACKEND, STATE, CHECK = "UP", 1, 0, 17, 36


def statistics() -> list[list[str]]:
    """Return the fields of every server, as the process that runs now reports them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(SOCKET)
        connection.sendall(b"show stat\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return [row for row in rows if row[NAME] not in ("FRONTEND", "BACKEND")]


def main() -> None:
    """Exit 0 when clients can be let in."""
    try:
        servers = statistics()
    except OSError as error:
        sys.exit(f"The endpoint does not answer yet: {error}")
    unchecked = [row[NAME] for row in servers if row[CHECK] in ("", "INI", "* INI")]
    leaders = [row[NAME] for row in servers if row[BACKEND] == "writer" and row[STATE].startswith(UP)]
    if unchecked or len(leaders) != 1:
        sys.exit(f"Not checked yet: {', '.join(unchecked) or 'none'}; leaders: {', '.join(leaders) or 'none'}.")


if __name__ == "__main__":
    main()
