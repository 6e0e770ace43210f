"""The same releases on every target: what a person sees from outside must be the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    BLUE,
    GREEN,
    DriverError,
    Observation,
    Release,
)
from ansible_collections.gym.platform.plugins.module_utils.release_plan import Stage
from ansible_collections.gym.platform.plugins.module_utils.release_run import Judgement, Procedure, Run
from ansible_collections.gym.platform.plugins.module_utils.release_smoke import SmokeTest
from ansible_collections.gym.platform.plugins.module_utils.release_store import (
    Document,
    Held,
    Lock,
    StoreError,
    parse,
    stamp,
)
from ansible_collections.gym.platform.plugins.module_utils.release_story import EXIT_STATUS, Result, Story
from release_worlds import WORLDS, Killed, World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROCEDURE = Procedure(
    expand=["migrate", "expand"],
    contract=["migrate", "contract"],
    smoke=[SmokeTest("api", "/readyz"), SmokeTest("api", "/version", versioned=True)],
)


@dataclass
class Judge:
    """Says what it was told to say, and remembers at which share it was asked."""

    world: World
    outcomes: Sequence[str] = ()
    asked: list[int] = field(default_factory=list)

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        tick()
        outcome = self.outcomes[len(self.asked)] if len(self.asked) < len(self.outcomes) else "promote"
        (share,) = self.world.shares()
        self.asked.append(share if colour == GREEN else 100 - share)
        return Judgement(outcome, f"it was told to {outcome}", {"requests": 100})


class Releasing:
    """A person who releases to a world, with a new process each time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes = 0
        # Holders whose processes are dead.
        self.dead: set[int] = set()
        self.now = NOW

    def run(self, judge: Judge | None = None, say: Callable[[str], None] = lambda _: None, **changes: object) -> Run:
        self.processes += 1
        mine = Lock(f"person {self.processes}", "here", self.processes, "1", stamp(self.now), "")
        driver, store = self.world.connect()
        return Run(
            driver,
            Held(store, mine, timedelta(minutes=3), lambda: self.now),
            judge or Judge(self.world),
            replace(PROCEDURE, **changes),
            mine=mine,
            now=lambda: self.now,
            alive=lambda lock: None if lock.host != "here" else lock.process not in self.dead,
            say=say,
        )

    def release(self, version: str, judge: Judge | None = None, *, unvoid: bool = False, **changes: object) -> Story:
        return self.run(judge, **changes).release(version, unvoid=unvoid)

    def rollback(self, *, confirmed: bool = True) -> Story:
        return self.run().rollback(confirmed=confirmed)

    def killed_at(self, number: int, act: Callable[[], Story]) -> bool:
        """Do something, and be killed before the change of that number; tell whether it came to that."""
        changes = 0

        def count() -> None:
            nonlocal changes
            changes += 1
            # A dead controller does nothing more: no lock is given back, nothing is tidied up.
            if changes >= number:
                raise Killed

        self.world.before_change = count
        try:
            act()
        except Killed:
            self.dead.add(self.processes)
            return True
        finally:
            self.world.before_change = lambda: None
        return False

    def document(self) -> Document:
        return parse(self.world.connect()[1].read()[0])

    def last(self) -> tuple[str, str, str, bool]:
        """Return the last entry of the ledger: its kind, the version, the one before, whether it contracted."""
        entry = self.document().entries[-1]
        assert entry.outcome == "live"
        return entry.kind, entry.release.version, entry.previous.version if entry.previous else "", entry.contracted

    def serves(self) -> set[str]:
        """Return the versions that get requests; that no living run has the lock and nothing else runs is asserted."""
        versions, (share,) = self.world.versions(), self.world.shares()
        lock = self.document().lock
        assert lock is None or lock.process in self.dead
        assert share in (0, 100)
        live = GREEN if share == 100 else BLUE
        assert set(versions) == {live}, "the other colour has gone"
        return versions[live]


@pytest.fixture(params=WORLDS)
def releasing(request: pytest.FixtureRequest) -> Releasing:
    return Releasing(WORLDS[request.param]())


def test_the_first_release_goes_live_at_once(releasing: Releasing) -> None:
    judge = Judge(releasing.world)
    story = releasing.release("1", judge)
    assert story.result is Result.LIVE, story.sentence
    assert releasing.serves() == {"1"}
    assert judge.asked == [], "there is nothing to compare it with"
    assert releasing.world.job_version() == "1"


def test_the_same_release_again_changes_nothing(releasing: Releasing) -> None:
    releasing.release("1")

    def nothing() -> None:
        raise AssertionError("something was changed")

    releasing.world.before_change = nothing
    story = releasing.release("1")
    assert (story.result, story.steps) == (Result.UNCHANGED, [])


def test_a_new_version_gets_the_traffic_step_by_step_and_is_judged_at_each(releasing: Releasing) -> None:
    releasing.release("1")
    before = len(releasing.world.shifts)
    judge = Judge(releasing.world)
    story = releasing.release("2", judge)
    assert story.result is Result.LIVE, story.sentence
    assert releasing.serves() == {"2"}
    assert judge.asked == [10, 50, 100]
    target = story.plan.target
    shares = releasing.world.shifts[before:]
    assert (shares if target == GREEN else [100 - share for share in shares]) == [10, 50, 100]
    assert releasing.world.job_version() == "2"
    assert [step.outcome for step in story.steps] == ["done"] * len(story.steps)
    entry = releasing.document().entries[-1]
    assert (entry.outcome, entry.release.version, entry.previous and entry.previous.version) == ("live", "2", "1")


@pytest.mark.parametrize(
    ("version", "failing", "reason"),
    [
        ("broken", "", "exit code 1"),
        ("liar", "", "answered by version another, not liar"),
        ("2", "migrate expand", "migrate expand"),
    ],
)
def test_what_fails_before_the_traffic_is_never_noticed(
    releasing: Releasing, version: str, failing: str, reason: str
) -> None:
    releasing.release("1")
    releasing.world.failing = {failing}
    before = list(releasing.world.shifts)
    story = releasing.release(version)
    assert (story.result, EXIT_STATUS[story.result]) == (Result.FAILED, 2)
    assert reason in story.sentence
    assert "Version 1 serves as before" in story.sentence
    assert releasing.serves() == {"1"}
    assert set(releasing.world.shifts[len(before) :]) <= releasing.world.shares()
    assert releasing.world.job_version() == "1"
    releasing.world.failing = set()
    assert releasing.document().pending is None
    assert releasing.release("3").result is Result.LIVE


def test_a_live_version_that_fails_on_the_expanded_database_ends_the_release(releasing: Releasing) -> None:
    releasing.release("1")

    def breaks(said: str) -> None:
        if "expand" in said:
            releasing.world.lying.add("1")

    story = releasing.run(say=breaks).release("2")
    assert (story.result, [step.action for step in story.steps][:2]) == (Result.FAILED, ["expand", "prove old"])
    assert "answered by version another, not 1" in story.sentence
    assert releasing.serves() == {"1"}


def test_a_live_version_that_fails_already_keeps_no_other_out(releasing: Releasing) -> None:
    releasing.release("1")
    releasing.world.lying.add("1")
    story = releasing.release("2")
    assert story.result is Result.LIVE, story.sentence
    (proven,) = (step.detail for step in story.steps if step.action == "prove old")
    assert "failed before the database was touched: api: GET /version was answered by version another" in proven
    assert releasing.serves() == {"2"}


def test_an_image_that_does_not_exist_touches_nothing(releasing: Releasing) -> None:
    releasing.release("1")
    with pytest.raises(DriverError, match="nowhere"):
        releasing.release("nowhere")
    assert releasing.serves() == {"1"}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_release_takes_itself_back_and_is_void(releasing: Releasing, at: int) -> None:
    releasing.release("1")
    story = releasing.release("2", Judge(releasing.world, ["promote"] * at + ["roll_back"]))
    assert (story.result, EXIT_STATUS[story.result]) == (Result.ROLLED_BACK, 3)
    assert releasing.serves() == {"1"}
    assert releasing.world.job_version() == "1", "jobs never followed it"
    assert story.way_back_seconds is not None
    with pytest.raises(StoreError, match="void"):
        releasing.release("2")
    assert releasing.release("2", unvoid=True).result is Result.LIVE
    assert releasing.serves() == {"2"}


def test_what_is_not_decided_is_held_and_can_go_on_or_be_given_up(releasing: Releasing) -> None:
    releasing.release("1")
    held = releasing.release("2", Judge(releasing.world, ["undecided"]), inconclusive="hold")
    assert (held.result, EXIT_STATUS[held.result]) == (Result.HELD, 4)
    assert releasing.world.shifts[-1] in (10, 90)
    assert releasing.world.versions().keys() == {BLUE, GREEN}
    assert releasing.document().lock is None
    judge = Judge(releasing.world)
    assert releasing.release("2", judge).result is Result.LIVE
    assert judge.asked == [10, 50, 100], "it goes on where it was held"
    assert releasing.serves() == {"2"}

    releasing.release("3", Judge(releasing.world, ["undecided"]), inconclusive="hold")
    assert releasing.rollback().result is Result.LIVE
    assert releasing.serves() == {"2"}
    with pytest.raises(StoreError, match="void"):
        releasing.release("3")


@pytest.mark.parametrize(("declared", "result"), [("promote", Result.LIVE), ("roll_back", Result.ROLLED_BACK)])
def test_what_is_not_decided_goes_as_declared(releasing: Releasing, declared: str, result: Result) -> None:
    releasing.release("1")
    judge = Judge(releasing.world, ["undecided"] * 3)
    assert releasing.release("2", judge, inconclusive=declared).result is result


def test_there_are_workers_at_every_change_and_the_job_follows_once(releasing: Releasing) -> None:
    releasing.release("1")
    world = releasing.world
    workers: list[set[str]] = []
    jobs: list[str] = []

    def look() -> None:
        workers.append(world.workers())
        jobs.append(world.job_version())

    world.before_change = look
    assert releasing.release("2").result is Result.LIVE
    assert [found for found, _ in itertools.groupby(workers)] == [{"1"}, {"1", "2"}, {"2"}]
    assert [found for found, _ in itertools.groupby(jobs)] == ["1", "2"]


@pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("then", ["2", "3", "1"])
def test_a_controller_killed_at_any_change_leaves_a_target_that_the_next_run_puts_right(
    make: Callable[[], World], then: str
) -> None:
    """Killed before the first change, before the second, and so on, until a release comes to its end."""
    slow, number = make().slow, 0
    ways = ["2", "3", "1"]
    while True:
        number += 1
        # A world behind an API is killed once at each change, not once for each way on.
        if slow and number % len(ways) != ways.index(then):
            continue
        other = Releasing(make())
        other.release("1")
        if not other.killed_at(number, partial(other.release, "2")):
            break
        asked = {GREEN for share in other.world.shares() if share} | {
            BLUE for share in other.world.shares() if share < 100
        }
        assert asked <= other.world.versions().keys(), "somebody is sent to where nobody serves"
        story = other.release(then)
        assert story.result in (Result.LIVE, Result.UNCHANGED), (number, story.sentence)
        assert other.serves() == {then}, number
        assert other.document().pending is None, number
        assert other.world.job_version() == then, number
        if then == "2":
            assert other.last() == ("release", "2", "1", True), number
    assert number > 10


@pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("by_release", [True, False], ids=["by releasing it", "by rolling back again"])
def test_a_rollback_that_is_killed_at_any_change_is_ended_as_a_rollback(
    make: Callable[[], World], by_release: bool
) -> None:
    slow = make().slow
    number = taken_up = 0
    while True:
        number += 1
        # As above.
        if slow and number % 2 != by_release:
            continue
        other = Releasing(make())
        for version in ("1", "2"):
            other.release(version)
        if not other.killed_at(number, other.rollback):
            break
        if other.document().pending is None:
            # It had not begun, or was over.
            continue
        taken_up += 1
        story = other.release("1") if by_release else other.rollback()
        assert story.result is Result.LIVE, (number, story.sentence)
        assert other.serves() == {"1"}, number
        assert other.last()[:2] == ("rollback", "1"), number
        with pytest.raises(StoreError, match="is void"):
            other.release("2")
    assert taken_up > 2


def test_two_at_once_one_runs_and_the_other_hears_of_it(releasing: Releasing) -> None:
    releasing.release("1")
    heard: list[str] = []

    class Meanwhile(Judge):
        def watch(self, *arguments: object, **options: object) -> Judgement:
            if not heard:
                with pytest.raises(StoreError) as refused:
                    releasing.release("3")
                heard.append(str(refused.value))
            return Judgement("promote", "")

    assert releasing.release("2", Meanwhile(releasing.world)).result is Result.LIVE
    assert "person 2 has been releasing since 2026-01-01T00:00:00Z" in heard[0]
    assert releasing.serves() == {"2"}


def test_what_was_seen_before_somebody_else_released_is_seen_anew(
    releasing: Releasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    releasing.release("1")
    world, looks = releasing.world, 0
    driver, store = world.connect()
    observe = driver.observe

    def meanwhile(wanted: Release | None) -> Observation:
        nonlocal looks
        looks += 1
        found = observe(wanted)
        if looks == 1:
            with monkeypatch.context() as apart:
                apart.setattr(world, "connect", connect)
                assert releasing.release("2").result is Result.LIVE
        return found

    connect = world.connect
    monkeypatch.setattr(driver, "observe", meanwhile)
    monkeypatch.setattr(world, "connect", lambda: (driver, store))
    story = releasing.release("3")
    assert (story.result, story.plan.old and story.plan.old.version) == (Result.LIVE, "2")
    assert releasing.serves() == {"3"}
    assert looks == 2
    assert releasing.release("1").result is Result.LIVE
    assert looks == 3, "where nobody else released, once is enough"


def test_the_lock_of_another_machine_ends_by_its_time(releasing: Releasing) -> None:
    releasing.release("1")
    _, store = releasing.world.connect()
    text, mark = store.read()
    foreign = Lock("somebody@elsewhere", "elsewhere", 1, "1", stamp(NOW), stamp(NOW + timedelta(minutes=3)))
    store.write(replace(parse(text), lock=foreign).text(), mark)
    with pytest.raises(StoreError, match="somebody@elsewhere"):
        releasing.release("2")
    releasing.now = NOW + timedelta(minutes=4)
    assert releasing.release("2").result is Result.LIVE


def test_a_lock_that_was_lost_ends_the_run(releasing: Releasing) -> None:
    releasing.release("1")

    class Thief(Judge):
        def watch(self, *arguments: object, **options: object) -> Judgement:
            _, store = releasing.world.connect()
            text, mark = store.read()
            thief = Lock("thief", "elsewhere", 1, "1", stamp(NOW), stamp(NOW + timedelta(minutes=3)))
            store.write(replace(parse(text), lock=thief).text(), mark)
            return Judgement("promote", "")

    with pytest.raises(StoreError, match="lost to thief"):
        releasing.release("2", Thief(releasing.world))


def practising(releasing: Releasing, process: int) -> Held:
    """Return the lock of a task of a drill, whose run has that process."""
    since = stamp(releasing.now)
    mine = Lock(f"person {process}", "here", process, "1", since, "", "practising failover")
    return Held(releasing.world.connect()[1], mine, timedelta(hours=2), lambda: releasing.now)


def test_a_drill_keeps_releases_out_until_a_later_task_of_its_run_gives_the_lock_back(releasing: Releasing) -> None:
    releasing.release("1")
    drill, changes = practising(releasing, 1000), []
    drill.read()
    drill.take(lambda _: True)
    releasing.world.before_change = lambda: changes.append("change")
    with pytest.raises(StoreError, match="person 1000 has been practising failover since 2026-01-01T00:00:00Z"):
        releasing.release("2")
    assert not changes, "nothing is changed before it is refused"
    releasing.world.before_change = lambda: None
    releasing.now = NOW + timedelta(minutes=5)
    assert not practising(releasing, 1001).give_back(), "it is somebody else's"
    assert practising(releasing, 1000).give_back()
    assert not practising(releasing, 1000).give_back(), "it was given back"
    assert releasing.release("2").result is Result.LIVE


def test_a_drill_that_was_killed_keeps_nobody_out(releasing: Releasing) -> None:
    releasing.release("1")
    drill = practising(releasing, 1000)
    drill.read()
    drill.take(lambda _: True)
    releasing.dead.add(1000)
    assert releasing.release("2").result is Result.LIVE
    assert not practising(releasing, 1000).give_back()


def test_a_drill_hears_who_releases(releasing: Releasing) -> None:
    heard: list[str] = []

    class Meanwhile(Judge):
        def watch(self, *arguments: object, **options: object) -> Judgement:
            if not heard:
                drill = practising(releasing, 1000)
                drill.read()
                with pytest.raises(StoreError) as refused:
                    drill.take(lambda lock: lock.host == "here")
                heard.append(str(refused.value))
            return Judgement("promote", "")

    releasing.release("1")
    assert releasing.release("2", Meanwhile(releasing.world)).result is Result.LIVE
    assert "person 2 has been releasing since 2026-01-01T00:00:00Z" in heard[0]


def test_a_failed_contract_leaves_the_new_version_live_and_is_finished_by_the_next_run(releasing: Releasing) -> None:
    releasing.release("1")
    releasing.world.failing = {"migrate contract"}
    story = releasing.release("2")
    assert story.result is Result.FAILED
    assert "Version 2 is live, but not everything is done" in story.sentence
    with pytest.raises(StoreError, match="finish it first"):
        releasing.rollback()
    releasing.world.failing = set()
    # What failed may have come so far that nothing is left to do.
    releasing.world.done = {"migrate contract"}
    assert releasing.release("2").result is Result.LIVE
    assert releasing.serves() == {"2"}
    assert releasing.last() == ("release", "2", "1", True)
    with pytest.raises(StoreError, match="version 1 cannot work with the database any more"):
        releasing.rollback(confirmed=False)
    assert releasing.rollback().result is Result.LIVE
    assert releasing.serves() == {"1"}


@pytest.mark.parametrize(("moment", "done"), [("contract", False), ("retire", False), ("retire", True)])
def test_what_a_killed_run_has_contracted_is_known_to_the_one_that_finishes_it(
    releasing: Releasing, moment: str, done: bool
) -> None:
    releasing.release("1")
    releasing.world.done = {"migrate contract"} if done else set()

    def die() -> None:
        raise Killed

    def kill(text: str) -> None:
        if f"  {moment} " in text:
            releasing.world.before_change = die
            die()

    with pytest.raises(Killed):
        releasing.run(say=kill).release("2")
    releasing.dead.add(releasing.processes)
    releasing.world.before_change = lambda: None
    releasing.world.done = {"migrate contract"}
    assert releasing.release("2").result is Result.LIVE
    assert releasing.last() == ("release", "2", "1", not done)


def test_a_release_that_is_committed_is_never_taken_back(releasing: Releasing) -> None:
    releasing.release("1")
    releasing.world.failing = {"migrate contract"}
    releasing.release("2")
    releasing.world.stuck = True
    story = releasing.release("2")
    assert story.result is Result.FAILED
    assert "Version 2 is live, but not everything is done" in story.sentence
    pending = releasing.document().pending
    assert pending is not None
    assert pending.stage is Stage.COMMITTED
    releasing.world.stuck, releasing.world.failing = False, set()
    assert releasing.release("2").result is Result.LIVE
    assert releasing.serves() == {"2"}


def test_where_expanding_left_nothing_to_contract_nothing_is_run_and_the_way_back_stays_open(
    releasing: Releasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    releasing.release("1")
    ran: list[str] = []

    def run(name: str, command: Sequence[str], release: Release) -> str:
        ran.append(" ".join(command))
        return json.dumps({"changed": False, "contract_pending": []})

    driver, store = releasing.world.connect()
    monkeypatch.setattr(driver, "run", run)
    monkeypatch.setattr(releasing.world, "connect", lambda: (driver, store))
    assert releasing.release("2").result is Result.LIVE
    assert ran == ["migrate expand"]
    assert releasing.rollback(confirmed=False).result is Result.LIVE
    assert releasing.serves() == {"1"}


def test_a_rollback_goes_back_and_further_back_and_needs_a_word_after_a_contract(releasing: Releasing) -> None:
    for version in ("1", "2", "3"):
        releasing.release(version)
    with pytest.raises(StoreError, match="rollback_confirm"):
        releasing.rollback(confirmed=False)
    assert releasing.rollback().result is Result.LIVE
    assert releasing.serves() == {"2"}
    with pytest.raises(StoreError, match="void"):
        releasing.release("3")
    assert releasing.rollback().result is Result.LIVE
    assert releasing.serves() == {"1"}
    with pytest.raises(StoreError, match="nothing to roll back to"):
        releasing.rollback()


def test_a_way_back_that_fails_is_taken_by_the_next_run(releasing: Releasing) -> None:
    releasing.release("1")

    class Breaks(Judge):
        def watch(self, *arguments: object, **options: object) -> Judgement:
            releasing.world.stuck = True
            return Judgement("roll_back", "bad")

    story = releasing.release("2", Breaks(releasing.world))
    assert story.result is Result.FAILED
    assert "and that failed" in story.sentence
    releasing.world.stuck = False
    assert releasing.rollback().result is Result.LIVE
    assert releasing.serves() == {"1"}


def test_a_plan_only_tells(releasing: Releasing) -> None:
    releasing.release("1")
    story = releasing.run().release("2", only_plan=True)
    assert "shift green 10 %" in story.sentence
    assert releasing.serves() == {"1"}
