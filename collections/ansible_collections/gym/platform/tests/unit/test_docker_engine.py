"""The Docker engine's client against a small engine on a real socket, and what a container may do."""

from __future__ import annotations

import base64
import json
import socketserver
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import docker_engine
from ansible_collections.gym.platform.plugins.module_utils.docker_engine import (
    Credentials,
    Engine,
    EngineError,
    creation,
    demultiplex,
    observed,
    ready,
    stop_all,
    trouble,
)

IMAGE = "registry:5000/api@sha256:abc"
RECORD: dict[str, Any] = {
    "name": "api-blue",
    "service": "api",
    "kind": "web",
    "colour": "blue",
    "image": IMAGE,
    "version": "1",
    "digest": "sha256:abc",
    "configuration": "f00",
    "command": ["api"],
    "environment": {"PORT": "8000"},
    "address": "10.0.0.1",
    "port": 8050,
    "inner_port": 8000,
    "cpu": 0.5,
    "memory_mb": 256,
    "health": ["check"],
    "health_path": "/healthz",
    "extra_hosts": ["database:host-gateway"],
    "mounts": ["/etc/ssl/gym/ca.pem"],
    "stop_seconds": 30,
    "release": "beef",
    "volumes": {"gym-assets": "/srv/assets"},
    "volumes_mode": "ro",
}


def log_block(text: str, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + struct.pack(">I", len(text.encode())) + text.encode()


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    """As much of an engine as a release needs; `states` are what inspecting a container answers, one after another."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.images: dict[str, str] = {}
        self.registry: dict[str, str] = {IMAGE: "10001"}
        self.states: list[dict[str, Any]] = []
        self.exit_code = 0
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.credentials = ""
        super().__init__(path, Handler)


class Handler(BaseHTTPRequestHandler):
    server: FakeEngine

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass

    def answer(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self) -> None:
        engine = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        url = urllib.parse.urlsplit(self.path)
        path, query = url.path.removeprefix("/v1.41"), dict(urllib.parse.parse_qsl(url.query))
        engine.calls.append(f"{self.command} {path}")
        if path == "/containers/create":
            engine.bodies.append(body)
            self.answer(201, {"Id": query["name"]})
        elif path == "/images/create":
            engine.credentials = self.headers.get("X-Registry-Auth", "")
            image = f"{query['fromImage']}@{query['tag']}"
            if image in engine.registry:
                engine.images[image] = engine.registry[image]
                self.answer(200, b'{"status": "Pulling"}\n{"status": "Done"}\n')
            else:
                self.answer(200, b'{"status": "Pulling"}\n{"error": "manifest unknown"}\n')
        elif path.startswith("/images/"):
            name = path.removeprefix("/images/").removesuffix("/json")
            if name in engine.images:
                self.answer(200, {"Config": {"User": engine.images[name]}})
            else:
                self.answer(404, {"message": f"No such image: {name}"})
        elif path.startswith("/distribution/"):
            self.answer(200, {"Descriptor": {"digest": "sha256:abc"}})
        elif path.endswith("/wait"):
            self.answer(200, {"StatusCode": engine.exit_code})
        elif path.endswith("/logs"):
            # The engine gives no order between the two streams: here what was logged comes last.
            written = log_block("line one\n") + log_block("line two\n") if query["stdout"] == "1" else b""
            self.answer(200, written + (log_block("a log line\n", 2) if query["stderr"] == "1" else b""))
        elif path.endswith("/stop"):
            self.answer(404 if "missing" in path else 204, {"message": "No such container"})
        elif path.endswith("/json"):
            state = engine.states.pop(0) if len(engine.states) > 1 else engine.states[0]
            self.answer(200, {"State": state})
        elif path.endswith("/start"):
            self.answer(409 if "broken" in path else 204, {"message": "port is already allocated"})
        else:
            self.answer(204, b"")

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that the base class calls


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    server = FakeEngine(str(tmp_path / "docker.sock"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def engine(fake: FakeEngine) -> Engine:
    return Engine(str(fake.server_address))


BEGUN = "2026-01-01T00:00:00Z"
RUNNING = {"Status": "running", "Running": True, "ExitCode": 0, "Restarting": False, "StartedAt": BEGUN}
STARTING = {**RUNNING, "Health": {"Status": "starting"}}
HEALTHY = {**RUNNING, "Health": {"Status": "healthy"}}
UNHEALTHY = {**RUNNING, "Health": {"Status": "unhealthy", "Log": [{"Output": "first"}, {"Output": "refused\n"}]}}
EXITED = {**RUNNING, "Status": "exited", "Running": False, "ExitCode": 3}
BACK = {**RUNNING, "StartedAt": "2026-01-01T00:00:01Z"}


def test_an_image_is_fetched_once_with_the_password_in_a_header(engine: Engine, fake: FakeEngine) -> None:
    assert engine.pull(IMAGE, Credentials("platform", "password")) is True
    assert engine.pull(IMAGE, Credentials("platform", "password")) is False
    assert fake.calls.count("POST /images/create") == 1
    sent = json.loads(base64.urlsafe_b64decode(fake.credentials))
    assert sent == {"username": "platform", "password": "password"}


def test_an_error_in_the_stream_of_a_pull_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"other@sha256:1 cannot be pulled: manifest unknown"):
        engine.pull("other@sha256:1", Credentials())


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "root:staff"])
def test_an_image_that_runs_as_root_is_refused(engine: Engine, fake: FakeEngine, user: str) -> None:
    fake.registry[IMAGE] = user
    with pytest.raises(EngineError, match="runs as root"):
        engine.pull(IMAGE, Credentials())


def test_a_tag_becomes_a_digest(engine: Engine) -> None:
    assert engine.resolve("registry:5000/api:1", Credentials()) == "sha256:abc"


def test_a_container_that_runs_once_is_removed_whatever_happens(engine: Engine, fake: FakeEngine) -> None:
    assert engine.run(RECORD, {}, 5) == "line one\nline two"
    fake.exit_code = 7
    with pytest.raises(EngineError, match=r"exit code 7. Its last lines:\nline one\nline two\na log line"):
        engine.run(RECORD, {}, 5)
    # Before each run what an interrupted one left, after it the container itself.
    assert fake.calls.count("DELETE /containers/api-blue") == 4


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe a container soon."""
    monkeypatch.setattr(docker_engine, "STEADY_SECONDS", 0.2)
    monkeypatch.setattr(docker_engine, "POLL_SECONDS", 0.02)


@pytest.fixture
def instance() -> Iterator[Service]:
    """Have a service that answers as its `status` says."""
    server = Service(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Service(HTTPServer):
    status = 200


class Answer(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/healthz" else 404)
        self.end_headers()


def at(server: HTTPServer) -> dict[str, Any]:
    return {**RECORD, "address": "127.0.0.1", "port": server.server_port}


@pytest.mark.usefixtures("hasty")
def test_waiting_ends_when_all_have_answered_for_some_time(
    engine: Engine, fake: FakeEngine, instance: HTTPServer
) -> None:
    fake.states = [STARTING]
    begun = time.monotonic()
    engine.wait_until_steady([at(instance), {**at(instance), "name": "other"}], 5)
    assert time.monotonic() - begun >= docker_engine.STEADY_SECONDS


def test_what_runs_is_ready_when_it_answers_or_its_engine_says_so(instance: Service) -> None:
    assert ready(at(instance), STARTING)
    assert ready({**RECORD, "port": 0, "health": []}, RUNNING), "without a health check it is enough that it runs"
    assert not ready(at(instance), {**STARTING, "Status": "created"})
    instance.status = 503
    assert not ready(at(instance), STARTING)
    assert ready(at(instance), HEALTHY)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (EXITED, r"api-blue stopped with exit code 3\. Its last lines:\nline one"),
        ({**RUNNING, "Restarting": True, "ExitCode": 1}, "stopped with exit code 1"),
        (BACK, "stopped, and was started again"),
        (UNHEALTHY, r"fails its health check\. Its health check says: refused\."),
    ],
)
def test_waiting_ends_at_once_when_a_container_fails(
    engine: Engine, fake: FakeEngine, instance: HTTPServer, state: dict[str, Any], sentence: str
) -> None:
    # It has answered before, and would have been believed soon.
    fake.states = [STARTING, state]
    with pytest.raises(EngineError, match=sentence):
        engine.wait_until_steady([at(instance)], 60)


@pytest.mark.usefixtures("hasty")
def test_waiting_has_an_end(engine: Engine, fake: FakeEngine, instance: Service) -> None:
    fake.states, instance.status = [STARTING], 503
    with pytest.raises(EngineError, match="is not healthy after 0 s"):
        engine.wait_until_steady([at(instance)], 0)


def test_a_refusal_is_told_in_the_words_of_the_engine(engine: Engine) -> None:
    with pytest.raises(EngineError, match="port is already allocated"):
        engine.start("broken")


def test_containers_that_are_gone_already_count_as_stopped(engine: Engine, fake: FakeEngine) -> None:
    stop_all(engine, ["missing", "other"], 1)
    assert sorted(call for call in fake.calls if call.startswith("DELETE")) == [
        "DELETE /containers/missing",
        "DELETE /containers/other",
    ]


def test_no_engine_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the Docker engine did not answer GET /containers/json"):
        Engine(str(tmp_path / "nothing")).containers()


def test_a_container_is_closed_except_for_what_its_record_opens() -> None:
    request = creation(RECORD, {"PASSWORD": "hidden"})
    host = request["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "CapAdd" not in host
    assert "Privileged" not in host
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == host["MemorySwap"] == 256 * 1024 * 1024
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] > 0
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "10.0.0.1", "HostPort": "8050"}]}
    assert host["Binds"] == ["/etc/ssl/gym/ca.pem:/etc/ssl/gym/ca.pem:ro", "gym-assets:/srv/assets:ro"]
    assert request["Env"] == ["PASSWORD=hidden", "PORT=8000"]
    assert "hidden" not in json.dumps(request["Labels"])
    assert request["Labels"]["gym.platform.release"] == "beef"


def test_a_job_has_no_port_and_is_not_restarted() -> None:
    request = creation({**RECORD, "kind": "job", "port": 0, "inner_port": 0, "health": []}, {})
    assert request["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert "PortBindings" not in request["HostConfig"]
    assert "Healthcheck" not in request


@pytest.mark.parametrize(
    ("status", "state", "running", "health"),
    [
        ("Up 2 minutes (healthy)", "running", True, "healthy"),
        ("Up 3 seconds (health: starting)", "running", True, "starting"),
        ("Up 2 hours (unhealthy)", "running", True, "unhealthy"),
        ("Up 2 hours", "running", True, ""),
        ("Exited (0) 3 hours ago", "exited", False, ""),
    ],
)
def test_what_the_engine_lists_becomes_what_the_plan_reads(status: str, state: str, running: bool, health: str) -> None:
    item = {
        "Names": ["/api-blue"],
        "State": state,
        "Status": status,
        "Labels": creation(RECORD, {})["Labels"],
    }
    found = observed(item)
    assert (found["running"], found["health"]) == (running, health)
    assert (found["name"], found["configuration"], found["release"]) == ("api-blue", "f00", "beef")


def test_a_created_container_is_neither_good_nor_bad_yet() -> None:
    created = {**RUNNING, "Status": "created"}
    assert trouble(created, BEGUN) == ""
    assert not ready({**RECORD, "health": []}, created)


def test_log_blocks_are_joined_and_a_cut_one_is_no_error() -> None:
    assert demultiplex(log_block("ä") + log_block("b")[:9]) == "äb"
    assert demultiplex(b"") == ""
