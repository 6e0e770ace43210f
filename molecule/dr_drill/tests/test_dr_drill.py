"""A drill measures what its clients were told, finds what was lost, refuses what is not fit, and leaves nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from tests.waiting import wait

SCENARIO = Path(__file__).parents[1]
PATRONICTL = "patronictl -c /etc/patroni/config.yml"
DRILL_SECONDS = 240
FAILED, NOT_FIT = 5, 2
SETTLED_SECONDS = 60


class Place:
    """Three nodes of a database, and a person who practises."""

    def __init__(self, inventory: str, reports: Path) -> None:
        self.inventory, self.reports = inventory, reports
        names = sorted(AnsibleRunner(inventory).get_hosts("machines"))
        self.hosts: dict[str, Host] = {
            name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True) for name in names
        }

    def command(self, *options: str) -> list[str]:
        """Return what runs the drill."""
        command = ["ansible-playbook", "--inventory", self.inventory, str(SCENARIO / "drill.yml")]
        return [*command, "--extra-vars", f"reports={self.reports}", *options]

    def run(self, *options: str) -> tuple[int, str]:
        """Run the drill; return the exit status and all that was said."""
        command = self.command(*options)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DRILL_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def report(self) -> dict[str, Any]:
        """Return the newest report."""
        newest = max(self.reports.glob("dr_drill/*Z.json"))
        found: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
        return found

    def members(self) -> dict[str, dict[str, str]]:
        """Return the members by name, from any node whose Patroni answers."""
        for host in self.hosts.values():
            listed = host.run(f"{PATRONICTL} list -f json")
            if listed.rc == 0:
                return {member["Member"]: member for member in json.loads(listed.stdout)}
        return {}

    def leader(self) -> str:
        """Return the name of the member that leads; empty while there is none."""
        return next((name for name, one in self.members().items() if one["Role"] == "Leader"), "")

    def whole(self) -> bool:
        """Tell whether all members run, and one of them is synchronous."""
        members = self.members()
        running = [one["State"] for one in members.values()] == ["running"] * len(self.hosts)
        return running and {"Leader", "Sync Standby"} <= {one["Role"] for one in members.values()}

    def sql(self, statement: str) -> str:
        """Ask the leader as the superuser."""
        return str(self.hosts[self.leader()].check_output(f'psql -XAtq -U postgres -d gym -c "{statement}"'))


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    inventory = str(Path(request.config.getoption("--ansible-inventory")).resolve())
    return Place(inventory, tmp_path_factory.mktemp("reports"))


@pytest.fixture(autouse=True)
def whole_again(place: Place) -> Iterator[None]:
    """Each test finds and leaves a whole database, and nothing of a drill in it."""
    wait(SETTLED_SECONDS, place.whole)
    yield
    wait(SETTLED_SECONDS, place.whole)
    assert place.sql("select count(*) from pg_namespace where nspname = 'drill'") == "0"
    assert not [*place.reports.glob("*/*.writer.*"), *place.reports.glob("*/*.open.json")]


def during(place: Place, act: Callable[[], object]) -> tuple[int, str]:
    """Run a drill, and do something as soon as another member leads."""
    before = place.leader()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(place.run)
        wait(2 * SETTLED_SECONDS, lambda: place.leader() not in ("", before))
        act()
        return running.result()


def test_a_lost_leader_costs_seconds_and_no_marker(place: Place) -> None:
    before = place.leader()
    status, said = place.run()
    assert status == 0, said
    report = place.report()
    assert place.leader() != before
    assert (report["passed"], report["scenario"], report["environment"]) == (True, "failover", "molecule")
    assert 5 < report["rto_seconds"] <= 35
    assert (report["rpo_seconds"], report["lost"], report["surplus"]) == (0.0, [], [])
    assert report["rows_found"] == report["rows_expected"] > 50
    assert {name: one["whole"] for name, one in report["tenants"].items()} == {"north-gym": True, "south-gym": True}
    assert [step["failure"] for step in report["steps"]] == [""] * len(report["steps"])
    assert report["sentence"] in said


def test_an_acknowledged_marker_that_is_gone_fails_the_drill(place: Place) -> None:
    gone = "delete from drill.markers where number in (select number from drill.markers order by number limit 2)"
    status, said = during(place, lambda: place.sql(gone))
    assert status == FAILED, said
    report = place.report()
    assert (report["passed"], report["lost"]) == (False, [1, 2])
    assert report["rpo_seconds"] > 0
    assert "2 acknowledged markers are lost, and none may be: 1, 2." in said


def test_a_drill_that_takes_longer_than_the_policy_allows_fails(place: Place) -> None:
    policy = json.dumps({"dr_drill_policy": {"rto_seconds": 2, "rpo_seconds": 60}})
    status, said = place.run("--extra-vars", policy)
    assert status == FAILED
    assert "and at most 2 s are allowed" in said
    # The second drill of its kind knows of the first.
    assert [one["passed"] for one in place.report()["trend"]] == [True, False]


def test_what_a_drill_has_killed_when_it_is_killed_itself_is_started_by_the_next_one(place: Place) -> None:
    before = place.leader()
    with subprocess.Popen(place.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as drill:
        wait(2 * SETTLED_SECONDS, lambda: place.leader() not in ("", before))
        drill.kill()
    assert not place.hosts[before].service("patroni").is_running
    status, said = place.run("--extra-vars", "entry=killed")
    assert status == 0, said
    assert f"`systemctl start patroni` on {before} has taken back what it had done." in said
    report = place.report()
    assert (report["passed"], report["killed"], report["rto_seconds"]) == (False, True, None)
    assert report["rows_found"] == report["rows_expected"] > 0
    assert report["reasons"][0].startswith("The drill failover of ")
    status, said = place.run("--extra-vars", "entry=killed")
    assert (status, "was killed" in said) == (0, False)


def test_a_database_of_which_a_member_is_away_is_not_fit(place: Place) -> None:
    replica = next(name for name, one in place.members().items() if one["Role"] == "Replica")
    reports = list(place.reports.glob("dr_drill/*.json"))
    try:
        place.hosts[replica].check_output("systemctl stop patroni")
        status, said = place.run()
    finally:
        place.hosts[replica].check_output("systemctl start patroni")
    assert status == NOT_FIT
    # The first node is the one that is asked; where it is the one that is away, nobody answers.
    away = f", as {replica} tells it" if replica == min(place.hosts) else f": {replica} of the database is away"
    assert f"not fit for a drill{away}" in said
    assert list(place.reports.glob("dr_drill/*.json")) == reports


def test_clients_that_cannot_write_are_no_drill(place: Place) -> None:
    status, said = place.run("--extra-vars", json.dumps({"dr_drill_database": {
        "place": {"addresses": ["127.0.0.1"], "port": 1, "hostname": "database.gym.internal", "name": "gym",
                  "authority": "/nowhere.pem"},
        "owner": "gym_migration", "owner_password": "planted-password", "user": "gym_app", "password": "x",
    }}))  # fmt: skip
    assert status == NOT_FIT
    assert "cannot be reached at 127.0.0.1:1 from here" in said
    assert "planted-password" not in said


def test_a_switchover_is_hardly_noticed_and_goes_where_it_is_wanted(place: Place) -> None:
    leader, wanted = place.leader(), next(
        name for name, one in place.members().items() if one["Role"] == "Sync Standby"
    )  # fmt: skip
    entry = ["--extra-vars", "entry=switchover"]
    status, said = place.run(*entry, "--extra-vars", f"dr_drill_successor={wanted}")
    assert status == 0, said
    assert f"{wanted} leads, and {leader} follows" in said
    assert place.leader() == wanted
    gap = float(said.partition("Clients went ")[2].split()[0])
    assert 0 < gap < 15
    status, said = place.run(*entry, "--extra-vars", f"dr_drill_successor={wanted}")
    assert status == 0
    assert f"{wanted} leads already" in said


def test_a_switchover_to_nobody_says_who_is_possible(place: Place) -> None:
    begun = time.monotonic()
    status, said = place.run("--extra-vars", "entry=switchover", "--extra-vars", "dr_drill_successor=nobody")
    assert status == NOT_FIT
    assert "'nobody' is no member of the cluster" in said
    assert "Possible: " in said
    assert time.monotonic() - begun < SETTLED_SECONDS
