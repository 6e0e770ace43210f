"""Release a version, go back to the one before, or run a command of what is live: the same for every target."""

from __future__ import annotations

import getpass
import importlib
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.processes import is_running, started_at
from ansible_collections.gym.platform.plugins.module_utils.release_dossier import write
from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS, Driver, DriverError
from ansible_collections.gym.platform.plugins.module_utils.release_judge import JudgeError, judge
from ansible_collections.gym.platform.plugins.module_utils.release_placement import ReleaseError
from ansible_collections.gym.platform.plugins.module_utils.release_plan import live_release
from ansible_collections.gym.platform.plugins.module_utils.release_run import Procedure, Run, changed
from ansible_collections.gym.platform.plugins.module_utils.release_smoke import SmokeTest
from ansible_collections.gym.platform.plugins.module_utils.release_store import (
    Held,
    Lock,
    StoreError,
    acquire,
    ledger,
    stamp,
)
from ansible_collections.gym.platform.plugins.module_utils.release_story import EXIT_STATUS, Story
from ansible_collections.gym.platform.plugins.plugin_utils.host_calls import HostCalls, end_with_parent
from ansible_collections.gym.platform.plugins.plugin_utils.terminal import say

# What a target needs is only imported where there is such a target: release_<target>.py with its function connect.
TARGETS = ("docker", "ecs", "kubernetes")
MODULE_UTILS = "ansible_collections.gym.platform.plugins.module_utils"
# A run that is alive renews its lock before each step, so this is on top of the longest one.
LEASE = timedelta(minutes=1)
# What is locked for a whole drill is not renewed: as long as the clients of a drill may write (drill_journal). It only
# counts on other machines than the holder's, and only when that has died.
DRILL_LEASE = timedelta(hours=2)
STATES = ("released", "rolled_back", "run", "read", "absent", "locked", "unlocked")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": list(STATES), "default": "released"},
    **{target: {"type": "dict"} for target in TARGETS},
    "version": {"type": "str", "default": ""},
    "digest": {"type": "str", "default": ""},
    "unvoid": {"type": "bool", "default": False},
    "confirm": {"type": "bool", "default": False},
    "argv": {"type": "list", "elements": "str", "default": []},
    "work": {"type": "str", "default": "releasing"},
    "procedure": {"type": "dict", "default": {}},
    "judge": {"type": "dict", "default": {}},
    "reports": {"type": "path"},
}


def this_run(variables: Mapping[str, Any], work: str) -> Lock:
    """Return a lock for this run of ansible-playbook. AWX names the person who pressed the button."""
    host, process = socket.gethostname(), os.getppid()
    person = variables.get("awx_user_name") or os.environ.get("SUDO_USER") or getpass.getuser()
    holder = f"{person}@{host} (process {process})"
    return Lock(holder, host, process, started_at(process), stamp(datetime.now(UTC)), "", work)


def alive(lock: Lock) -> bool | None:
    """Tell whether a holder's process is running, None when it is on another machine."""
    if lock.host != socket.gethostname():
        return None
    return is_running(lock.process, lock.started)


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec=ARGUMENTS, mutually_exclusive=[list(TARGETS)], required_one_of=[list(TARGETS)]
        )
        self._variables = task_vars or {}
        end_with_parent()
        try:
            return self._act(options)
        except (DriverError, StoreError, ReleaseError, JudgeError) as error:
            return {"failed": True, "msg": str(error)}

    def _act(self, options: Mapping[str, Any]) -> dict[str, Any]:
        (target,) = (name for name in TARGETS if options[name])
        module = importlib.import_module(f"{MODULE_UTILS}.release_{target}")
        driver, store = module.connect(options[target], HostCalls(self))
        mine = this_run(self._variables, options["work"])
        if options["state"] in ("locked", "unlocked"):
            held = Held(store, mine, DRILL_LEASE, lambda: datetime.now(UTC))
            return self._locked(held, mine) if options["state"] == "locked" else self._unlocked(held)
        held = Held(store, mine, LEASE + timedelta(seconds=driver.longest_seconds), lambda: datetime.now(UTC))
        if state := {"read": self._read, "run": self._run, "absent": self._absent}.get(options["state"]):
            return state(options, driver, held)
        try:
            tests = [SmokeTest(**test) for test in options["procedure"].pop("smoke", [])]
            procedure = Procedure(**options["procedure"], smoke=tests)
        except (TypeError, ValueError) as error:
            raise AnsibleActionFail(f"procedure is not what it has to be: {error}.") from error
        run = Run(
            driver,
            held,
            judge(options["judge"]),
            procedure,
            mine=mine,
            now=lambda: datetime.now(UTC),
            alive=alive,
            say=say,
        )
        only_plan = bool(self._task.check_mode)
        if options["state"] == "released":
            if not options["version"]:
                raise AnsibleActionFail(
                    "Nothing to release: build an image first (playbooks/build.yml), or name a version of the registry:"
                    " -e release_version=<tag>."
                )
            story = run.release(options["version"], options["digest"], unvoid=options["unvoid"], only_plan=only_plan)
        else:
            story = run.rollback(confirmed=options["confirm"], only_plan=only_plan)
        return self._result(story, options, target)

    def _result(self, story: Story, options: Mapping[str, Any], target: str) -> dict[str, Any]:
        told = story.as_dict()
        planned = told["plan"]
        result: dict[str, Any] = {
            "changed": bool(planned),
            "msg": story.sentence,
            "story": told,
            "failed": bool(EXIT_STATUS[story.result]),
            "exit_status": EXIT_STATUS[story.result],
        }
        if self._task.diff and planned:
            result["diff"] = {"prepared": "".join(f"{step}\n" for step in planned)}
        if story.steps and options["reports"]:
            result["dossier"] = [str(path) for path in write({**told, "target": target}, Path(options["reports"]))]
            result["msg"] += f" Dossier: {result['dossier'][-1]}"
        return result

    def _absent(self, options: Mapping[str, Any], driver: Driver, held: Held) -> dict[str, Any]:
        if not self._task.check_mode:
            held.take(alive)
            for colour in COLOURS:
                driver.stop(colour, None)
            held.free()
        return {"changed": True, "msg": "What releases have made is gone; what they know about each other stays."}

    def _locked(self, held: Held, mine: Lock) -> dict[str, Any]:
        if self._task.check_mode:
            acquire(held.read(), mine, datetime.now(UTC), alive)
        else:
            held.read()
            held.take(alive)
        return {"changed": True, "msg": ""}

    def _unlocked(self, held: Held) -> dict[str, Any]:
        try:
            return {"changed": not self._task.check_mode and held.give_back(), "msg": ""}
        except (DriverError, StoreError) as error:
            # The place may have been lost with its region, and the lock with it.
            return {"changed": False, "msg": f"The lock was not given back, and ends with this run: {error}."}

    def _read(self, options: Mapping[str, Any], driver: Any, held: Held) -> dict[str, Any]:
        document = held.read()
        return {"changed": False, "document": document.plain(), "msg": "\n".join(ledger(document))}

    def _run(self, options: Mapping[str, Any], driver: Any, held: Held) -> dict[str, Any]:
        live = live_release(driver.observe(None))
        if live is None:
            raise DriverError("nothing is released yet, so there is no image to run in: run playbooks/deploy.yml")
        if self._task.check_mode:
            return {"changed": True, "output": ""}
        said = driver.run("command", options["argv"], live)
        return {"changed": changed(said), "output": said}
