"""The client of the engine's API against a server on a Unix socket, and the life of an engine that we start."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.local_engine import API_VERSION, Engine, EngineError
from ansible_collections.gym.platform.plugins.modules import local_engine as module


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as Docker does, as far as the client needs it."""

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is the library's
        pass

    def do_GET(self) -> None:
        path = self.path.removeprefix(f"/{API_VERSION}")
        answers: dict[str, tuple[int, Any]] = {
            "/_ping": (200, b"OK"),
            "/containers/json": (200, [{"Id": "1"}]),
            "/containers/json?filters=%7B%22label%22%3A+%5B%22a%22%5D%7D": (200, []),
            "/missing": (404, {"message": "No such thing"}),
            "/broken": (500, b"not json"),
            "/exec/e1/json": (200, {"ExitCode": 3}),
        }
        self._answer(*answers[path])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.removeprefix(f"/{API_VERSION}")
        if path == "/build":
            records = [{"stream": "Step 1"}, {}, {"error": "it broke"}] if body == b"bad" else [{"stream": "Step 1"}]
            self._answer(200, b"\r\n".join(json.dumps(record).encode() for record in records))
        elif path == "/containers/c1/exec":
            self._answer(201, {"Id": "e1", "asked": json.loads(body)})
        elif path == "/exec/e1/start":
            frames = b"\x01\0\0\0\0\0\0\x03out" + b"\x02\0\0\0\0\0\0\x03err"
            self._answer(200, frames)
        else:
            self._answer(409, {"message": "in use"})

    def _answer(self, status: int, content: Any) -> None:
        raw = isinstance(content, bytes)
        data = content if raw else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if raw else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    path = str(tmp_path / "engine.sock")
    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Engine(path, timeout=5)
        server.shutdown()


def test_answers_are_parsed(engine: Engine) -> None:
    assert engine.answers()
    assert engine.call("GET", "/containers/json") == [{"Id": "1"}]
    assert engine.call("GET", "/containers/json", {"filters": {"label": ["a"]}}) == []


def test_a_refusal_carries_the_engines_words_and_its_status(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"^No such thing$") as raised:
        engine.call("GET", "/missing")
    assert raised.value.status == 404
    assert engine.call("GET", "/missing", accept=(404,)) is None
    with pytest.raises(EngineError, match=r"not json|answered 500"):
        engine.call("GET", "/broken")


def test_an_error_in_the_middle_of_a_build_is_an_error(engine: Engine) -> None:
    assert list(engine.stream("POST", "/build", {}, b"good")) == [{"stream": "Step 1"}]
    with pytest.raises(EngineError, match="it broke"):
        list(engine.stream("POST", "/build", {}, b"bad"))


def test_a_command_returns_its_code_and_both_outputs(engine: Engine) -> None:
    assert engine.run("c1", ["true"]) == (3, "outerr")


def test_no_engine_is_one_sentence(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "none.sock"))
    assert not engine.answers()
    with pytest.raises(EngineError, match="does not answer") as raised:
        engine.call("GET", "/info")
    assert raised.value.status == 0


class NoEngine(Engine):
    """An engine that never answers."""

    def answers(self) -> bool:
        return False


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> module.OwnEngine:
    """A machine without systemd whose `dockerd` is a script of the test."""
    monkeypatch.setattr(module, "SYSTEMD", tmp_path / "no-systemd")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return module.OwnEngine(tmp_path / "engine")


def daemon(tmp_path: Path, script: str) -> None:
    path = tmp_path / "dockerd"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)


def test_a_daemon_that_dies_is_reported_with_its_last_words(tmp_path: Path, alone: module.OwnEngine) -> None:
    daemon(tmp_path, "raise SystemExit('no permission for cgroups')")
    with pytest.raises(module.NoEngineError, match=r"dockerd ended at its start.*no permission for cgroups"):
        module.ensure(NoEngine(str(tmp_path / "s")), alone, timeout=10, check=False)


def test_a_daemon_that_never_answers_is_given_up(tmp_path: Path, alone: module.OwnEngine) -> None:
    daemon(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(module.NoEngineError, match=r"did not answer .* within 0 s"):
        module.ensure(NoEngine(str(tmp_path / "s")), alone, timeout=0, check=False)
    alone.stop(timeout=10)
    assert alone.pid() is None


def test_only_the_engine_that_was_started_here_is_stopped(tmp_path: Path, alone: module.OwnEngine) -> None:
    daemon(tmp_path, "import time; time.sleep(60)")
    engine = NoEngine(str(tmp_path / "s"))
    assert module.release(engine, alone, timeout=10, check=False) == (False, "no engine was started here")
    process = alone.start()
    assert alone.pid() == process.pid
    # A record of a process that ended long ago, whose number belongs to somebody else now.
    record = tmp_path / "engine" / "dockerd.json"
    ours = json.loads(record.read_text())
    record.write_text(json.dumps({"pid": os.getpid(), "started_at": "1"}))
    assert module.release(engine, alone, timeout=10, check=False)[0] is False
    record.write_text(json.dumps(ours))
    assert module.release(engine, alone, timeout=10, check=False)[0] is True
    assert not record.exists()


def test_an_engine_with_containers_stays(engine: Engine, tmp_path: Path, alone: module.OwnEngine) -> None:
    daemon(tmp_path, "import time; time.sleep(60)")
    process = alone.start()
    try:
        changed, how = module.release(engine, alone, timeout=10, check=False)
        assert (changed, how) == (False, "the engine stays: containers run in it")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_running_engine_is_used(engine: Engine, alone: module.OwnEngine) -> None:
    assert module.ensure(engine, alone, timeout=1, check=False) == (False, "an engine was running")


def test_without_docker_the_fix_is_named(tmp_path: Path, alone: module.OwnEngine, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(module.NoEngineError, match=r"install Debian's docker.io"):
        module.ensure(NoEngine(str(tmp_path / "s")), alone, timeout=1, check=False)


def test_without_root_the_ways_out_are_named(tmp_path: Path, alone: module.OwnEngine, monkeypatch: Any) -> None:
    daemon(tmp_path, "pass")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(module.NoEngineError, match="needs root"):
        module.ensure(NoEngine(str(tmp_path / "s")), alone, timeout=1, check=False)


def test_systemd_is_asked_where_it_runs(tmp_path: Path, alone: module.OwnEngine, monkeypatch: Any) -> None:
    daemon(tmp_path, "pass")
    (tmp_path / "no-systemd").mkdir()
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'Job for docker.service failed' >&2\nexit 1\n")
    systemctl.chmod(0o755)
    with pytest.raises(module.NoEngineError, match=r"systemd could not start Docker: Job for docker.service failed"):
        module.ensure(NoEngine(str(tmp_path / "s")), alone, timeout=5, check=False)


def test_a_start_time_tells_processes_apart() -> None:
    first = subprocess.Popen(["sleep", "5"])
    try:
        assert module.started_at(first.pid) == module.started_at(first.pid) != ""
        assert module.started_at(os.getpid()) != module.started_at(first.pid)
    finally:
        first.kill()
        first.wait()
    deadline = time.monotonic() + 5
    while module.started_at(first.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert module.started_at(first.pid) == ""
