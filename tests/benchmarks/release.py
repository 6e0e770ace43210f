"""How long a release to the running development platform takes, and how much of the machine it needs.

    PYTHONPATH=collections .venv/bin/python -m tests.benchmarks.release [--rate 200] [--rounds 3] [CHECKOUT]

At rest and under load, it releases again and again, and takes the last one back. With another checkout of the
repository, such as a worktree of an older version that shares `.state` and `build` with this one, both take turns: the
figure to quote is the ratio, because both were measured on the same machine in the same minutes.

CPU-seconds are those of ansible-playbook and of the platform's machines, less what the machines use while nobody
releases.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.end_to_end.platform_access import PREFIX, ROOT
from tests.proofs.playbook_runs import playbook, run
from tests.releases.releasing import HASTE, done, releasing
from tests.releases.traffic import HEAVY, HEAVY_RATE, traffic
from tests.releases.variants import Registry

COLUMNS = ("release", "playbook", "switch", "CPU here", "there")
CGROUPS = Path("/sys/fs/cgroup")
# For so long is measured what the machines use while nobody releases.
USUAL_SECONDS = 10.0


@dataclass(frozen=True)
class Figures:
    """What is printed of one release, in seconds. `playbook` is the whole run, with baking and judging."""

    release: float
    playbook: float
    switch: float
    controller_cpu: float
    machines_cpu: float


class Machines:
    """The platform's machines, by what their processes have used."""

    def __init__(self) -> None:
        """Find their control groups, wherever this machine has them."""
        listed = ["docker", "ps", "--no-trunc", "--filter", f"name=^{PREFIX}", "--format", "{{.ID}}"]
        found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        self._files = [next(CGROUPS.glob(f"**/*{name}*/cpu.stat")) for name in found]

    def used(self) -> float:
        """Return the CPU-seconds so far: the first line of each file is `usage_usec <number>`."""
        return sum(int(file.read_text().split(maxsplit=2)[1]) for file in self._files) / 1e6

    def usual(self) -> float:
        """Return the CPU-seconds a second at this moment."""
        before, begun = self.used(), time.monotonic()
        time.sleep(USUAL_SECONDS)
        return (self.used() - before) / (time.monotonic() - begun)


def controller() -> float:
    """Return the CPU-seconds of all processes that have ended here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(machines: Machines, usual: float, checkout: Path, command: list[str]) -> Figures:
    """Run a playbook in a checkout, tell its steps, and return what it took. Ends the benchmark when it fails."""
    begun, here, there = time.monotonic(), controller(), machines.used()
    outcome = done(run(command, checkout))
    if outcome.status:
        raise SystemExit(f"{' '.join(command)} ended with {outcome.status}:\n{outcome.text[-4000:]}")
    seconds = time.monotonic() - begun
    rest = machines.used() - there - usual * seconds
    figures = Figures(outcome.seconds_but_baking, seconds, outcome.switch_seconds, controller() - here, rest)
    steps = (f"{step['action']} {step['seconds']:.1f}" for step in outcome.story["steps"])
    print(f"    {checkout.name}: {', '.join(steps)}", flush=True)
    return figures


def row(name: str, found: Sequence[Figures]) -> str:
    """Return the medians as a line."""
    medians = [statistics.median(column) for column in zip(*map(astuple, found), strict=True)]
    return f"{name:<44}" + "".join(f"{value:>12.1f}" for value in medians)


def rounds(rate: float, count: int, checkouts: Sequence[Path]) -> None:
    """Release from each checkout in turn, so many times, at this rate of requests, and print what it took."""
    registry, machines = Registry(), Machines()
    found: dict[Path, list[Figures]] = {checkout: [] for checkout in checkouts}
    back: dict[Path, list[Figures]] = {checkout: [] for checkout in checkouts}
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "traffic.json"
        with traffic(report, rate, HEAVY) if rate else nullcontext() as running:
            usual = machines.usual()
            for number in range(count):
                # Who is first is not always the same.
                for checkout in checkouts if number % 2 == 0 else checkouts[::-1]:
                    version = registry.variant(f"bench-{uuid.uuid4().hex[:6]}", {})
                    command = releasing(version, "-e", HASTE)
                    found[checkout].append(measure(machines, usual, checkout, command))
            for checkout in checkouts:
                command = playbook("rollback", "-e", HASTE, "-e", "rollback_confirm=true")
                back[checkout].append(measure(machines, usual, checkout, command))
        print(f"\n{rate:.0f} requests/s; the machines use {usual:.2f} CPU-s a second while nobody releases")
        print(
            f"{'':<44}" + "".join(f"{column:>12}" for column in ("release", "playbook", "switch", "CPU here", "there"))
        )
        for checkout in checkouts:
            print(row(f"release from {checkout.name}", found[checkout]))
            print(row(f"rollback from {checkout.name}", back[checkout]))
        if running:
            told = running.report()
            print(f"{told['requests']} requests, {told['failed']} failed; p95 {told['p95_seconds']} s", flush=True)


def main() -> None:
    """Measure at rest, then under load."""
    parser = argparse.ArgumentParser(description="How long a release takes")
    parser.add_argument("checkout", type=Path, nargs="?", help="another checkout of the repository to compare with")
    parser.add_argument("--rate", type=float, action="append", help="requests a second; 0 and 200 by default")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkouts = [ROOT, *([options.checkout.resolve()] if options.checkout else [])]
    for rate in options.rate or [0.0, HEAVY_RATE]:
        rounds(rate, options.rounds, checkouts)


if __name__ == "__main__":
    main()
