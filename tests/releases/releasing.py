"""A person who releases to the development platform, and what comes of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def step(self, action: str) -> dict[str, Any]:
        """Return the last step of that name."""
        steps: list[dict[str, Any]] = self.story["steps"]
        return [step for step in steps if step["action"] == action][-1]


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
