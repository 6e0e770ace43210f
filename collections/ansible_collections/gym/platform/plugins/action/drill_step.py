"""Take one step of a drill: a command that a person would give, on the machine where they would give it."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.drill_book import DRILL, Book, Step
from ansible_collections.gym.platform.plugins.module_utils.drill_note import Process, Undo
from ansible_collections.gym.platform.plugins.plugin_utils.terminal import say

POLL_SECONDS = 0.5
# So much of what a command said is told when it failed.
MOST_CHARACTERS = 600
FATAL = re.compile(r"^fatal: .*$", re.MULTILINE)
ARGUMENTS: dict[str, dict[str, Any]] = {
    **DRILL,
    "run": {"type": "str", "required": True},
    "directory": {"type": "path"},
    "says": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 60},
    "disaster": {"type": "bool", "default": False},
    "undo": {"type": "str", "default": ""},
    "undoes": {"type": "bool", "default": False},
}


def taken_back(command: str, host: str, failure: str) -> str:
    """Say whether what a drill has done was taken back by a command, with why it was not."""
    if failure:
        return f"`{command}` on {host} did not take back what it had done, and the next drill tries again: {failure}."
    return f"`{command}` on {host} has taken back what it had done."


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {"changed": True, "msg": f"Would run: {options['run']}"}
        command = options["run"]
        name = str(self._task.name)
        host = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname", ""))
        book = Book(Path(options["drill"]))
        note = book.note
        # What is taken back for a drill that was killed is no part of it: its report says so in words.
        mine = note is None or note.run == Process.of(os.getppid())
        if mine:
            undo = Undo(options["undo"], host, options["directory"] or "") if options["undo"] else None
            book.begin(name, os.getpid(), undo)
        if options["says"]:
            # One that hangs would never be asked again.
            command = f"timeout {options['timeout']} sh -c {shlex.quote(command)}"
        begun = time.time()
        end = time.monotonic() + options["timeout"]
        while True:
            done = self._command(command, options["directory"])
            failure = self._failure(done, options["says"])
            if not failure or not options["says"] or time.monotonic() > end:
                break
            time.sleep(POLL_SECONDS)
        if failure and options["says"]:
            failure = f"not within {options['timeout']} s: {failure}"
        step = Step(name, host, options["run"], begun, time.time(), failure, options["disaster"])
        if mine:
            book.add(step)
        if options["undoes"] and not failure:
            book.undone()
        say(f"  {step.ended - step.begun:6.1f} s  {name}{f': {failure}' if failure else ''}")
        # Said explicitly: what the command said can be right although it ended with an error.
        told = {"changed": True, "failed": False, "begun": step.begun, "ended": step.ended, **done}
        if failure:
            told |= {"failed": True, "msg": f"{options['run']} on {host}: {failure}."}
        if options["undoes"]:
            told["msg"] = taken_back(options["run"], host, failure)
        return told

    def _command(self, command: str, directory: str | None) -> dict[str, Any]:
        """Run the command in a shell; a machine that cannot be reached is a failure of the command, too."""
        try:
            # With something to read it gets no terminal, which would mix what it says with its errors.
            done = self._low_level_execute_command(command, in_data=b"\n", chdir=directory)
        except AnsibleConnectionFailure as error:
            return {"rc": 255, "stdout": "", "stderr": str(error)}
        return {key: done[key] for key in ("rc", "stdout", "stderr")}

    @staticmethod
    def _failure(done: dict[str, Any], says: str) -> str:
        """Return why the command did not do what it was for; empty when it did."""
        if re.search(says, done["stdout"], re.MULTILINE) if says else not done["rc"]:
            return ""
        said = done["stdout"].strip() or done["stderr"].strip() or "nothing"
        # What ansible-playbook has to say is not at its end.
        said = (FATAL.findall(said) or [said[-MOST_CHARACTERS:]])[0][:MOST_CHARACTERS]
        wanted = f", without having said '{says}'" if says else ""
        return f"it ended with {done['rc']}{wanted}; it said: {said}"
