"""A cloud that is served on this machine: a process of its own, and a file that says where it answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.processes import is_running, started_at

LOG_LINES = 5
POLL_SECONDS = 0.1


class CloudError(Exception):
    """The cloud does not serve; the message is one sentence."""


class Cloud:
    """One embedded cloud and its directory: `cloud.json`, where it answers, and `cloud.log`."""

    def __init__(self, directory: Path) -> None:
        """Keep its files in this directory."""
        self._ready = directory / "ready.json"
        self._record = directory / "cloud.json"
        self._log = directory / "cloud.log"

    def endpoint(self) -> str | None:
        """Return where it answers, while the very process that was started here runs."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return str(record["endpoint"]) if is_running(int(record["pid"]), record["started_at"]) else None

    def start(self, command: list[str], environment: Mapping[str, str], timeout: float) -> str:
        """Start it in a session of its own, wait until it answers, and return where. Raises CloudError."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*command, str(self._ready)],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + timeout
        while not self._ready.exists():
            if process.poll() is not None:
                raise CloudError(f"The embedded cloud ended at its start; its last words: {self._last_words()}")
            if time.monotonic() > end:
                process.kill()
                raise CloudError(f"The embedded cloud did not answer within {timeout:.0f} s (log: {self._log}).")
            time.sleep(POLL_SECONDS)
        record = json.loads(self._ready.read_text(encoding="utf-8"))
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps({**record, "started_at": started_at(process.pid)}), encoding="utf-8")
        new.replace(self._record)
        return str(record["endpoint"])

    def stop(self, timeout: float) -> bool:
        """End it, and tell whether there was one. Only a process that was started here is ended."""
        running = self.endpoint() is not None
        if running:
            pid = int(json.loads(self._record.read_text(encoding="utf-8"))["pid"])
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + timeout
            while self.endpoint() is not None:
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(POLL_SECONDS)
        self._record.unlink(missing_ok=True)
        return running

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return " | ".join(line.strip() for line in lines if line.strip()) or "none"


def ask(endpoint: str, action: str, question: Mapping[str, Any] | None = None) -> Any:
    """Ask an embedded cloud what no cloud of its kind answers. Raises CloudError."""
    request = urllib.request.Request(  # noqa: S310  an address of this machine, from cloud.json
        f"{endpoint}/_rehearsal/{action}", data=json.dumps(question or {}).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  the same
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise CloudError(f"The embedded cloud at {endpoint} does not answer '{action}': {error}.") from error
