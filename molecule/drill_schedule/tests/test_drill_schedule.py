"""Timers of drills: that they come when they have to, one after the other, and go when they are not wanted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import testinfra
from ansible_collections.gym.platform.plugins.filter.drills import DAYS, PERIODS, TIMES
from testinfra.host import Host

from tests.waiting import wait

CHECKOUT = "/srv/molecule/checkout"
DRILLS = [
    {"scenario": "restore", "every": "daily"},
    {"scenario": "failover", "every": "weekly"},
    {"scenario": "object_store", "every": "monthly"},
]
FAILED = 5


def unit(scenario: str) -> str:
    """Name the units of a drill."""
    return f"dr-drill-molecule-{scenario}"


class Controller:
    """The machine that practises."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        self.host: Host = testinfra.get_host(f"ansible://molecule-1?ansible_inventory={inventory}", sudo=True)

    def schedule(self, **options: object) -> str:
        """Apply the role once more."""
        command = ["ansible-playbook", "--inventory", self.inventory, str(Path(__file__).parents[1] / "again.yml")]
        command += ["--extra-vars", json.dumps({f"drill_schedule_{name}": value for name, value in options.items()})]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def told(self, what: str, value: int) -> None:
        """Tell what stands in for Ansible for how many seconds it is to run, or how it is to end."""
        self.host.check_output(f"echo {value} > {CHECKOUT}/{what}")

    def called(self) -> list[str]:
        """Say how it was called, and when it ended."""
        return str(self.host.check_output(f"cat {CHECKOUT}/called")).splitlines()

    def timers(self) -> set[str]:
        """List the drills that have a timer which runs."""
        listed = self.host.check_output("systemctl list-timers --all --no-legend --no-pager 'dr-drill-*'")
        return {word for line in listed.splitlines() for word in line.split() if word.endswith(".timer")}


@pytest.fixture(scope="module")
def controller(request: pytest.FixtureRequest) -> Controller:
    return Controller(str(Path(request.config.getoption("--ansible-inventory")).resolve()))


@pytest.fixture(autouse=True)
def fresh(controller: Controller) -> Iterator[None]:
    """Each test finds the drills of the scenario, and nothing that was called."""
    controller.host.check_output(f"rm -f {CHECKOUT}/called {CHECKOUT}/seconds {CHECKOUT}/status")
    yield
    controller.host.run("systemctl stop 'dr-drill-*.service'; systemctl reset-failed 'dr-drill-*.service'")


@pytest.mark.parametrize("scenario", ["restore", "failover", "object_store"])
def test_every_drill_has_a_timer_that_waits_a_little_and_makes_up(controller: Controller, scenario: str) -> None:
    timer = controller.host.service(f"{unit(scenario)}.timer")
    assert timer.is_running
    assert timer.is_enabled
    show = f"systemctl show {unit(scenario)}.timer -p Persistent -p RandomizedDelayUSec"
    assert sorted(controller.host.check_output(show).split()) == ["Persistent=yes", "RandomizedDelayUSec=10min"]


@pytest.mark.parametrize("every", DAYS)
def test_times_come_as_often_as_alerts_expect(controller: Controller, every: str) -> None:
    for time in TIMES.values():
        ask = f"systemd-analyze calendar --iterations=14 --base-time='2030-01-01 UTC' '{DAYS[every]} {time}'"
        told = controller.host.check_output(f"TZ=UTC {ask}").splitlines()
        days = [line.split()[-3] for line in told if "Iter" in line or "Next" in line]
        moments = [int(controller.host.check_output(f"date --utc --date {day} +%s")) for day in days]
        assert len(moments) == 14
        assert max(later - earlier for earlier, later in pairwise(moments)) == PERIODS[every]


def test_a_drill_runs_the_playbook_in_the_checkout_as_its_owner(controller: Controller) -> None:
    controller.host.check_output(f"systemctl start {unit('restore')}.service")
    words = "-i inventories/molecule playbooks/dr_drill.yml -e drill_scenario=restore"
    assert controller.called() == [f"begin {CHECKOUT} nobody {words}", "end"]


def test_a_drill_that_has_failed_is_a_unit_that_has_failed(controller: Controller) -> None:
    controller.told("status", FAILED)
    assert controller.host.run(f"systemctl start {unit('restore')}.service").rc != 0
    show = f"systemctl show {unit('restore')}.service -p ActiveState -p ExecMainStatus"
    assert sorted(controller.host.check_output(show).split()) == ["ActiveState=failed", f"ExecMainStatus={FAILED}"]


def test_drills_do_not_overlap(controller: Controller) -> None:
    controller.told("seconds", 1)
    controller.host.check_output(f"systemctl start {unit('restore')}.service {unit('failover')}.service")
    assert [line.split()[0] for line in controller.called()] == ["begin", "end"] * 2


def test_a_drill_that_takes_too_long_is_ended(controller: Controller) -> None:
    controller.told("seconds", 60)
    assert controller.host.run(f"systemctl start {unit('restore')}.service").rc != 0
    assert controller.host.check_output(f"systemctl show {unit('restore')}.service -p Result") == "Result=timeout"
    assert [line.split()[0] for line in controller.called()] == ["begin"]
    # The next one finds nobody in its way.
    controller.told("seconds", 0)
    controller.host.check_output(f"systemctl start {unit('failover')}.service")


def test_a_drill_that_is_not_wanted_any_more_goes_and_one_that_runs_goes_on(controller: Controller) -> None:
    host = controller.host
    controller.told("seconds", 3)
    host.check_output(f"systemctl start --no-block {unit('failover')}.service")
    wait(10, lambda: host.file(f"{CHECKOUT}/called").exists)
    try:
        controller.schedule(drills=[drill for drill in DRILLS if drill["scenario"] != "failover"])
        assert controller.timers() == {f"{unit('restore')}.timer", f"{unit('object_store')}.timer"}
        assert not host.run("ls /etc/systemd/system/ /etc/systemd/system/timers.target.wants | grep failover").stdout
        wait(10, lambda: len(controller.called()) == 2)
    finally:
        controller.schedule(drills=DRILLS)
    assert controller.timers() == {f"{unit(drill['scenario'])}.timer" for drill in DRILLS}


def test_all_of_them_can_be_removed(controller: Controller) -> None:
    try:
        controller.schedule(drills=DRILLS, state="absent")
        assert controller.timers() == set()
        assert not controller.host.run("find /etc/systemd/system -name 'dr-drill-*'").stdout
        assert "changed=0" in controller.schedule(drills=DRILLS, state="absent")
    finally:
        controller.schedule(drills=DRILLS)
