"""End ansible-playbook with the status that a task asks for."""

from __future__ import annotations

DOCUMENTATION = r"""
name: outcome
type: aggregate
short_description: End ansible-playbook with the exit status of the task that failed
description:
  - Ansible ends with 2 whenever a task has failed. A release that took itself back (3) and one that waits for a person
    (4) are no broken playbooks, and pipelines treat them differently.
  - A failed task whose result has C(exit_status) decides, the last one if there are several.
requirements:
  - Named in C(callbacks_enabled), as the last one.
author: The gym platform's engineers
"""

import sys
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Remembers the status, and ends with it when everything else is done."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "gym.platform.outcome"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Ask for nothing yet."""
        super().__init__()
        self._status = 0

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Remember what the task asks for."""
        if not ignore_errors:
            self._status = int(result.result.get("exit_status", 0)) or self._status

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End, unless everything is well."""
        if self._status:
            sys.exit(self._status)
