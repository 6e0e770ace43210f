"""What a release has to do: the steps between what stands and what is wanted. Pure: no host, no clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    BLUE,
    GREEN,
    Colour,
    Observation,
    Release,
    Standing,
    other,
)


class Action(Enum):
    """What a step does. The order is that of a whole release."""

    # The database gets what the new code needs and the old code can live with.
    EXPAND = "expand"
    # The old colour still answers on the expanded schema.
    PROVE_OLD = "prove old"
    ASSETS = "publish assets"
    START = "start"
    SMOKE = "smoke test"
    SHIFT = "shift"
    JUDGE = "judge"
    BAKE = "bake"
    # From here on there is no way back: the database loses what only the old code needs.
    CONTRACT = "contract"
    RETIRE = "retire"
    RECORD = "record"


@dataclass(frozen=True)
class Step:
    """One step: the colour that it is about, and the share of the requests that this colour gets where it matters."""

    action: Action
    colour: str
    share: int = 0

    def __str__(self) -> str:
        """Say it in a few words."""
        share = f" {self.share} %" if self.action in (Action.SHIFT, Action.JUDGE) else ""
        return f"{self.action.value} {self.colour}{share}"


class Stage(Enum):
    """How far an unfinished release has come, as it is kept with the target."""

    # The old colour has to serve again if the release is given up.
    TRIAL = "trial"
    # A person has to decide; otherwise as TRIAL.
    HELD = "held"
    # The database has been contracted, or may have been: it can only go on.
    COMMITTED = "committed"


@dataclass(frozen=True)
class Pending:
    """A release that began and has not ended, with what the ledger shall say of it.

    `live` is the colour that served before, empty where none did, and `previous` what served there. `kind` is release
    or rollback. `contracted` tells whether the database has lost, or may have lost, what `previous` needs.
    """

    release: Release
    target: str
    live: str
    stage: Stage
    previous: Release | None = None
    kind: str = "release"
    contracted: bool = False


@dataclass(frozen=True)
class Desired:
    """What shall be, and how to get there. The traffic goes through `shares` in per cent; 100 is the last."""

    release: Release
    shares: Sequence[int] = (10, 50, 100)
    expands: bool = True
    contracts: bool = True
    publishes: bool = True
    judged: bool = True

    def __post_init__(self) -> None:
        """Refuse steps that do not lead to 100 %. Raises ValueError."""
        shares = list(self.shares)
        if not shares or shares != sorted(set(shares)) or shares[0] < 1 or shares[-1] != 100:
            raise ValueError(
                f"the shares of a release are {shares}; they must rise from at least 1 to 100, such as [10, 50, 100]"
            )


@dataclass(frozen=True)
class Current:
    """What stands, as the target observed it, and what an earlier run left unfinished."""

    observed: Observation
    pending: Pending | None = None


@dataclass(frozen=True)
class Plan:
    """What to do. `back` is done before: it takes away what an earlier release, of something else, left unfinished."""

    steps: tuple[Step, ...] = ()
    target: str = ""
    live: str = ""
    back: tuple[Step, ...] = ()
    old: Release | None = None
    # Nothing new is released, so the ledger gets no entry.
    repair: bool = False
    # It ends what an earlier run committed, and cannot be taken back.
    committed: bool = False

    @property
    def empty(self) -> bool:
        """Whether everything is as it shall be."""
        return not (self.steps or self.back)


def share_of_green(colour: str, share: int) -> int:
    """Return what a colour's share means for green: the front door knows one number."""
    return share if colour == GREEN else 100 - share


def live_colour(observed: Observation) -> str:
    """Return the colour that serves, or nothing where none stands."""
    share = observed.share if observed.share is not None else 0
    likely = GREEN if share >= 50 else BLUE
    for colour in (likely, other(likely)):
        if observed.colours[colour].standing is not Standing.ABSENT:
            return colour
    return ""


def live_release(observed: Observation) -> Release | None:
    """Return the release that serves, None where nothing stands."""
    live = live_colour(observed)
    return observed.colours[live].release if live else None


def way_back(live: str, target: str) -> tuple[Step, ...]:
    """Return the steps from any point before the contract to what was before."""
    retire = Step(Action.RETIRE, target)
    return (Step(Action.SHIFT, live, 100), retire) if live else (retire,)


def plan(current: Current, desired: Desired) -> Plan:
    """Compare what stands with what is wanted, and return the steps between them.

    Nothing differs: no steps. Only something of the live colour is missing: it is started in place, with no switch.
    Anything else: the release goes to the idle colour, whole. An interrupted release of the same is taken up where it
    stands, one of something else is taken back first.
    """
    observed, pending = current.observed, current.pending
    if pending and pending.stage is Stage.COMMITTED and pending.release == desired.release:
        return _finish(pending, desired)
    if pending and pending.release == desired.release:
        old = observed.colours[pending.live].release if pending.live else None
        return _release(observed, desired, pending.target, pending.live, old)
    if pending and pending.stage is not Stage.COMMITTED:
        old = observed.colours[pending.live].release if pending.live else None
        back = way_back(pending.live, pending.target)
        if old == desired.release:
            return Plan(back=back, live=pending.live, target=pending.live, old=old)
        # Where nothing served before, both colours are free again.
        target = other(pending.live) if pending.live else pending.target
        ahead = _release(_taken_back(observed, pending), desired, target, pending.live, old)
        return Plan(ahead.steps, ahead.target, ahead.live, back, old)
    # What was committed is live, if unfinished: it is finished on the way of what comes.
    live = pending.target if pending else live_colour(observed)
    return _from_live(observed, desired, live, unfinished=pending is not None)


def _from_live(observed: Observation, desired: Desired, live: str, *, unfinished: bool) -> Plan:
    old = observed.colours[live].release if live else None
    if not live:
        return _release(observed, desired, BLUE, "", None)
    standing, idle = observed.colours[live].standing, other(live)
    if standing is Standing.OTHER:
        back = (Step(Action.RETIRE, idle),) if observed.colours[idle].standing is Standing.OTHER else ()
        return Plan(_release(observed, desired, idle, live, old).steps, idle, live, back, old)
    steps: list[Step] = []
    if standing is Standing.PART:
        steps += [Step(Action.START, live), Step(Action.SMOKE, live)]
    if observed.share != share_of_green(live, 100):
        steps.append(Step(Action.SHIFT, live, 100))
    surplus = observed.colours[idle].standing is not Standing.ABSENT
    if surplus or observed.jobs is not Standing.WHOLE or unfinished:
        steps.append(Step(Action.RETIRE, idle))
    return Plan(tuple(steps), live, live, (), old, repair=True)


def _release(observed: Observation, desired: Desired, target: str, live: str, old: Release | None) -> Plan:
    steps: list[Step] = []
    if desired.expands:
        steps.append(Step(Action.EXPAND, target))
        if live:
            steps.append(Step(Action.PROVE_OLD, live))
    if desired.publishes:
        steps.append(Step(Action.ASSETS, target))
    steps += [Step(Action.START, target), Step(Action.SMOKE, target)]
    reached = 0 if observed.share is None else share_of_green(target, observed.share)
    if not live:
        # Nobody is served yet, so there is nobody to compare with and nobody to protect.
        steps.append(Step(Action.SHIFT, target, 100))
    else:
        # A release that is taken up again does not send back those whom the new colour serves already.
        for share in desired.shares:
            if share < reached:
                continue
            steps.append(Step(Action.SHIFT, target, share))
            if desired.judged:
                steps.append(Step(Action.JUDGE if share < 100 else Action.BAKE, target, share))
    steps += _end(desired, target)
    return Plan(tuple(steps), target, live, (), old)


def _finish(pending: Pending, desired: Desired) -> Plan:
    steps = (Step(Action.SHIFT, pending.target, 100), *_end(desired, pending.target))
    # What served before may have gone already: only what was kept tells of it.
    return Plan(steps, pending.target, pending.live, (), pending.previous, committed=True)


def _end(desired: Desired, target: str) -> list[Step]:
    contract = [Step(Action.CONTRACT, target)] if desired.contracts else []
    return [*contract, Step(Action.RETIRE, other(target)), Step(Action.RECORD, target)]


def _taken_back(observed: Observation, pending: Pending) -> Observation:
    """Return what will be observed once the steps back are done."""
    colours = {**observed.colours, pending.target: Colour()}
    share = share_of_green(pending.live, 100) if pending.live else observed.share
    return Observation(colours, share, observed.jobs)
