"""HAProxy's runtime API: ask through its master, read its tables, and keep a map file and the running map alike."""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Where the master listens, as the unit of the role haproxy starts it.
MASTER_SOCKET = "/run/haproxy-master.sock"
# For a process that hangs, and for a master that reloads: it does not listen until the new configuration is read.
ANSWER_TIMEOUT_SECONDS = 10
RETRY_SECONDS = 0.1


class HaproxyError(Exception):
    """HAProxy refused a command or answered something that cannot be read."""


class NotRunningError(HaproxyError):
    """Nobody listens on the master's socket."""


class MapUnknownError(HaproxyError):
    """The running configuration does not name the map (yet)."""


@dataclass(frozen=True)
class Server:
    """One server of one backend, as `show stat` tells it."""

    backend: str
    name: str
    status: str
    open_requests: int
    queued_requests: int
    check: str
    last_check: str

    @property
    def up(self) -> bool:
        """Whether it takes new requests, and a check of this process has passed: a fresh process trusts all servers."""
        return self.status.startswith("UP") and self.check.endswith("OK")


class Runtime:
    """The process of HAProxy that takes new connections, asked through its master.

    The stats socket would not do: while HAProxy reloads it leads to the process that is about to be replaced.
    """

    def __init__(self, path: str = MASTER_SOCKET) -> None:
        """Remember the master's socket; nothing is opened yet."""
        self.path = path

    def ask(self, command: str) -> str:
        """Send one command and return the whole answer."""
        # `@1` is the master's name for that process.
        return ask_master(self.path, f"@1 {command}")

    def older(self) -> list[int]:
        """Return the process numbers of those that a reload has left with open connections.

        On each idle connection such a process answers one more request. It decides by its own copy of the map and by
        what it knew of the servers: it reads no file and checks no server any more.
        """
        return parse_older(ask_master(self.path, "show proc"))

    def read_map(self, path: str) -> dict[str, str]:
        """Return the running map: what requests are decided by at this moment."""
        answer = self.ask(f"show map {path}")
        if answer.startswith("Unknown map"):
            raise MapUnknownError(f"the running HAProxy uses no map {path}: apply the role haproxy first")
        entries = {}
        for line in filter(None, (line.strip() for line in answer.splitlines())):
            # "<address of the entry> <key> <value>"
            _, _, pair = line.partition(" ")
            key, _, value = pair.partition(" ")
            entries[key] = value.strip()
        return entries

    def write_map(self, path: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Change the running map from one state to another; each entry changes between two requests."""
        commands = [f"del map {path} {key}" for key in before if key not in after]
        for key, value in after.items():
            if key not in before:
                commands.append(f"add map {path} {key} {value}")
            elif before[key] != value:
                commands.append(f"set map {path} {key} {value}")
        for command in commands:
            if refusal := self.ask(command).strip():
                raise HaproxyError(f"HAProxy refused {command!r}: {refusal}")

    def servers(self) -> list[Server]:
        """Return every server of every backend."""
        return parse_servers(self.ask("show stat -1 4 -1"))


def ask_master(path: str, command: str) -> str:
    """Send one command to the master and return the whole answer, over a connection of its own.

    A command that a reload has cut off is sent again.
    """
    end = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_TIMEOUT_SECONDS)
                connection.connect(path)
                connection.sendall(command.encode() + b"\n")
                # The master waits for more commands until it hears that there are none.
                connection.shutdown(socket.SHUT_WR)
                while block := connection.recv(65536):
                    answer += block
        except FileNotFoundError as error:
            raise NotRunningError(f"no HAProxy listens on {path}") from error
        except ConnectionError as error:
            if time.monotonic() > end:
                raise NotRunningError(f"no HAProxy listens on {path}") from error
        except OSError as error:
            raise HaproxyError(f"HAProxy did not answer {command!r} on {path}: {error}") from error
        # Each answer ends with an empty line, so that nothing at all is no answer.
        if answer:
            return answer.decode()
        if time.monotonic() > end:
            raise HaproxyError(f"HAProxy did not answer {command!r} on {path}")
        time.sleep(RETRY_SECONDS)


def parse_older(table: str) -> list[int]:
    """Read the numbers of the older processes out of the master's `show proc`."""
    if "# workers" not in table:
        raise HaproxyError(f"'show proc' did not answer a table but {table[:80]!r}")
    _, _, rest = table.partition("# old workers\n")
    section, _, _ = rest.partition("#")
    return [int(line.split()[0]) for line in section.splitlines() if line.strip()]


def parse_servers(table: str) -> list[Server]:
    """Read the servers out of `show stat`, whose first line names the columns after a hash."""
    if not table.startswith("# "):
        raise HaproxyError(f"'show stat' did not answer a table but {table[:80]!r}")
    return [
        Server(
            backend=row["pxname"],
            name=row["svname"],
            status=row["status"],
            open_requests=int(row["scur"] or 0),
            queued_requests=int(row["qcur"] or 0),
            # The asterisk marks a check that is under way; what stands behind it is the last one's result.
            check=(row.get("check_status") or "").removeprefix("* "),
            last_check=row.get("last_chk") or "",
        )
        for row in csv.DictReader(io.StringIO(table[2:]))
        if row["svname"] not in ("FRONTEND", "BACKEND")
    ]


def parse_map(text: str) -> dict[str, str]:
    """Read a map file: a key, blanks, a value; empty lines and comments are skipped."""
    entries: dict[str, str] = {}
    for line in (line.strip() for line in text.splitlines()):
        if line and not line.startswith("#"):
            key, _, value = line.partition(" ")
            # HAProxy answers the first of two equal keys.
            entries.setdefault(key, value.strip())
    return entries


def render_map(entries: Mapping[str, str]) -> str:
    """Write a map file, sorted so that equal maps are equal files."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def wanted_map(current: Mapping[str, str], entries: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return what the map should hold: what it holds, with the entries set and the missing defaults added."""
    return {**defaults, **current, **entries}


def bad_entries(entries: Mapping[str, str]) -> list[str]:
    """Name the entries that would break the file or the command: HAProxy splits both at blanks and `;`."""
    return [
        f"{key!r}: {value!r}"
        for key, value in entries.items()
        if not key or not value or key.startswith("#") or any(c.isspace() or c in ";\\" for c in key + value)
    ]


def unmet(
    servers: list[Server], backends: list[str], until: str, older: Sequence[int] = (), names: Sequence[str] = ()
) -> str:
    """Say what keeps the backends from being `up` or `drained`; an empty sentence when nothing does.

    With `names`, only the servers that are called so count. Nothing is drained while there are older processes: they
    send requests wherever they did before the reload.
    """
    problems = []
    for backend in backends:
        members = [server for server in servers if server.backend == backend and (not names or server.name in names)]
        if not members:
            those = f" with {' or '.join(names)}" if names else ""
            problems.append(f"HAProxy has no backend {backend}{those}")
        for server in members:
            if until == "up" and not server.up:
                problems.append(f"{backend}/{server.name} is {server.status} ({server.check} {server.last_check})")
            if until == "drained" and (requests := server.open_requests + server.queued_requests):
                problems.append(f"{backend}/{server.name} still has {requests} open or queued requests")
    if backends and until == "drained" and older:
        problems.append(f"{len(older)} older HAProxy process(es) still see connections out that a reload has left")
    return "; ".join(problems)
