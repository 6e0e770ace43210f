"""What a release tells afterwards: how it ended, what it took, and what was found on the way. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release
from ansible_collections.gym.platform.plugins.module_utils.release_plan import Plan


class Result(Enum):
    """How a run ended."""

    UNCHANGED = "unchanged"
    LIVE = "live"
    # Nobody noticed: the new colour had no request yet.
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    HELD = "held"


# What ansible-playbook ends with.
EXIT_STATUS = {Result.UNCHANGED: 0, Result.LIVE: 0, Result.FAILED: 2, Result.ROLLED_BACK: 3, Result.HELD: 4}


@dataclass
class Told:
    """A step as it was taken, for the dossier."""

    action: str
    colour: str
    share: int
    time: str
    seconds: float = 0.0
    outcome: str = "done"
    detail: str = ""


@dataclass
class Story:
    """Everything that a run can tell afterwards."""

    kind: str
    who: str
    begun: str
    wanted: Release
    result: Result = Result.UNCHANGED
    sentence: str = ""
    plan: Plan = field(default_factory=Plan)
    steps: list[Told] = field(default_factory=list)
    judgements: list[dict[str, Any]] = field(default_factory=list)
    contracted: bool = False
    # From the decision to take the release back until the old colour had all requests again.
    way_back_seconds: float | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "kind": self.kind,
            "who": self.who,
            "begun": self.begun,
            "release": asdict(self.wanted),
            "previous": asdict(self.plan.old) if self.plan.old else None,
            "colour": self.plan.target,
            "result": self.result.value,
            "exit_status": EXIT_STATUS[self.result],
            "sentence": self.sentence,
            "plan": [str(step) for step in (*self.plan.back, *self.plan.steps)],
            "steps": [asdict(step) for step in self.steps],
            "judgements": self.judgements,
            "contracted": self.contracted,
            "way_back_seconds": self.way_back_seconds,
            "seconds": round(self.seconds, 2),
        }
