"""Run modules on machines of the inventory out of an action that runs on the controller.

An action belongs to one host, and a release to many. Each call is a task of its own, carried out by Ansible's executor
in a process of its own, as Ansible's strategies do it: connection, become and interpreter are the machine's.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from ansible import constants
from ansible.executor.task_executor import TaskExecutor
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.release_docker import Call

# prctl(2): the signal that this process gets when its parent ends.
PR_SET_PDEATHSIG = 1
FORK = multiprocessing.get_context("fork")


class NoCallbacks:
    """Takes the place of the queue on which an executor reports retries and items; a call has neither."""

    def __getattr__(self, name: str) -> Any:
        """Accept any report."""
        return lambda *arguments, **options: None


def end_with_parent() -> None:
    """Let this process be killed with its parent: of a run that was killed, nothing may go on working."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended just before.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class HostCalls:
    """Runs calls for one action, all of a list at the same time."""

    def __init__(self, action: ActionBase) -> None:
        """Take what the action knows: the play, the inventory, the connection's options."""
        self._action = action
        self._variables = action._task.get_variable_manager()
        self._play = action._task.get_play()

    def __call__(self, calls: Sequence[Call]) -> list[Mapping[str, Any]]:
        """Run the calls; a machine that cannot be reached answers `unreachable`."""
        running = []
        for call in calls:
            answers, tell = FORK.Pipe(duplex=False)
            process = FORK.Process(target=self._in_a_process, args=(call, tell))
            process.start()
            tell.close()
            running.append((process, answers))
        return [self._answer(process, answers) for process, answers in running]

    @staticmethod
    def _answer(process: multiprocessing.process.BaseProcess, answers: Connection) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = answers.recv()
        except EOFError:
            answer = {"failed": True, "msg": "the process that asked ended without an answer"}
        process.join()
        return answer

    def _in_a_process(self, call: Call, tell: Connection) -> NoReturn:
        try:
            end_with_parent()
            tell.send(self._run(call))
        # Whatever happens, the parent waits for one answer, and nothing above this frame is this process's business.
        except BaseException:
            tell.send({"failed": True, "msg": traceback.format_exc()})
        finally:
            os._exit(0)

    def _run(self, call: Call) -> dict[str, Any]:
        action = self._action
        host = self._variables._inventory.get_host(call.host)
        if host is None:
            return {"failed": True, "msg": f"{call.host} is not in the inventory"}
        task = Task.load(
            {
                "name": f"{action._task.get_name()}: {call.module}",
                f"gym.platform.{call.module}": dict(call.arguments),
                # The play that the action is in may be one of the controller, with a local connection.
                "connection": constants.DEFAULT_TRANSPORT,
                "check_mode": call.check_mode or bool(action._task.check_mode),
            },
            block=action._task._parent,
            variable_manager=self._variables,
            loader=action._loader,
        )
        variables = self._variables.get_vars(play=self._play, host=host, task=task)
        return dict(
            TaskExecutor(
                host,
                task,
                variables,
                action._play_context.copy(),
                action._loader,
                action._shared_loader_obj,
                NoCallbacks(),
                self._variables,
            ).run()
        )
