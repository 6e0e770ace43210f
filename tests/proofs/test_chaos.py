"""The platform is hurt while members check in: nothing acknowledged is lost or doubled, and it comes back by itself.

Each test hurts one part, sees through every check-in that was begun, and ends with a platform that is healthy. What a
person at a kiosk waited is printed in one line, and must not be longer than the design of that part explains.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.end_to_end.client import Load
from tests.end_to_end.platform_access import PREFIX, ROOT, Gym, leader, on_host, open_gym, sql, wait_for
from tests.project import environment
from tests.proofs.conftest import Say

PER_SECOND = 4.0
# No case is under load for longer, whatever happens.
LOAD_SECONDS = 150.0
# After the platform is back: the load's last attempts, rejoining, and the last row of the table.
HEALTHY_SECONDS = 120.0
# A message whose worker died comes back after 30 s (`visibility_timeout_seconds`), and a delivery may take 15 s more.
DELIVERED_SECONDS = 60.0

# What an attempt may take before the kiosk tries again: the patience of `Client`.
ATTEMPT_SECONDS = 10.0
# Two busy cores: starting a process, a check that comes late, one check-in that waits for another one.
SLACK_SECONDS = 10.0
# Patroni's `ttl`: only when it has run out is the key of a leader that is silent free.
TTL_SECONDS = 20.0
# Patroni's `loop_wait` of 3 s until a replica sees it, 2 s to promote, 1 s each until endpoint and pools see it.
TAKEOVER_SECONDS = 7.0 + SLACK_SECONDS
# When the host led etcd, too: twice ETCD_ELECTION_TIMEOUT, and only then do its keys begin to run out.
ETCD_ELECTION_SECONDS = 4.0
# Sentinel's `down-after-milliseconds` of 3 s, then a vote, a promotion, and one attempt of the service that gives up.
SENTINEL_SECONDS = 10.0 + SLACK_SECONDS
# What a check-in gives to a Redis that does not answer before it goes on without, twice.
CACHE_PATIENCE_SECONDS = 0.5
CACHE_SECONDS = 2 * CACHE_PATIENCE_SECONDS + SLACK_SECONDS
# A host has its units up after that.
BOOT_SECONDS = 10.0
REBOOT_SECONDS = ATTEMPT_SECONDS + BOOT_SECONDS + SLACK_SECONDS

HOSTS = [host.name for host in environment().inventory.get_hosts("machines")]


# --- the hosts, from outside


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def started_at(host: str) -> str:
    return docker("inspect", "--format", "{{.State.StartedAt}}", f"{PREFIX}{host}")


def main_process(host: str, unit: str) -> str:
    """Return the process of an active unit, or nothing while it is not active."""
    shown = on_host(host, "systemctl", "show", "--property=ActiveState,MainPID", unit).splitlines()
    values = dict(line.split("=", 1) for line in shown)
    return values["MainPID"] if values["ActiveState"] == "active" else ""


@contextmanager
def killed(host: str, unit: str) -> Iterator[None]:
    """Kill -9 every process of a unit; after the block, see that systemd has started it again."""
    before = main_process(host, unit)
    assert before, f"{unit} of {host} has to run before it can be killed"
    on_host(host, "systemctl", "kill", "--signal=KILL", unit)
    yield
    wait_for(lambda: main_process(host, unit) not in ("", before), 60, f"systemd has started {unit} of {host} again")


def redis_primary() -> str:
    """Return the host that the Sentinel of a third host names as the primary of Redis."""
    program = (
        "import sys; sys.path.insert(0, '/usr/local/lib/gym-platform'); import redis_node as node;"
        "settings = node.Settings.read(node.SETTINGS); print(node.ask_sentinel(settings, settings.address).address)"
    )
    address = on_host("queue-1", "python3", "-B", "-c", program)
    return next(host for host in ("cache-1", "cache-2") if address in docker("inspect", f"{PREFIX}{host}"))


def status() -> subprocess.CompletedProcess[str]:
    """Run what `make status` runs."""
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventories/development", "playbooks/status.yml"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def is_healthy() -> bool:
    return status().returncode == 0


def status_names(host: str) -> None:
    """Assert that the status ends with an error, and that its table has the line of the host that is away."""
    shown = status()
    assert shown.returncode != 0, shown.stdout
    lines = [line.strip(' ",').split() for line in shown.stdout.splitlines()]
    assert [host, "machine", "NO", "unreachable"] in [line[:4] for line in lines], shown.stdout


# --- the members, meanwhile


@dataclass
class Case:
    """A part that is hurt while members check in."""

    name: str
    load: Load
    down_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def without(self, host: str) -> Iterator[None]:
        """Cut a host's power, and switch it on again after the block, in which the status has to tell of it."""
        docker("kill", f"{PREFIX}{host}")
        cut = time.monotonic()
        try:
            yield
            status_names(host)
        finally:
            docker("start", f"{PREFIX}{host}")
            self.down_seconds = time.monotonic() - cut

    def goes_on(self) -> None:
        """Wait until check-ins that are begun from now on are acknowledged, by each of the kiosks."""
        begun = time.monotonic()
        wait_for(
            lambda: sum(entry.begun > begun for entry in self.load.acknowledged) > 2 * self.load.kiosks,
            60,
            "check-ins are acknowledged",
        )


@contextmanager
def hurting(gym: Gym, say: Say, name: str, outage_seconds: float) -> Iterator[Case]:
    """Check members in while the block runs; afterwards account for each check-in that was begun.

    ``outage_seconds`` is the longest that one of them may take.
    """
    case = Case(name, Load(gym.client, gym.kiosk, gym.members, PER_SECOND))
    with case.load.running(LOAD_SECONDS):
        case.goes_on()
        yield case
        case.goes_on()
    ended = time.monotonic()
    journal, acknowledged = case.load.journal, case.load.acknowledged
    gym.check(journal)
    assert len(acknowledged) == len(journal), [entry.failures[-1:] for entry in journal if not entry.identity]
    wait_for(lambda: gym.delivered(journal) == len(acknowledged), DELIVERED_SECONDS, "every notification is delivered")
    outage = case.load.outage_seconds()
    facts = [
        f"outage {outage:.1f} s",
        f"{case.load.failed_attempts} attempts failed",
        f"{len(acknowledged)} check-ins acknowledged and each there once",
        f"all notified {time.monotonic() - ended:.1f} s after the last",
        *case.notes,
    ]
    say(f"{name}: {', '.join(facts)}")
    assert outage < outage_seconds


@pytest.fixture(scope="module")
def gym() -> Gym:
    return open_gym()


@pytest.fixture(autouse=True)
def healthy_again() -> Iterator[None]:
    """Nobody lends a hand: after each test the platform gets well by itself."""
    yield
    wait_for(is_healthy, HEALTHY_SECONDS, "the status is that everything is healthy")


# --- the database


def test_a_killed_leader_starts_again_or_hands_over(gym: Gym, say: Say) -> None:
    host = leader()
    bound = TTL_SECONDS + TAKEOVER_SECONDS
    with hurting(gym, say, "kill -9 of the leader's PostgreSQL and Patroni", bound) as case:
        with killed(host, "patroni.service"):
            after = wait_for(leader, bound, "a database host accepts writes")
        case.notes.append(f"{host} led before, {after} leads now")


def test_a_leader_without_power_is_replaced(gym: Gym, say: Say) -> None:
    host = leader()
    bound = ETCD_ELECTION_SECONDS + TTL_SECONDS + TAKEOVER_SECONDS
    with hurting(gym, say, "power cut of the leader's host", bound) as case:
        with case.without(host):
            successor = wait_for(leader, bound, "another database host accepts writes")
            assert successor != host
            case.goes_on()
        case.notes.append(f"{host} led before, {successor} leads now")


# --- the cache


def session_seconds(gym: Gym) -> float:
    """Return how long from now on a session of staff cannot be checked; afterwards it is known as before."""
    begun = time.monotonic()
    wait_for(
        lambda: gym.client.request("GET", "/v1/attendance", token=gym.staff).status == 200,
        SENTINEL_SECONDS,
        "the session from before is known",
    )
    return time.monotonic() - begun


def test_a_killed_redis_primary_is_replaced(gym: Gym, say: Say) -> None:
    host = redis_primary()
    with hurting(gym, say, "kill -9 of the Redis primary", CACHE_SECONDS) as case:
        with killed(host, "redis-server.service"):
            case.notes.append(f"sessions known again after {session_seconds(gym):.1f} s")
        assert redis_primary() != host


def test_a_redis_primary_without_power_is_replaced(gym: Gym, say: Say) -> None:
    host = redis_primary()
    with hurting(gym, say, "power cut of the Redis primary's host", CACHE_SECONDS) as case, case.without(host):
        case.notes.append(f"sessions known again after {session_seconds(gym):.1f} s")
        typical = typical_seconds(case)
        case.notes.append(f"with one Sentinel away a check-in takes {typical:.2f} s")
        assert typical < CACHE_PATIENCE_SECONDS


def typical_seconds(case: Case) -> float:
    """Return the median of check-ins that begin now."""
    begun = time.monotonic()
    case.goes_on()
    return statistics.median(
        entry.acknowledged - entry.begun for entry in case.load.acknowledged if entry.begun > begun
    )


# --- the service


def test_an_app_host_without_power_is_left_out(gym: Gym, say: Say) -> None:
    bound = ATTEMPT_SECONDS + SLACK_SECONDS
    with hurting(gym, say, "power cut of an app host", bound) as case, case.without("app-1"):
        case.goes_on()


def workers() -> dict[str, str]:
    """Return the process of each worker by its host, as the host counts processes."""
    show = ("docker", "ps", "--quiet", "--filter", "name=gym-worker")
    found = {host: on_host(host, *show) for host in ("app-1", "app-2")}
    return {
        host: on_host(host, "docker", "inspect", "--format", "{{.State.Pid}}", name)
        for host, name in found.items()
        if name
    }


@contextmanager
def deliveries_held(host: str) -> Iterator[None]:
    """Hold back, at the leader, the row that each delivery writes: who has taken a message keeps it for that long."""
    hold = "begin; lock table gym.notification_deliveries in share mode; select pg_sleep(120)"
    command = ["docker", "exec", f"{PREFIX}{host}", "runuser", "-u", "postgres", "--", "psql", "--no-psqlrc"]
    held = subprocess.Popen([*command, "--dbname=gym", f"--command={hold}"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sql(host, "select pg_terminate_backend(pid) from pg_stat_activity where query like 'begin; lock table gym.%'")
        held.wait(timeout=30)


def test_a_worker_that_is_killed_with_a_message_in_its_hands_loses_none(gym: Gym, say: Say) -> None:
    host = leader()
    waiting = "select count(*) from pg_locks where relation = 'gym.notification_deliveries'::regclass and not granted"
    with hurting(gym, say, "kill -9 of the workers in the middle of deliveries", SLACK_SECONDS) as case:
        with deliveries_held(host):
            before = workers()
            held = int(wait_for(lambda: (count := sql(host, waiting)) != "0" and count, 30, "a delivery has begun"))
            for app, process in before.items():
                on_host(app, "kill", "-9", process)
            wait_for(
                lambda: len(workers()) == 2 and not before.items() & workers().items(), 60, "the workers run again"
            )
        case.notes.append(f"{held} deliveries were under way")
    # Those that the workers had in their hands were received a second time.
    listed = ",".join(f"'{entry.identity}'" for entry in case.load.acknowledged)
    again = f"select count(*) from gym.notification_deliveries where attempt > 1 and check_in_id in ({listed})"  # noqa: S608
    assert int(sql(leader(), again)) >= held


# --- what there is only one of


def test_check_ins_do_not_need_the_queue(gym: Gym, say: Say) -> None:
    with hurting(gym, say, "power cut of the queue's host", SLACK_SECONDS) as case, case.without("queue-1"):
        case.goes_on()


def test_the_queue_is_killed(gym: Gym, say: Say) -> None:
    with hurting(gym, say, "kill -9 of the queue", SLACK_SECONDS), killed("queue-1", "queue.service"):
        pass


def test_the_front_door_is_killed(gym: Gym, say: Say) -> None:
    with hurting(gym, say, "kill -9 of the front door", SLACK_SECONDS), killed("edge-1", "haproxy.service"):
        pass


def test_a_front_door_without_power_comes_back(gym: Gym, say: Say) -> None:
    with hurting(gym, say, "power cut of the front door's host", HEALTHY_SECONDS) as case:
        with case.without("edge-1"):
            pass
        case.notes.append(f"the host was away for {case.down_seconds:.1f} s of it")
    assert case.load.outage_seconds() < case.down_seconds + BOOT_SECONDS + SLACK_SECONDS


# --- every host


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_reboots(gym: Gym, say: Say, host: str) -> None:
    with hurting(gym, say, f"reboot of {host}", REBOOT_SECONDS):
        before = started_at(host)
        on_host(host, "systemctl", "reboot", check=False)
        wait_for(lambda: started_at(host) != before, 90, f"{host} starts anew")
        wait_for(lambda: on_host(host, "systemctl", "is-system-running", check=False) in ("running", "degraded"), 90,
                 f"{host} has started all its units")  # fmt: skip
