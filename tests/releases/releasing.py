"""A person who releases to the development platform, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.platform_access import ROOT
from tests.proofs.playbook_runs import Outcome, playbook, run


@dataclass(frozen=True)
class Done:
    """How a playbook ended; `story` is what is in its dossier, empty where it wrote none."""

    status: int
    text: str
    dossier: Path | None
    story: dict[str, Any]

    @property
    def sentence(self) -> str:
        """Return what came of it, for a person."""
        return str(self.story.get("sentence") or self.text[-2000:])

    @property
    def seconds_but_baking(self) -> float:
        """How long it took, apart from baking."""
        baked = sum(step["seconds"] for step in self.story["steps"] if step["action"] == "bake")
        return float(self.story["seconds"] - baked)

    @property
    def switch_seconds(self) -> float:
        """How long it took from the moment when the new colour was ready until it had its first requests."""
        steps: list[dict[str, Any]] = self.story["steps"]
        first = next(index for index, step in enumerate(steps) if step["action"] == "shift")
        return float(sum(step["seconds"] for step in steps[first - 1 : first + 1]))

    def step(self, action: str) -> dict[str, Any]:
        """Return the last step of that name."""
        steps: list[dict[str, Any]] = self.story["steps"]
        return [step for step in steps if step["action"] == action][-1]


def declared(seconds: int, inconclusive: str, smoke: Sequence[Mapping[str, str]] = ()) -> str:
    """Return the noun `release`, otherwise than the inventory has it."""
    file = ROOT / "inventories" / "development" / "group_vars" / "all" / "release.yml"
    noun: dict[str, Any] = yaml.safe_load(file.read_text())["release"]
    judge = {"seconds": seconds, "inconclusive": inconclusive}
    return json.dumps({"release": {**noun, "judge": judge, "bake_seconds": 2, "smoke": list(smoke)}})


# Shorter than the inventory's: what is measured is the procedure, not the patience.
HASTE = declared(4, "promote")


def releasing(version: str, *options: str) -> list[str]:
    """Return the command that releases a version."""
    return playbook("deploy", "-e", f"release_version={version}", *options)


def done(outcome: Outcome) -> Done:
    """Read what a playbook said."""
    found = re.findall(r"Dossier: ([^\s\"]+\.html)", outcome.text)
    dossier = Path(found[-1]) if found else None
    story = json.loads(dossier.with_suffix(".json").read_text()) if dossier else {}
    return Done(outcome.code, outcome.text, dossier, story)


def release(version: str, *options: str) -> Done:
    """Release a version."""
    return done(run(releasing(version, *options)))


def rollback(*options: str) -> Done:
    """Go back to what was live before."""
    return done(run(playbook("rollback", *options)))
