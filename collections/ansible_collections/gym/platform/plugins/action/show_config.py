# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show every value of an environment and the line of the file that it comes from."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.gym.platform.plugins.action.validate_environment import chosen_environment
from ansible_collections.gym.platform.plugins.module_utils.environment import (
    UnreadableError,
    read_files,
    settings,
    table,
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Read the files of the environment on the controller and print them as a table."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print the table and return its rows. Nothing is templated: of a secret only the reference is seen."""
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        root, environment = chosen_environment(task_vars or {})
        try:
            rows = settings(read_files(root, environment))
        except UnreadableError as error:
            raise AnsibleActionFail(str(error)) from error
        Display().display(table(rows))
        return {"changed": False, "settings": [dataclasses.asdict(row) for row in rows]}
