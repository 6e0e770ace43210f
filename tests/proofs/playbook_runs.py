"""Runs of a playbook as a person makes them: to the end, or to the moment at which Ctrl-C is pressed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.platform_access import ROOT, wait_for

# Guards, in seconds. The longest run makes twelve machines out of the plain image.
ENDS_WITHIN = 1200
STOPS_WITHIN = 60


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and all that it said."""

    code: int
    text: str

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by the machines where any did."""
        counts = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", self.text, flags=re.MULTILINE)
        return {host: int(count) for host, count in counts if int(count)}

    @property
    def failures(self) -> list[str]:
        """The lines in which Ansible says that a task failed or a machine was away."""
        return re.findall(r"^fatal: .*$", self.text, flags=re.MULTILINE)


def playbook(verb: str, *options: str, environment: str = "development") -> list[str]:
    """Return the command that runs a playbook of the repository."""
    return ["ansible-playbook", "-i", f"inventories/{environment}", f"playbooks/{verb}.yml", *options]


def run(command: Sequence[str], checkout: Path = ROOT) -> Outcome:
    """Run a command to its end, in this checkout of the repository or another one."""
    done = subprocess.run(
        command,
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=ENDS_WITHIN,
    )
    return Outcome(done.returncode, done.stdout)


def interrupt(
    command: Sequence[str], log: Path, moment: Callable[[str], bool], how: signal.Signals = signal.SIGINT
) -> Outcome:
    """Run a command, press Ctrl-C or worse when the moment has come in what it says, and see how it ends."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, process_group=0)
    try:
        wait_for(
            lambda: process.poll() is not None or moment(log.read_text()),
            ENDS_WITHIN,
            "the moment to interrupt",
            every=0.05,
        )
        assert process.poll() is None, f"it ended before the moment came:\n{log.read_text()[-3000:]}"
        # As a terminal does it: to the whole process group.
        os.killpg(process.pid, how)
        return Outcome(process.wait(timeout=STOPS_WITHIN), log.read_text())
    finally:
        if process.poll() is None:
            process.kill()
