"""The API of the Docker engine on this machine, over its Unix socket, with nothing but the standard library.

A call costs a few milliseconds where the `docker` program costs fifty, and answers come as records instead of text.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import quote, urlencode

DEFAULT_SOCKET = "/var/run/docker.sock"
# The option of every module that works with it.
ENGINE: dict[str, dict[str, Any]] = {"socket": {"type": "path", "default": DEFAULT_SOCKET}}
# Understood by Docker 20.10 (Debian 12) and by all later engines.
API_VERSION = "v1.41"


class EngineError(Exception):
    """The engine refused, or did not answer; the message is one sentence for the user."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep the HTTP status (0: no answer) beside the sentence."""
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One engine; every call opens its own connection, so threads may share the object."""

    def __init__(self, socket_path: str = DEFAULT_SOCKET, timeout: float = 120) -> None:
        """Talk to the engine behind this socket; no single call may take longer than the timeout."""
        self.socket_path = socket_path
        self._timeout = timeout

    def answers(self) -> bool:
        """Tell whether an engine is there and ready."""
        try:
            self.call("GET", "/_ping")
        except EngineError:
            return False
        return True

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: Any = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """Make one call and return the parsed answer; statuses in `accept` are no error and return None.

        `body` is sent as it is when it is bytes or an open file, and as JSON otherwise.
        """
        connection, response = self._send(method, path, query, body)
        try:
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"The Docker engine broke off its answer to {method} {path}: {error}.") from error
        finally:
            connection.close()
        if response.status in accept:
            return None
        self._refuse(response.status, content)
        return _parse(content, response.getheader("Content-Type", ""))

    def stream(
        self, method: str, path: str, query: dict[str, Any], body: IO[bytes] | bytes
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of a long answer (a build, an import) as they come; an error among them is raised."""
        connection, response = self._send(method, path, query, body)
        try:
            if response.status >= 400:
                self._refuse(response.status, response.read())
            for line in response:
                if not line.strip():
                    continue
                record: dict[str, Any] = json.loads(line)
                if "error" in record:
                    raise EngineError(str(record["error"]).strip())
                yield record
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"The Docker engine broke off its answer to {method} {path}: {error}.") from error
        finally:
            connection.close()

    @contextlib.contextmanager
    def download(self, path: str) -> Iterator[IO[bytes]]:
        """Give the bytes of a long answer, such as the file system of a container, to be read as they come."""
        connection, response = self._send("GET", path, None, None)
        try:
            if response.status >= 400:
                self._refuse(response.status, response.read())
            yield response
        finally:
            connection.close()

    def run(self, container: str, command: list[str]) -> tuple[int, str]:
        """Run a command inside a container and return its exit code and its output."""
        created = self.call(
            "POST",
            f"/containers/{quote(container)}/exec",
            body={"Cmd": command, "AttachStdout": True, "AttachStderr": True},
        )
        path = f"/exec/{created['Id']}"
        output = self.call("POST", f"{path}/start", body={"Detach": False, "Tty": False})
        code = self.call("GET", f"{path}/json")["ExitCode"]
        return int(code if code is not None else 1), _demultiplex(output if isinstance(output, bytes) else b"")

    def _send(
        self, method: str, path: str, query: dict[str, Any] | None, body: Any
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        headers = {}
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "read"):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif body is not None:
            headers["Content-Type"] = "application/x-tar"
        target = f"/{API_VERSION}{path}"
        if query:
            target += "?" + urlencode(
                {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in query.items()}
            )
        connection = _Connection(self.socket_path, self._timeout)
        try:
            connection.request(method, target, body=body, headers=headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineError(f"The Docker engine at {self.socket_path} does not answer: {error}.") from error

    @staticmethod
    def _refuse(status: int, content: bytes) -> None:
        if status < 400:
            return
        answer = _parse(content, "application/json")
        message = answer.get("message", "") if isinstance(answer, dict) else content.decode(errors="replace")
        raise EngineError(str(message).strip() or f"The Docker engine answered {status}.", status)


def _parse(content: bytes, content_type: str) -> Any:
    if content_type.startswith("application/json"):
        try:
            return json.loads(content) if content.strip() else None
        except ValueError:
            return None
    return content


def _demultiplex(stream: bytes) -> str:
    """Join the frames of an attached output: each has eight bytes in front, the last four its length."""
    parts = []
    while len(stream) >= 8:
        length = int.from_bytes(stream[4:8], "big")
        parts.append(stream[8 : 8 + length])
        stream = stream[8 + length :]
    return b"".join(parts).decode(errors="replace")
