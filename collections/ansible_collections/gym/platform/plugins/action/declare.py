# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the stacks of a capability on the controller, into files that are read, linted and planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template

# Loops may be indented like what they repeat.
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": True}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Everything happens here: the module of this name is documentation only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write what differs and return the files. Raises AnsibleActionFail when a template cannot be rendered."""
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "capability": {"type": "str", "required": True},
                "directory": {"type": "path", "required": True},
                "stacks": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "name": {"type": "str", "required": True},
                        "template": {"type": "str", "required": True},
                    },
                },
            }
        )
        capability, directory = given["capability"], Path(given["directory"])
        # Everything is rendered before anything is written: half a description would be planned.
        wanted = {
            directory / f"{check_name(stack['name'], capability)}.yml": self._render(stack["template"], task_vars or {})
            for stack in given["stacks"]
        }
        changes = differences(directory, capability, wanted)
        for path, _before, after in changes:
            if after is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(after, encoding="utf-8")
        return {
            "changed": bool(changes),
            "files": sorted(str(path) for path in wanted),
            "diff": [
                {"before_header": str(path), "after_header": str(path), "before": before or "", "after": after or ""}
                for path, before, after in changes
            ],
        }

    def _render(self, name: str, variables: dict[str, Any]) -> str:
        try:
            source = Path(self._find_needle("templates", name))
        except AnsibleError as error:
            raise AnsibleActionFail(f"'{name}' is not in the role's templates/: {error}") from error
        templar = self._templar.copy_with_new_env(
            searchpath=[str(source.parent)],
            available_variables={**variables, **generate_ansible_template_vars(name, str(source), name)},
        )
        text = trust_as_template(source.read_text(encoding="utf-8"))
        try:
            return str(templar.template(text, escape_backslashes=False, overrides=OVERRIDES))
        except AnsibleError as error:
            raise AnsibleActionFail(f"The template {name} cannot be rendered: {error}") from error


def check_name(name: str, capability: str) -> str:
    """Return the name of a stack. Raises AnsibleActionFail for one that another role could own."""
    if name != capability and not name.startswith(f"{capability}_"):
        raise AnsibleActionFail(
            f"The stack '{name}' does not begin with '{capability}': name it {capability}, or {capability}_<word>."
        )
    return name


def differences(
    directory: Path, capability: str, wanted: Mapping[Path, str]
) -> Sequence[tuple[Path, str | None, str | None]]:
    """List what is to be written or removed: the file, its text before, and its text after or None."""
    owned = {*directory.glob(f"{capability}.yml"), *directory.glob(f"{capability}_*.yml")}
    found = []
    for path in sorted(owned | set(wanted)):
        before = path.read_text(encoding="utf-8") if path in owned else None
        if before != wanted.get(path):
            found.append((path, before, wanted.get(path)))
    return found
