"""Releases on the development platform, under load: no request is lost, and bad releases take themselves back.

Each test ends with a platform on which one good version serves and the lock is free.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.platform_access import ROOT, on_host, open_gym, wait_for
from tests.proofs.playbook_runs import Outcome, playbook, run
from tests.releases.releasing import HASTE, Done, declared, done, release, releasing, rollback
from tests.releases.traffic import HEAVY, HEAVY_RATE, Running, traffic
from tests.releases.variants import Registry

# Most tests only have to see that nobody notices; two busy cores have to do everything else meanwhile.
LIGHT_RATE = 40.0
RELEASES, LEAST_REQUESTS = 20, 100_000
RELEASE_SECONDS, SWITCH_SECONDS, BACK_SECONDS = 60.0, 5.0, 10.0
ROLLED_BACK, FAILED = 3, 2
# No playbook of these tests takes longer.
AT_MOST_SECONDS = 300.0


# A small share for long: what counts is how many requests a bad version gets, not how soon it is seen.
PATIENCE = declared(90, "hold")
# What a release says when it has taken a step.
STEPS = ["  expand", "  prove old", "  start", "  smoke test", " 10 %", " 50 %", " 100 %", "  bake", "  contract"]

Make = Callable[..., str]
Act = Callable[[subprocess.Popen[str]], object]


@pytest.fixture(scope="module")
def make() -> Make:
    """Return what makes versions: `make("bad", FAULT_ERROR_RATE="0.05")`."""
    registry = Registry()
    return lambda name, **settings: registry.variant(f"{name}-{uuid.uuid4().hex[:6]}", settings)


@pytest.fixture
def good(make: Make) -> str:
    """Return a good version that serves."""
    if serving().startswith("good-"):
        return serving()
    version = make("good")
    assert release(version, "-e", HASTE).status == 0
    return version


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Running]:
    """Have light traffic, none of which may fail."""
    with traffic(tmp_path / "traffic.json", LIGHT_RATE) as running:
        yield running
    report = running.report()
    assert report["requests"]
    assert report["failed"] == 0, report["failures"]


def serving() -> str:
    """Return the version that clients are answered by."""
    return str(open_gym().client.get("/version")["version"])


def document() -> dict[str, Any]:
    """Return what the target knows about its releases."""
    found: dict[str, Any] = json.loads(on_host("edge-1", "cat", "/var/lib/gym/releases.json"))
    return found


def told(text: str) -> None:
    """Say a figure, for the record."""
    print(f"\n    {text}", file=sys.stderr)


def interfere(command: list[str], log: Path, moment: str, act: Act) -> Done:
    """Run a playbook, do something at the moment when it says a word, and see how it ends."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True)
    over = lambda: process.poll() is not None or moment in log.read_text()  # noqa: E731 - a condition, not a function
    wait_for(over, AT_MOST_SECONDS, f"it says '{moment}'", every=0.05)
    assert process.poll() is None, log.read_text()[-2000:]
    act(process)
    process.wait(timeout=AT_MOST_SECONDS)
    return done(Outcome(process.returncode, log.read_text()))


def restart_front_door(process: subprocess.Popen[str]) -> None:
    """Have a new HAProxy take over: it reads the shares from the map file, and the old one sees its connections out."""
    before = on_host("edge-1", "cat", "/etc/haproxy/maps/colours.map")
    on_host("edge-1", "systemctl", "reload", "haproxy.service")
    assert on_host("edge-1", "cat", "/etc/haproxy/maps/colours.map") == before


def test_twenty_releases_back_and_forth_lose_no_request(make: Make, tmp_path: Path) -> None:
    versions = [make("forth"), make("back")]
    took, switched = [], []
    with traffic(tmp_path / "traffic.json", HEAVY_RATE, HEAVY) as running:
        for number in range(RELEASES):
            outcome = release(versions[number % 2], "-e", HASTE)
            assert outcome.status == 0, outcome.sentence
            switched.append(outcome.switch_seconds)
            took.append(outcome.seconds_but_baking)
        wait_for(lambda: running.report()["requests"] >= LEAST_REQUESTS, 900, "enough requests")
    report = running.report()
    told(f"{RELEASES} releases: {report}")
    told(f"a release took {statistics.median(took):.0f} s, at most {max(took):.0f} s, but baking")
    told(f"from ready to switched {max(switched):.1f} s at most")
    assert report["failed"] == 0, report["failures"]
    assert set(versions) <= set(report["by_version"])
    assert max(took) <= RELEASE_SECONDS
    assert max(switched) <= SWITCH_SECONDS


@pytest.mark.parametrize(("rate", "within"), [("0.05", 210), ("0.2", 45)])
def test_ten_bad_releases_take_themselves_back_in_time(
    good: str, make: Make, tmp_path: Path, rate: str, within: int
) -> None:
    needed, back = [], []
    with traffic(tmp_path / "traffic.json", LIGHT_RATE) as running:
        for _ in range(10):
            outcome = release(make("bad", FAULT_ERROR_RATE=rate), "-e", PATIENCE)
            assert outcome.status == ROLLED_BACK, outcome.sentence
            judged = [judgement for judgement in outcome.story["judgements"] if "new" in judgement]
            needed.append(sum(judgement["new"]["requests"] for judgement in judged))
            back.append(outcome.story["way_back_seconds"])
            assert serving() == good
    report = running.report()
    told(f"errors {rate}: taken back after {sorted(needed)} requests, in {max(back):.1f} s at most: {report}")
    assert max(back) <= BACK_SECONDS
    assert statistics.quantiles(needed, n=20, method="inclusive")[-1] <= within
    assert good not in report["failed_by_version"]


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("unready", {"FAULT_READY": "false"}, "L7STS"),
        ("crashes", {"FAULT_CRASH_AFTER_SECONDS": "1"}, ""),
        ("unmigrated", {"FAULT_MIGRATE": "fail"}, "FAULT_MIGRATE"),
    ],
)
@pytest.mark.usefixtures("load")
def test_a_version_that_cannot_serve_is_never_noticed(
    good: str, make: Make, name: str, settings: dict[str, str], reason: str
) -> None:
    outcome = release(make(name, **settings), "-e", "release_docker_ready_timeout_seconds=20")
    assert outcome.status == FAILED, outcome.sentence
    assert reason in outcome.sentence
    assert serving() == good
    assert (document()["lock"], document()["pending"]) == (None, None)


@pytest.mark.usefixtures("load")
def test_a_smoke_test_that_fails_lets_nothing_in(good: str, make: Make) -> None:
    smoke = {"service": "gym-api", "path": "/kiosk", "contains": "a word that is not there"}
    outcome = release(make("unsmoked"), "-e", declared(4, "promote", [smoke]))
    assert outcome.status == FAILED
    assert "wanted: a text with 'a word that is not there'" in outcome.sentence
    assert serving() == good


@pytest.mark.usefixtures("load")
def test_an_image_that_does_not_exist_is_one_sentence(good: str) -> None:
    outcome = release("nowhere")
    assert outcome.status == FAILED
    assert "the registry does not give image" in outcome.text
    assert serving() == good


@pytest.mark.usefixtures("load")
def test_a_front_door_that_begins_anew_in_the_middle_of_a_switch_keeps_its_shares(make: Make, tmp_path: Path) -> None:
    version = make("restart")
    outcome = interfere(releasing(version, "-e", HASTE), tmp_path / "log", " 50 %", restart_front_door)
    assert outcome.status == 0, outcome.sentence
    assert serving() == version


def test_a_release_and_a_drill_keep_out_of_each_others_way(good: str, make: Make, tmp_path: Path) -> None:
    version, refused = make("drilled"), list[Outcome]()
    drill = playbook("dr_drill", "-e", "drill_scenario=restore")
    log = tmp_path / "log"
    outcome = interfere(releasing(version, "-e", HASTE), log, " 50 %", lambda _: refused.append(run(drill)))
    assert outcome.status == 0, outcome.sentence
    outcome = interfere(drill, log, " s  Restore", lambda _: refused.append(run(releasing(good))))
    assert outcome.status == 0, outcome.text[-2000:]
    assert [one.code for one in refused] == [FAILED, FAILED]
    for one, work in zip(refused, ("releasing", "practising restore"), strict=True):
        assert f"has been {work} since" in one.text
    assert serving() == version
    assert document()["lock"] is None


@pytest.mark.usefixtures("load")
def test_a_rollback_goes_back_to_the_version_before_and_makes_the_other_void(good: str, make: Make) -> None:
    version = make("regretted")
    assert release(version, "-e", HASTE).status == 0
    assert rollback().status == 0
    assert serving() == good
    again = release(version, "-e", HASTE)
    assert again.status == FAILED
    assert "is void" in again.text


@pytest.mark.parametrize("step", STEPS, ids=str.strip)
@pytest.mark.usefixtures("load")
def test_a_controller_killed_after_any_step_harms_nobody_and_blocks_nobody(
    make: Make, tmp_path: Path, step: str
) -> None:
    interfere(releasing(make("killed"), "-e", HASTE), tmp_path / "log", step, lambda process: process.kill())
    assert serving()
    # Another version, so that what was begun has to be cleared away, or finished, first.
    outcome = release(make("after"), "-e", HASTE)
    assert outcome.status == 0, outcome.sentence
    assert (document()["lock"], document()["pending"]) == (None, None)


@pytest.mark.usefixtures("load")
def test_of_two_releases_at_once_one_runs_and_the_other_says_who_does(make: Make, tmp_path: Path) -> None:
    heard: list[Done] = []
    first, second = make("first"), make("second")
    outcome = interfere(
        releasing(first, "-e", HASTE), tmp_path / "log", "smoke test", lambda _: heard.append(release(second))
    )
    assert heard[0].status == FAILED
    assert "has been releasing since" in heard[0].text
    assert outcome.status == 0, outcome.sentence
    assert serving() == first


def test_the_history_tells_all_of_it() -> None:
    history = run(playbook("history"))
    assert history.code == 0
    assert "VOID" in history.text
