"""Where images are built: a directory for one build at a time, its logs, and the building machine's own sources."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.gym.platform.plugins.module_utils.local_image import debian_sources, explain

INDEX_FORMAT = "deb $(SITE) $(RELEASE) $(COMPONENT)"
# Seconds that a build waits for another one; the longest takes a few minutes.
LOCK_TIMEOUT = 900
# Own namespaces for mounts and processes: whatever ends a build ends all of it and leaves no mount.
IN_NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


class BuildError(Exception):
    """The image cannot be built or pushed; the message is one sentence."""


class Workshop:
    """A directory to build in, for one build at a time."""

    def __init__(self, cache: Path) -> None:
        """Build below this directory, and keep the logs there."""
        self.cache = cache

    @contextlib.contextmanager
    def alone(self) -> Iterator[Path]:
        """Wait for another build, clear away what an interrupted one left, and give an empty directory."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as lock:
            end = time.monotonic() + LOCK_TIMEOUT
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise BuildError(f"Another build holds {self.cache / 'lock'} for too long.") from None
                    time.sleep(0.5)
            for left in self.cache.glob("building-*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="building-", dir=self.cache, ignore_cleanup_errors=True) as place:
                yield Path(place)

    def run(self, command: list[str], log_name: str, what: str) -> None:
        """Run a long program with its output in a log."""
        log = self.cache / log_name
        try:
            with log.open("wb") as stream:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, check=True)
        except subprocess.CalledProcessError as error:
            reason = explain(log.read_text(errors="replace"), str(self.cache))
            raise BuildError(f"{what} failed: {reason} (log: {log})") from error
        except FileNotFoundError as error:
            raise BuildError(f"{what} failed: {command[0]} is not installed on this machine.") from error


def output_of(command: list[str]) -> str:
    """Return what a program of the machine prints, or nothing where there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def own_sources(suite: str) -> tuple[str, ...]:
    """Return this machine's package sources; reads its package lists first where there are none yet."""
    command = ["apt-get", "indextargets", "--format", INDEX_FORMAT, "Created-By: Packages", "Origin: Debian"]
    found = debian_sources(output_of(command), suite)
    if not found:
        output_of(["apt-get", "-q", "update"])
        found = debian_sources(output_of(command), suite)
    if not found:
        raise BuildError(
            f"This machine has no package source for Debian {suite}: "
            "add one to APT, or set local_hosts_sources to the lines of a sources.list."
        )
    return found
