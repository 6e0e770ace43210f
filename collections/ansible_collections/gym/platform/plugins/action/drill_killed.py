"""Find the drills of an environment that were killed, and end what is left of them on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Book, BookError, killed

ARGUMENTS: dict[str, dict[str, Any]] = {"reports": {"type": "path", "required": True}}


def told(book: Book, scenario: str, step: str) -> dict[str, Any]:
    """Return what is known of a drill that was killed, in words too."""
    where = f" in the step '{step}'" if step else " before its first step"
    return {
        "drill": str(book.stem),
        "scenario": scenario,
        "said": f"The drill {scenario} of {book.stem.name} was killed{where}.",
        "judged": book.stem.with_name(f"{book.stem.name}.json").exists(),
    }


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        found = []
        for book in killed(Path(options["reports"])):
            note = book.note
            assert note  # noqa: S101 - of a drill that was killed there is one
            found.append(told(book, note.scenario, note.step))
            if not self._task.check_mode:
                try:
                    book.end_step()
                    book.stop()
                except BookError as error:
                    raise AnsibleActionFail(f"This environment is not fit for a drill: {error}") from error
        return {"changed": bool(found), "drills": found}
