"""The task definitions and schedules of a release to ECS, in staging and in production: `make golden` writes them anew.

They are what the driver registers, from what the role hands it: wiring, nouns and all. What only the cloud knows stands
there as its name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# First, also where pytest has not: it makes Ansible find the collection's filters.
import conftest  # noqa: F401

# isort: split
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, Release
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import (
    Target,
    family,
    schedule_record,
    task_definition,
)

from tests.project import Role, environment

GOLDEN = Path(__file__).parent / "golden"
ENVIRONMENTS = ("staging", "production")
RELEASE = Release("1.2", f"sha256:{'0' * 64}", "0" * 16)


class Facts(dict[str, str]):
    """The outputs of stacks that nobody has stood up: each is its own name."""

    def __contains__(self, name: object) -> bool:
        """Every stack gives out everything."""
        return True

    def __missing__(self, name: str) -> str:
        """Return the name."""
        return name


def target(name: str) -> Target:
    """Return what the role would hand to the driver in an environment."""
    templar = environment(name).templar(Role("release_ecs"), "localhost", {"__release_ecs_facts": {}})
    options: dict[str, Any] = templar.template(templar.available_variables["__release_ecs_target"])
    return Target(**{**options, "facts": Facts()})


def text(name: str) -> str:
    """Return the file that is kept of an environment."""
    wanted = target(name)
    definitions = {
        service["name"]: task_definition(wanted, service, "" if service["kind"] == "job" else BLUE, RELEASE)
        for service in wanted.services
    }
    schedules = {
        job["name"]: schedule_record(wanted, job, family(wanted, job["name"])) for job in wanted.of_kind("job")
    }
    found = {"task_definitions": definitions, "schedules": schedules}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write them."""
    GOLDEN.mkdir(exist_ok=True)
    for name in ENVIRONMENTS:
        (GOLDEN / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
