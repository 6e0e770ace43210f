# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse an environment whose description is wrong, with all that is wrong in one list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.environment import locate, read_files
from ansible_collections.gym.platform.plugins.module_utils.validation import problems, report


def chosen_environment(variables: dict[str, Any]) -> tuple[Path, Path]:
    """Return the root of the project and the directory of the environment that `-i` names."""
    platform = variables.get("platform")
    name = platform.get("environment") if isinstance(platform, dict) else None
    sources = [Path(source) for source in context.CLIARGS.get("inventory") or () if "," not in source]
    try:
        return locate(Path(variables["playbook_dir"]), sources, name)
    except LookupError as error:
        raise AnsibleActionFail(str(error)) from error


class ActionModule(ActionBase):  # type: ignore[misc]
    """Read the files of the environment on the controller and check them."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the number of files that were read. Raises AnsibleActionFail with the list of problems."""
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        root, environment = chosen_environment(task_vars or {})
        files = read_files(root, environment)
        found = problems(files)
        if found:
            raise AnsibleActionFail(report(found))
        return {"changed": False, "environment": environment.name, "files": sorted(files)}
