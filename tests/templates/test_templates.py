"""Every template of every role, rendered for development without a host; an undefined variable is a failure.

What is rendered is what `gym.platform.config_files` would write: the records of the role's own tasks, with the role's
defaults and constants and with what wiring hands it on each host to which the playbooks apply it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible.template import generate_ansible_template_vars, trust_as_template

from tests.project import Environment, Role, environment, roles

MODULES = ("gym.platform.config_files", "ansible.builtin.template")
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False}
# What a role learns from its host while it runs, and a plausible answer: by role, by variable.
REGISTERED: dict[str, dict[str, Any]] = {
    "drill_schedule": {"__drill_schedule_playbook": {"stat": {"exists": True, "pw_name": "platform"}}},
}

# Those of stacks are rendered by tests/stacks.
WITH_TEMPLATES = [role for role in roles() if role.templates(stacks=False)]


def records(role: Role, host: str, known: Environment) -> Iterator[dict[str, Any]]:
    """Go through the files that the role writes on a host."""
    templar = known.templar(role, host, REGISTERED.get(role.name))
    for _file, task in role.tasks():
        for module in MODULES:
            if module in task:
                # Read again by Ansible's loader, so that the text of the task is trusted as a template.
                found = templar.template(trusted(task[module]))
                yield from (
                    found["files"] if module == MODULES[0] else [{"template": found["src"], "path": found["dest"]}]
                )


def trusted(value: Any) -> Any:
    """Trust all texts of a task, as Ansible does with those that it reads from a role."""
    if isinstance(value, dict):
        return {key: trusted(child) for key, child in value.items()}
    if isinstance(value, list):
        return [trusted(child) for child in value]
    return trust_as_template(value) if isinstance(value, str) else value


def render(role: Role, host: str, record: dict[str, Any], known: Environment) -> str:
    """Render one template as config_files does."""
    path = role.path / "templates" / record["template"]
    names = generate_ansible_template_vars(record["template"], str(path), record["path"])
    extra = {**REGISTERED.get(role.name, {}), **(record.get("variables") or {}), **names}
    templar = known.templar(role, host, extra).copy_with_new_env(searchpath=[str(role.path / "templates")])
    text = trust_as_template(path.read_text(encoding="utf-8"))
    return str(templar.template(text, escape_backslashes=False, overrides=OVERRIDES))


@pytest.mark.parametrize("role", WITH_TEMPLATES, ids=lambda role: role.name)
def test_every_template_is_rendered(role: Role) -> None:
    known = environment()
    hosts = known.hosts(role.name)
    assert hosts, f"no playbook applies {role.name} to a host of development"
    rendered = set()
    for host in hosts:
        for record in records(role, host, known):
            if "template" in record:
                text = render(role, host, record, known)
                assert text.strip(), f"{record['template']} is empty on {host}"
                rendered.add(record["template"])
    # Parts that other templates include are rendered with these.
    parts = set(role.templates(stacks=False))
    included = {part for part in parts if any(f"'{part}'" in text or f'"{part}"' in text for text in bodies(role))}
    assert rendered | included >= parts, f"rendered on no host: {sorted(parts - rendered - included)}"


def bodies(role: Role) -> list[str]:
    """Read all templates of a role."""
    return [path.read_text(encoding="utf-8") for path in role.path.rglob("templates/**/*.j2")]


def test_an_undefined_variable_is_a_failure(tmp_path: Any) -> None:
    broken = Role("broken", root=tmp_path)
    (broken.path / "templates").mkdir(parents=True)
    (broken.path / "templates/x.j2").write_text("a {{ nobody_defines_this }} b\n")
    with pytest.raises(Exception, match="nobody_defines_this"):
        render(broken, "app-1", {"template": "x.j2", "path": "/x"}, environment())
