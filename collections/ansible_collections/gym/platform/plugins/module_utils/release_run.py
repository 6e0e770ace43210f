"""Carry out a release: the steps of the plan over a driver, the judgement, the way back, and the story of it all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from ansible_collections.gym.platform.plugins.module_utils import release_store
from ansible_collections.gym.platform.plugins.module_utils.release_driver import Driver, DriverError, Release
from ansible_collections.gym.platform.plugins.module_utils.release_plan import (
    Action,
    Current,
    Desired,
    Pending,
    Plan,
    Stage,
    Step,
    live_release,
    plan,
    share_of_green,
    way_back,
)
from ansible_collections.gym.platform.plugins.module_utils.release_smoke import SmokeError, SmokeTest, smoke
from ansible_collections.gym.platform.plugins.module_utils.release_store import (
    Document,
    Entry,
    Held,
    Lock,
    StoreError,
)
from ansible_collections.gym.platform.plugins.module_utils.release_story import Result, Story, Told


@dataclass(frozen=True)
class Judgement:
    """What was found about the new colour: promote, roll_back or undecided; `record` is for the dossier."""

    outcome: str
    reason: str
    record: Mapping[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Compares the colours while both have requests."""

    def watch(self, colour: str, least_seconds: float, most_seconds: float, tick: Callable[[], None]) -> Judgement:
        """Watch the colour for at least and at most so many seconds, and end at once when it has to be taken back.

        Calls `tick` about once a second.
        """


@dataclass(frozen=True)
class Procedure:
    """What is the same for every target: commands, tests, times, and what an undecided judgement leads to."""

    expand: Sequence[str] = ()
    contract: Sequence[str] = ()
    assets: Sequence[str] = ()
    shares: Sequence[int] = (10, 50, 100)
    smoke: Sequence[SmokeTest] = ()
    judged: bool = True
    judge_seconds: float = 60
    bake_seconds: float = 60
    # promote, hold or roll_back
    inconclusive: str = "hold"


class GivenUpError(Exception):
    """The release has to be taken back; the message says why."""


class HoldError(Exception):
    """A person has to decide; the message says what about."""


class Run:
    """One run of the procedure against one target."""

    def __init__(
        self,
        driver: Driver,
        held: Held,
        judge: Judge,
        procedure: Procedure,
        *,
        mine: Lock,
        now: Callable[[], datetime],
        alive: Callable[[Lock], bool | None],
        say: Callable[[str], None],
    ) -> None:
        """Take the parts."""
        self._driver, self._held, self._judge, self._procedure = driver, held, judge, procedure
        self._mine, self._now, self._alive, self._say = mine, now, alive, say
        self._clock = time.monotonic
        self._begun = self._clock()
        self._story: Story
        # Whether there may be something to contract; a command that expands can say that there is not.
        self._contracts = True
        # How the old colour failed its tests before the database was touched; no failure after that is evidence.
        self._old_failed = ""
        self._kind = ""

    # --- what is asked for ---

    def release(self, version: str, digest: str = "", *, unvoid: bool = False, only_plan: bool = False) -> Story:
        """Bring a version to the target. Raises DriverError and StoreError while nothing has been touched yet."""
        wanted = self._driver.resolve(version, digest)
        self._begin("release", wanted)
        document = self._held.read()
        procedure = self._procedure
        desired = Desired(
            wanted,
            procedure.shares,
            expands=bool(procedure.expand),
            contracts=bool(procedure.contract),
            publishes=bool(procedure.assets),
            judged=procedure.judged,
        )
        found = self._plan(desired, document.pending)
        if found.empty:
            return self._end(
                Result.UNCHANGED, f"Version {version} runs already, with these settings; nothing was done."
            )
        if (when := release_store.condemned(document, wanted)) and not unvoid and not found.repair:
            raise StoreError(
                f"version {version} ({wanted.digest[:19]}) was rolled back at {when} and is void. Release another"
                " version, or say that you mean it: -e release_unvoid=true"
            )
        return self._carry_out(desired, found, only_plan=only_plan, unvoid=unvoid)

    def rollback(self, *, confirmed: bool = False, only_plan: bool = False) -> Story:
        """Go back to what was live before, or give an unfinished release up. Raises DriverError and StoreError."""
        document = self._held.read()
        if (pending := document.pending) and pending.kind == "rollback":
            return self._roll_back(pending.release, only_plan=only_plan)
        if pending and pending.stage is not Stage.COMMITTED and pending.live:
            self._begin("rollback", pending.release)
            old = self._driver.observe(None).colours[pending.live].release
            self._story.plan = Plan((), pending.target, pending.live, way_back(pending.live, pending.target), old)
            return self._give_up_pending(pending, only_plan=only_plan)
        if pending:
            raise StoreError(
                f"version {pending.release.version} is live, but its release was interrupted near its end:"
                f" finish it first (playbooks/deploy.yml -e release_version={pending.release.version})"
            )
        live = live_release(self._driver.observe(None))
        entry = release_store.before(document, live)
        if entry is None or entry.previous is None:
            raise StoreError(
                f"there is nothing to roll back to: version '{live.version if live else 'none'}' is live and replaced"
                " no other one that is known. To release a version by its name: playbooks/deploy.yml -e"
                " release_version=<tag>"
            )
        if entry.contracted and not confirmed:
            raise StoreError(
                f"version {entry.previous.version} cannot work with the database any more: version"
                f" {entry.release.version} has contracted its schema. Release a version that can, or say that you mean"
                " it: -e rollback_confirm=true"
            )
        return self._roll_back(entry.previous, only_plan=only_plan)

    # --- how it is done ---

    def _roll_back(self, previous: Release, *, only_plan: bool) -> Story:
        wanted = self._driver.resolve(previous.version, previous.digest)
        self._begin("rollback", wanted)
        desired = Desired(wanted, (100,), expands=False, contracts=False, publishes=False, judged=False)
        return self._carry_out(desired, self._plan(desired, self._held.read().pending), only_plan=only_plan)

    def _begin(self, kind: str, wanted: Release) -> None:
        self._begun = self._clock()
        self._kind = kind
        self._story = Story(kind, self._mine.holder, release_store.stamp(self._now()), wanted)

    def _end(self, result: Result, sentence: str) -> Story:
        self._story.result, self._story.sentence = result, sentence
        self._story.seconds = self._clock() - self._begun
        return self._story

    def _plan(self, desired: Desired, pending: Pending | None) -> Plan:
        story = self._story
        # What is taken up ends as what it began as, whoever takes it up.
        taken_up = pending if pending and pending.release == desired.release else None
        story.kind = taken_up.kind if taken_up else self._kind
        story.contracted = bool(taken_up and taken_up.contracted)
        story.plan = plan(Current(self._driver.observe(desired.release), pending), desired)
        return story.plan

    def _carry_out(self, desired: Desired, found: Plan, *, only_plan: bool, unvoid: bool = False) -> Story:
        if only_plan:
            return self._end(Result.UNCHANGED, "Planned: " + ", ".join(map(str, (*found.back, *found.steps))))

        def begun(document: Document) -> Document:
            document = release_store.unvoid(document, desired.release) if unvoid else document
            return self._pended(document, desired.release, found, first_stage(found)) if begins(found) else document

        unchanged = self._held.take(self._alive, begun)
        try:
            if not unchanged:
                # Somebody has released meanwhile, so what was seen may be old.
                found = self._plan(desired, self._held.read().pending)
                self._held.update(begun)
            return self._steps(desired.release, found)
        finally:
            self._held.free()

    def _steps(self, wanted: Release, found: Plan) -> Story:
        reached = first_stage(found)
        exposed = False
        try:
            for step in found.back:
                self._take(step, None, found)
            if found.back:
                self._held.update(release_store.forget)
                if found.steps:
                    self._pend(wanted, found, reached)
            for step in found.steps:
                if step.action in (Action.CONTRACT, Action.RETIRE) and not found.repair and reached is Stage.TRIAL:
                    reached = Stage.COMMITTED
                    # A contract that is cut off may have changed something; one that ends says whether it did.
                    contracting = step.action is Action.CONTRACT and self._contracts
                    self._pend(wanted, found, reached, contracting=contracting)
                if step.action is Action.RECORD:
                    self._record(Result.LIVE, "")
                    continue
                exposed |= step.action is Action.SHIFT and step.colour == found.target and bool(found.live)
                self._take(step, wanted, found)
                if step.action is Action.CONTRACT and self._contracts:
                    self._pend(wanted, found, reached)
        except HoldError as hold:
            self._pend(wanted, found, Stage.HELD)
            self._record(Result.HELD, str(hold))
            return self._end(
                Result.HELD,
                f"Version {wanted.version} is held at its share of the requests, and both colours keep running: {hold}."
                " Go on with playbooks/deploy.yml and the same version, or give it up with playbooks/rollback.yml.",
            )
        except (DriverError, SmokeError, GivenUpError) as error:
            if reached is Stage.COMMITTED or found.repair:
                return self._end(
                    Result.FAILED,
                    f"Version {wanted.version} is live, but not everything is done: {error}. Release it again.",
                )
            return self._go_back(wanted, found, str(error), exposed=exposed)
        version, old = wanted.version, found.old
        if found.repair or not found.steps:
            return self._end(Result.LIVE, f"Version {version} is whole again ({found.live}).")
        before = f", before it {old.version}." if old else "."
        return self._end(Result.LIVE, f"Version {version} is live ({found.target}){before}")

    def _go_back(self, wanted: Release, found: Plan, reason: str, *, exposed: bool) -> Story:
        decided = self._clock()
        self._say(f"taken back: {reason}")
        result = Result.ROLLED_BACK if exposed else Result.FAILED
        serves = f"Version {found.old.version} serves as before." if found.old else "Nothing was live before."
        try:
            for step in way_back(found.live, found.target):
                self._take(step, None, found)
                if step.action is Action.SHIFT:
                    self._story.way_back_seconds = round(self._clock() - decided, 2)
        except DriverError as error:
            return self._end(
                Result.FAILED,
                f"Version {wanted.version} has to be taken back ({reason}), and that failed: {error}. The next run of"
                " playbooks/deploy.yml or playbooks/rollback.yml takes it back first.",
            )
        self._record(result, reason)
        verb = "was rolled back" if exposed else "did not go live"
        return self._end(result, f"Version {wanted.version} {verb}. {serves} {reason}")

    def _give_up_pending(self, pending: Pending, *, only_plan: bool) -> Story:
        if only_plan:
            return self._end(Result.UNCHANGED, "Planned: " + ", ".join(map(str, self._story.plan.back)))
        self._held.take(self._alive)
        try:
            for step in way_back(pending.live, pending.target):
                self._take(step, None, self._story.plan)
            self._record(Result.ROLLED_BACK, "given up by hand")
        finally:
            self._held.free()
        return self._end(
            Result.LIVE, f"Version {pending.release.version} was given up; the {pending.live} colour serves."
        )

    def _pend(self, wanted: Release, found: Plan, stage: Stage, *, contracting: bool = False) -> None:
        self._held.update(lambda document: self._pended(document, wanted, found, stage, contracting=contracting))

    def _pended(
        self, document: Document, wanted: Release, found: Plan, stage: Stage, *, contracting: bool = False
    ) -> Document:
        contracted = contracting or self._story.contracted
        pending = Pending(wanted, found.target, found.live, stage, found.old, self._story.kind, contracted)
        return replace(document, pending=pending)

    def _record(self, result: Result, reason: str) -> None:
        story = self._story
        entry = Entry(
            time=story.begun,
            kind=story.kind,
            release=story.wanted,
            outcome=result.value,
            reason=reason,
            who=story.who,
            seconds=round(self._clock() - self._begun, 1),
            previous=story.plan.old,
            contracted=story.contracted,
        )
        undoes = story.kind == "rollback" and result is Result.LIVE
        write = release_store.undo if undoes else release_store.finish
        # The last thing that is known of a run, so its lock goes with it.
        self._held.free(lambda document: write(document, entry))

    def _take(self, step: Step, wanted: Release | None, found: Plan) -> None:
        """Take one step and tell of it. A step without a wanted release is one of the way back."""
        self._held.renew()
        told = Told(step.action.value, step.colour, step.share, release_store.stamp(self._now()))
        self._story.steps.append(told)
        begun = self._clock()
        try:
            told.detail = self._do(step, wanted, found)
        except (DriverError, SmokeError, GivenUpError, HoldError) as error:
            told.outcome, told.detail = "failed", str(error)
            raise
        finally:
            told.seconds = round(self._clock() - begun, 2)
            self._say(f"{self._clock() - self._begun:6.1f} s  {step}  {told.detail if told.outcome != 'done' else ''}")

    def _do(self, step: Step, wanted: Release | None, found: Plan) -> str:
        driver, procedure = self._driver, self._procedure
        match step.action:
            case Action.SHIFT:
                driver.shift(share_of_green(step.colour, step.share))
            case Action.RETIRE:
                driver.stop(step.colour, wanted)
            case Action.EXPAND if wanted and found.old:
                self._old_failed = self._failure(found.live, found.old)
                return self._with_release(step, wanted)
            case Action.PROVE_OLD if self._old_failed:
                return f"nothing to prove: it failed before the database was touched: {self._old_failed}"
            case Action.PROVE_OLD if found.old:
                return smoke(driver.address(step.colour), procedure.smoke, found.old.version)
            case Action.JUDGE:
                return self._judged(step, 0.0, procedure.judge_seconds)
            case Action.BAKE:
                most = max(procedure.bake_seconds, procedure.judge_seconds)
                return self._judged(step, procedure.bake_seconds, most)
            case _ if wanted:
                return self._with_release(step, wanted)
        return ""

    def _with_release(self, step: Step, wanted: Release) -> str:
        driver, procedure = self._driver, self._procedure
        match step.action:
            case Action.EXPAND:
                said = driver.run("migrate", procedure.expand, wanted)
                self._contracts = last_word(said).get("contract_pending") != []
                return said
            case Action.ASSETS:
                return driver.run("assets", procedure.assets, wanted)
            case Action.START:
                driver.start(step.colour, wanted)
            case Action.SMOKE:
                return smoke(driver.address(step.colour), procedure.smoke, wanted.version)
            case Action.CONTRACT if not self._contracts:
                return "there is nothing to contract"
            case Action.CONTRACT:
                said = driver.run("migrate", procedure.contract, wanted)
                self._story.contracted |= changed(said)
                return said
        return ""

    def _failure(self, colour: str, release: Release) -> str:
        """Return why a colour fails the smoke tests, empty where it passes."""
        try:
            smoke(self._driver.address(colour), self._procedure.smoke, release.version)
        except (DriverError, SmokeError) as error:
            self._say(f"the {colour} colour, which is to be replaced, fails already: {error}")
            return str(error)
        return ""

    def _judged(self, step: Step, least: float, most: float) -> str:
        judgement = self._judge.watch(step.colour, least, most, self._held.renew)
        said = {"share": step.share, "outcome": judgement.outcome, "reason": judgement.reason}
        self._story.judgements.append({**said, **judgement.record})
        what = judgement.outcome if judgement.outcome != "undecided" else self._procedure.inconclusive
        if what == "roll_back":
            raise GivenUpError(judgement.reason)
        if what == "hold":
            raise HoldError(judgement.reason)
        return judgement.reason


def begins(found: Plan) -> bool:
    """Tell whether a plan begins with a release, and not with taking another one back or with a repair."""
    return bool(found.steps) and not (found.back or found.repair)


def first_stage(found: Plan) -> Stage:
    """Return how far a plan's release has come before its first step."""
    return Stage.COMMITTED if found.committed else Stage.TRIAL


def last_word(said: str) -> Mapping[str, Any]:
    """Return what a command tells of itself: the last line of its output is a JSON object. Nothing where it is not."""
    try:
        found = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def changed(said: str) -> bool:
    """Tell whether a command changed something; one that does not say so may have."""
    return bool(last_word(said).get("changed", True))
