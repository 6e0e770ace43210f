"""Ensure a running Docker engine on this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: local_engine
short_description: Ensure a running Docker engine on this machine
description:
  - Uses an engine that runs. Otherwise starts Docker's unit where systemd runs, and C(dockerd) itself elsewhere.
  - With O(state=absent) it stops the engine, but only one that it started itself, and only when nothing runs in it.
options:
  state:
    description: Whether an engine has to answer, or whether the one that was started here has to end.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: Where the process id and the log of an engine that is started here are kept.
    type: path
    required: true
  timeout:
    description: Seconds until the engine has to answer.
    type: int
    default: 60
extends_documentation_fragment: [gym.platform.engine]
author: [Gym Platform]
attributes:
  check_mode: {support: full, description: Says what would be started or stopped.}
"""

EXAMPLES = r"""
- name: Ensure an engine
  gym.platform.local_engine:
    directory: "{{ state_directory }}/../engine"
"""

RETURN = r"""
how:
  description: Which engine it is, in words.
  type: str
  returned: always
  sample: an engine was running
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.local_engine import ENGINE, Engine
from ansible_collections.gym.platform.plugins.module_utils.processes import is_running, started_at

SYSTEMD = Path("/run/systemd/system")
LOG_LINES = 5


class NoEngineError(Exception):
    """No engine can be had; the message is one sentence."""


class OwnEngine:
    """An engine that this module started without systemd: a process, its record and its log."""

    def __init__(self, directory: Path) -> None:
        """Keep the record and the log in this directory."""
        self._record = directory / "dockerd.json"
        self.log = directory / "dockerd.log"

    def pid(self) -> int | None:
        """Return the process id while that very process still runs."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        pid = int(record["pid"])
        return pid if is_running(pid, record["started_at"]) else None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemon in a session of its own, so that it outlives this run and its terminal."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        write_atomically(self._record, json.dumps({"pid": process.pid, "started_at": started_at(process.pid)}))
        return process

    def stop(self, timeout: int) -> None:
        """End the daemon and wait until it is gone."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            wait(lambda: self.pid() is None, timeout, f"dockerd (process {pid}) did not end")
        self._record.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def last_words(self) -> str:
        """Return the end of the log, on one line."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            return "its log is empty"
        return " | ".join(line.strip() for line in lines)


def wait(condition: Callable[[], bool], timeout: int, complaint: str) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise NoEngineError(f"{complaint} within {timeout} s.")
        time.sleep(0.1)


def ensure(engine: Engine, own: OwnEngine, timeout: int, check: bool) -> tuple[bool, str]:
    """Have an engine answer; return whether something was started, and which engine it is."""
    if engine.answers():
        return False, "an engine was running"
    if shutil.which("dockerd") is None:
        raise NoEngineError("There is no Docker engine on this machine: install Debian's docker.io (`make up` does).")
    if os.geteuid() != 0:
        raise NoEngineError(
            f"The Docker engine at {engine.socket_path} does not answer, and starting it needs root: "
            "start it, add yourself to the group docker, or run this as root."
        )
    if SYSTEMD.is_dir():
        if not check:
            result = subprocess.run(
                ["systemctl", "start", "docker.service"], capture_output=True, text=True, check=False, timeout=timeout
            )
            if result.returncode != 0:
                raise NoEngineError(f"systemd could not start Docker: {' '.join(result.stderr.split())}")
            wait(engine.answers, timeout, "Docker was started by systemd but did not answer")
        return True, "systemd started the engine"
    if not check:
        process = own.start()

        def ready() -> bool:
            if process.poll() is not None:
                raise NoEngineError(f"dockerd ended at its start, its last words: {own.last_words()}")
            return engine.answers()

        wait(ready, timeout, f"dockerd did not answer (log: {own.log})")
    return True, "there is no systemd, so dockerd was started directly"


def release(engine: Engine, own: OwnEngine, timeout: int, check: bool) -> tuple[bool, str]:
    """Stop the engine if it was started here and nobody uses it."""
    if own.pid() is None:
        return False, "no engine was started here"
    if engine.answers() and engine.call("GET", "/containers/json"):
        return False, "the engine stays: containers run in it"
    if not check:
        own.stop(timeout)
    return True, "the engine that was started here has ended"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            **ENGINE,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    engine = Engine(module.params["socket"])
    own = OwnEngine(Path(module.params["directory"]))
    act = ensure if module.params["state"] == "present" else release
    try:
        changed, how = act(engine, own, module.params["timeout"], module.check_mode)
    except (NoEngineError, OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, how=how)


if __name__ == "__main__":
    main()
