"""The inventory of each environment as Ansible sees it, kept beside the tests: `make golden` writes it anew.

A change of a noun, of wiring or of the layout shows in a review as the variables that really change. Nothing is
templated in an exported inventory, so that a secret is never more than a reference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
ENVIRONMENTS = ("development", "development-dr", "staging", "production", "production-dr")


def export(environment: str) -> str:
    """Return the exported inventory of an environment without anything that belongs to this machine."""
    program = str(Path(sys.executable).parent / "ansible-inventory")
    command = [program, "-i", f"inventories/{environment}", "--list", "--export"]
    # What a person has set for their own use of Ansible is no part of the environment.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    run = subprocess.run(command, cwd=ROOT, env=clean, check=True, capture_output=True, text=True)
    return normalise(json.loads(run.stdout.replace(str(ROOT), "<root>")))


def normalise(inventory: dict[str, Any]) -> str:
    """Write an inventory in one order, so that only a change of content is a change."""
    return json.dumps(inventory, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the inventories of all environments."""
    GOLDEN.mkdir(exist_ok=True)
    for environment in ENVIRONMENTS:
        (GOLDEN / f"{environment}.json").write_text(export(environment), encoding="utf-8")


if __name__ == "__main__":
    main()
