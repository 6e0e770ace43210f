"""The stacks of the cloud's environments as they are rendered, kept beside the tests: `make golden` writes them anew.

A change of a noun, of wiring or of a template shows in a review as what really changes on the cloud. What is rendered
is what `playbooks/declare.yml` renders, without a run: the stacks of each role's own task, with what wiring hands it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# First, also where pytest has not: it makes Ansible find the collection's filters.
import conftest  # noqa: F401

# isort: split
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.gym.platform.plugins.action.declare import OVERRIDES

from tests.project import ROOT, Role, environment, load, roles

GOLDEN = Path(__file__).parent / "golden"
# What production becomes when its region is lost.
STAND_IN = "production-dr"
ENVIRONMENTS = ("staging", "production", STAND_IN)
# Production as it would be on another kind of compute, by the name of its directory.
VARIANTS = ("docker_hosts", "eks")


def render(name: str, nouns: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Render all stacks of an environment, with some nouns instead of its own; files by the name of their stack."""
    return {stack: text for role in declaring() for stack, text in declared(role, name, nouns or {})}


@functools.cache
def declaring() -> list[Role]:
    """List the roles that own stacks."""
    return [role for role in roles() if "declare" in role.entries]


def declared(role: Role, name: str, nouns: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Render the stacks of one role."""
    templar = environment(name).templar(role, "localhost", nouns)
    (task,) = [task["gym.platform.declare"] for _, task in role.tasks() if "gym.platform.declare" in task]
    found = []
    for stack in templar.template(trust_as_template(task["stacks"])):
        path = role.path / "templates" / stack["template"]
        variables = {**nouns, **generate_ansible_template_vars(stack["template"], str(path), stack["template"])}
        templar = environment(name).templar(role, "localhost", variables)
        templar = templar.copy_with_new_env(searchpath=[str(path.parent)])
        text = trust_as_template(path.read_text(encoding="utf-8"))
        found.append((stack["name"], str(templar.template(text, escape_backslashes=False, overrides=OVERRIDES))))
    return found


def kept(name: str) -> dict[str, str]:
    """Render what is kept of an environment: all of it, and of a variant what differs from production."""
    if name in ENVIRONMENTS:
        return render(name)
    production = render("production")
    platform = load(ROOT / "inventories/production/group_vars/all/platform.yml")["platform"]
    other = render("production", {"platform": {**platform, "compute": name}})
    return {stack: text for stack, text in other.items() if text != production[stack]}


def main() -> None:
    """Write the stacks of all environments and variants."""
    for name in (*ENVIRONMENTS, *VARIANTS):
        directory = GOLDEN / name
        directory.mkdir(parents=True, exist_ok=True)
        stacks = kept(name)
        for path in directory.glob("*.yml"):
            if path.stem not in stacks:
                path.unlink()
        for stack, text in stacks.items():
            (directory / f"{stack}.yml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
