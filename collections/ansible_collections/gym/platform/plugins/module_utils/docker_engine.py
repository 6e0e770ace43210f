"""The Docker Engine API over its socket, with the standard library only: hosts need no Docker SDK.

What a container of the platform may do is decided here and nowhere else, see `creation`.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import struct
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

# The API of Docker 20.10, the oldest engine that the platform meets (Debian 12).
API = "/v1.41"
LABEL = "gym.platform."
# What a container knows about itself, and what the next release reads.
LABELS = ("service", "kind", "colour", "version", "digest", "configuration", "release")
QUICK_SECONDS = 60
PULL_SECONDS = 600
SECOND_NS = 1_000_000_000
MEBIBYTE = 1024 * 1024
POLL_SECONDS = 0.3
# A check is a process in the container, 0.1 CPU-s each: what waits for a container asks it itself, and more often.
CHECK_INTERVAL_SECONDS = 10
# For how long a container has to answer before it is believed: one that stops right after its start comes back, and
# answers again, until it stops again.
STEADY_SECONDS = 2.0
PROBE_SECONDS = 3
LOG_LINES = 20

Record = Mapping[str, Any]


class EngineError(Exception):
    """The engine refused, or a container did not do what it had to."""


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Credentials:
    """Who we are to the image registry."""

    username: str = ""
    password: str = ""

    def header(self) -> dict[str, str]:
        """Return the header that the engine passes on; nothing is written to a file of the host."""
        if not self.username:
            return {}
        text = json.dumps({"username": self.username, "password": self.password})
        return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}


class Engine:
    """One engine; a connection a request, so that threads can share it."""

    def __init__(self, path: str = "/run/docker.sock") -> None:
        """Remember the socket; nothing is opened yet."""
        self.path = path

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Record | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = QUICK_SECONDS,
        fine: Sequence[int] = (),
    ) -> bytes:
        """Send one request and return the body; a status that is neither 2xx nor in `fine` is an error."""
        target = API + path + ("?" + urllib.parse.urlencode(query) if query else "")
        connection = _SocketConnection(self.path, timeout)
        try:
            connection.request(
                method,
                target,
                body=json.dumps(body) if body is not None else None,
                headers={"Content-Type": "application/json", **(headers or {})},
            )
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the Docker engine did not answer {method} {path} on {self.path}: {error}") from error
        finally:
            connection.close()
        if response.status // 100 != 2 and response.status not in fine:
            try:
                message = json.loads(answer)["message"]
            except (ValueError, KeyError, TypeError):
                message = answer.decode(errors="replace")[:500]
            raise EngineError(message)
        return answer

    def containers(self) -> list[dict[str, Any]]:
        """Return the platform's containers, running or not."""
        query = {"all": "1", "filters": json.dumps({"label": [f"{LABEL}service"]})}
        return sorted(
            (observed(item) for item in json.loads(self.call("GET", "/containers/json", query=query))),
            key=lambda item: str(item["name"]),
        )

    def resolve(self, reference: str, credentials: Credentials) -> str:
        """Return the digest that a tag stands for at this moment, as the registry tells it."""
        try:
            answer = self.call("GET", f"/distribution/{reference}/json", headers=credentials.header())
        except EngineError as error:
            raise EngineError(f"the registry does not give image {reference}: {error}") from error
        return str(json.loads(answer)["Descriptor"]["digest"])

    def pull(self, image: str, credentials: Credentials) -> bool:
        """Fetch an image by its digest unless it is there, and return whether it was fetched.

        An image that runs as root is refused.
        """
        fetched = False
        answer = self.call("GET", f"/images/{image}/json", fine=(404,))
        if "Config" not in json.loads(answer):
            repository, _, digest = image.partition("@")
            stream = self.call(
                "POST",
                "/images/create",
                query={"fromImage": repository, "tag": digest},
                headers=credentials.header(),
                timeout=PULL_SECONDS,
            )
            # The status is 200 before the first layer is fetched; how it went is in the stream.
            for line in stream.splitlines():
                if error := json.loads(line).get("error"):
                    raise EngineError(f"image {image} cannot be pulled: {error}")
            fetched = True
            answer = self.call("GET", f"/images/{image}/json")
        user = str(json.loads(answer)["Config"].get("User") or "root").partition(":")[0]
        if user in ("root", "0"):
            raise EngineError(f"image {image} runs as root: give it a USER with a number above 0")
        return fetched

    def create(self, record: Record, secrets: Mapping[str, str]) -> str:
        """Create a container and return its id."""
        answer = self.call("POST", "/containers/create", query={"name": record["name"]}, body=creation(record, secrets))
        return str(json.loads(answer)["Id"])

    def start(self, container: str) -> None:
        """Start a container; one that runs is fine."""
        self.call("POST", f"/containers/{container}/start", fine=(304,))

    def stop(self, container: str, seconds: int) -> None:
        """Send SIGTERM, wait for the container to finish what it holds, and remove it."""
        self.call(
            "POST", f"/containers/{container}/stop", query={"t": str(seconds)}, timeout=seconds + 30, fine=(304, 404)
        )
        self.call("DELETE", f"/containers/{container}", query={"force": "1"}, fine=(404, 409))

    def inspect(self, container: str) -> dict[str, Any]:
        """Return the state of a container."""
        state: dict[str, Any] = json.loads(self.call("GET", f"/containers/{container}/json"))["State"]
        return state

    def log(self, container: str, *, errors: bool = True) -> str:
        """Return the last lines that a container wrote, on standard error as well unless told otherwise.

        The engine keeps the order within a stream, and none between the two.
        """
        query = {"stdout": "1", "stderr": str(int(errors)), "tail": str(LOG_LINES)}
        return demultiplex(self.call("GET", f"/containers/{container}/logs", query=query)).strip()

    def run(self, record: Record, secrets: Mapping[str, str], seconds: int) -> str:
        """Run a container to its end, remove it, and return its standard output. An exit code but 0 is an error."""
        # One that an interrupted run left behind.
        self.call("DELETE", f"/containers/{record['name']}", query={"force": "1"}, fine=(404,))
        container = self.create(record, secrets)
        try:
            self.start(container)
            code = json.loads(self.call("POST", f"/containers/{container}/wait", timeout=seconds))["StatusCode"]
            text = self.log(container, errors=bool(code))
        finally:
            self.call("DELETE", f"/containers/{container}", query={"force": "1"}, fine=(404,))
        if code:
            raise EngineError(f"{record['name']} ended with exit code {code}. Its last lines:\n{text}")
        return text

    def wait_until_steady(self, records: Sequence[Record], seconds: int) -> None:
        """Wait until all containers have answered for STEADY_SECONDS; one that stops or fails ends the wait at once."""
        deadline = time.monotonic() + seconds
        started: dict[str, str] = {}
        since: dict[str, float] = {}
        waiting = list(records)
        while waiting:
            now = time.monotonic()
            for record in list(waiting):
                name = record["name"]
                state = self.inspect(name)
                wrong = trouble(state, started.setdefault(name, state["StartedAt"]))
                if wrong or now > deadline:
                    self._refuse(name, state, wrong or f"is not healthy after {seconds} s")
                if not ready(record, state):
                    since.pop(name, None)
                elif now - since.setdefault(name, now) >= STEADY_SECONDS:
                    waiting.remove(record)
            if waiting:
                time.sleep(POLL_SECONDS)

    def _refuse(self, name: str, state: Record, wrong: str) -> NoReturn:
        said = ((state.get("Health") or {}).get("Log") or [{}])[-1].get("Output", "").strip()
        raise EngineError(
            f"{name} {wrong}."
            + (f" Its health check says: {said[-300:]}." if said else "")
            + f" Its last lines:\n{self.log(name)}"
        )

    def wait_until_ended(self, name: str, seconds: int) -> None:
        """Let a container that runs come to its end by itself, for as long as we can wait."""
        deadline = time.monotonic() + seconds
        while self.inspect(name)["Running"] and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def trouble(state: Record, started: str) -> str:
    """Return what is wrong with a container that was started at that time, or nothing."""
    if state.get("Restarting") or state["Status"] in ("exited", "dead"):
        return f"stopped with exit code {state['ExitCode']}"
    if state["StartedAt"] != started:
        return "stopped, and was started again"
    return "fails its health check" if health(state) == "unhealthy" else ""


def ready(record: Record, state: Record) -> bool:
    """Tell whether a container does its work: the engine has found so, or it answers; one that is never asked runs."""
    if state["Status"] != "running":
        return False
    return not record["health"] or health(state) == "healthy" or answers(record)


def health(state: Record) -> str:
    """Return what the engine's own check found: `starting`, `healthy`, `unhealthy` or `none`."""
    return str((state.get("Health") or {}).get("Status", "none"))


def answers(record: Record) -> bool:
    """Ask a container for its health, as its check does, at the host's address."""
    connection = http.client.HTTPConnection(record["address"], record["port"], timeout=PROBE_SECONDS)
    try:
        connection.request("GET", record["health_path"])
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def demultiplex(stream: bytes) -> str:
    """Join the blocks of Docker's log stream: a byte for the stream, three zeros, four bytes of length, the text."""
    text = bytearray()
    position = 0
    while position + 8 <= len(stream):
        (length,) = struct.unpack(">I", stream[position + 4 : position + 8])
        text += stream[position + 8 : position + 8 + length]
        position += 8 + length
    return text.decode(errors="replace")


def observed(item: Record) -> dict[str, Any]:
    """Turn an entry of the engine's list into the record that the release's plan reads."""
    labels: Mapping[str, str] = item["Labels"]
    found = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", item["Status"])
    return {
        "name": item["Names"][0].lstrip("/"),
        "running": item["State"] == "running",
        "health": found.group(1) if found else "",
        "status": item["Status"],
        **{key: labels.get(LABEL + key, "") for key in LABELS},
    }


def creation(record: Record, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the request that creates a container: closed, except for what the record opens."""
    inner = f"{record['inner_port']}/tcp"
    memory = record["memory_mb"] * MEBIBYTE
    request: dict[str, Any] = {
        "Image": record["image"],
        "Cmd": record["command"],
        "Env": sorted(f"{key}={value}" for key, value in {**record["environment"], **secrets}.items()),
        "Labels": {LABEL + key: record[key] for key in LABELS},
        "StopTimeout": record["stop_seconds"],
        "HostConfig": {
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=64m"},  # noqa: S108 - a path inside the container
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": memory,
            # Equal to the memory: no swap. A service that swaps is slower than one that is restarted.
            "MemorySwap": memory,
            "NanoCpus": int(record["cpu"] * SECOND_NS),
            "PidsLimit": 256,
            "RestartPolicy": {"Name": "no" if record["kind"] == "job" else "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            # What all releases share is written by a one-off of each, and read by services.
            "Binds": [f"{path}:{path}:ro" for path in record["mounts"]]
            + [f"{name}:{path}:{record['volumes_mode']}" for name, path in record["volumes"].items()],
            "ExtraHosts": record["extra_hosts"],
        },
    }
    if record["port"]:
        request["ExposedPorts"] = {inner: {}}
        request["HostConfig"]["PortBindings"] = {
            inner: [{"HostIp": record["address"], "HostPort": str(record["port"])}]
        }
    if record["health"]:
        request["Healthcheck"] = {
            "Test": ["CMD", *record["health"]],
            "Interval": CHECK_INTERVAL_SECONDS * SECOND_NS,
            "Timeout": 10 * SECOND_NS,
            "Retries": 3,
            "StartPeriod": 30 * SECOND_NS,
        }
    return request


def stop_all(engine: Engine, names: Sequence[str], seconds: int) -> None:
    """Stop and remove containers at the same time: their graces must not add up."""
    if names:
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            list(pool.map(lambda name: engine.stop(name, seconds), names))
