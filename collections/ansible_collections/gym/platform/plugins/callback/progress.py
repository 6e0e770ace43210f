"""Standard output for a person who watches: one line that moves, one line a play, failures in full."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: A quiet line of progress on a terminal, Ansible's default output elsewhere
description:
  - On a terminal, shows the current step, how many hosts are done and the time that has passed, leaves one line for
    each play and task that changed something, and prints failures, warnings, differences and messages in full.
  - Where standard output is no terminal, or with C(-v), it is Ansible's default callback, unchanged. AWX brings
    its own.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as stdout callback in the configuration
author: The gym platform's engineers
"""

import shutil
import sys
import time
from typing import Any

from ansible import constants as C  # noqa: N812 - Ansible's own name for it
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible_collections.gym.platform.plugins.plugin_utils.terminal import ERASE_LINE

MESSAGES = ("debug", "ansible.builtin.debug")


def clock(seconds: float) -> str:
    """Return minutes and seconds, such as ``03:07``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def shorten(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, the last of them a full stop where something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


class CallbackModule(DefaultCallback):  # type: ignore[misc]
    """Draws over one line; everything that must stay is printed above it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "gym.platform.progress"

    def __init__(self) -> None:
        """Start the clock."""
        super().__init__()
        self._quiet = sys.stdout.isatty() and self._display.verbosity == 0
        self._begun = time.monotonic()
        self._play_name = ""
        self._play_begun = 0.0
        self._play_changed = 0
        self._all_changed = 0
        self._hosts = 0
        self._step = ""
        self._finished: set[str] = set()
        self._changed: list[str] = []

    def _draw(self) -> None:
        where = f"{len(self._finished)}/{self._hosts}" if self._hosts > 1 else ""
        line = "  ".join(part for part in (clock(time.monotonic() - self._begun), self._step, where) if part)
        sys.stdout.write(ERASE_LINE + shorten(line, shutil.get_terminal_size().columns - 1))
        sys.stdout.flush()

    def _erase(self) -> None:
        sys.stdout.write(ERASE_LINE)
        sys.stdout.flush()

    def _keep(self, text: str, color: str | None = None) -> None:
        self._erase()
        self._display.display(text, color=color)

    def _end_step(self) -> None:
        if self._changed:
            self._keep(f"  changed  {self._step}: {', '.join(sorted(self._changed))}", color=C.COLOR_CHANGED)
            self._play_changed += len(self._changed)
            self._all_changed += len(self._changed)
            self._changed = []

    def _end_play(self) -> None:
        self._end_step()
        if self._play_name:
            spent = clock(time.monotonic() - self._play_begun)
            self._keep(f"{spent}  {self._play_name}  ({self._play_changed} changed)", color=C.COLOR_OK)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Close the line of the play before, and begin a new one."""
        if not self._quiet:
            super().v2_playbook_on_play_start(play)
            return
        self._end_play()
        self._play = play
        self._play_name, self._play_begun, self._play_changed = play.get_name().strip(), time.monotonic(), 0
        manager = play.get_variable_manager()
        self._hosts = len(manager._inventory.get_hosts(play.hosts)) if manager else 0

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        if not self._quiet:
            super()._task_start(task, prefix)
            return
        self._end_step()
        self._step = task.get_name().strip()
        self._finished = set()
        self._last_task_banner = task._uuid
        self._draw()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Count the host, and print what a debug task says."""
        if not self._quiet:
            super().v2_runner_on_ok(result)
            return
        host = result.host.get_name()
        self._finished.add(host)
        self._erase()
        self._handle_warnings_and_exception(result)
        if result.result.get("changed"):
            self._changed.append(host)
        if result.task.action in MESSAGES and "msg" in result.result:
            message = result.result["msg"]
            self._keep("\n".join(map(str, message)) if isinstance(message, list) else str(message))
        self._draw()

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Count the host."""
        if not self._quiet:
            super().v2_runner_on_skipped(result)
            return
        self._finished.add(result.host.get_name())
        self._draw()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print the failure in full, unless the playbook expects it."""
        if self._quiet:
            self._finished.add(result.host.get_name())
            if ignore_errors:
                return
            self._erase()
            self._display.display(f"failed in: {self._play_name} / {self._step}", color=C.COLOR_ERROR)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print the failure in full."""
        if self._quiet:
            self._finished.add(result.host.get_name())
            self._erase()
        super().v2_runner_on_unreachable(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Leave an item's line out: its task counts."""
        if not self._quiet:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Leave an item's line out: its task counts."""
        if not self._quiet:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Leave the include's line out: its tasks have their own."""
        if not self._quiet:
            super().v2_playbook_on_include(included_file)

    def v2_on_file_diff(self, result: Any) -> None:
        """Print the difference above the moving line."""
        if self._quiet:
            self._erase()
        super().v2_on_file_diff(result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Leave it out: an environment without machines has plays over none."""
        if not self._quiet:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the totals; name the hosts that failed."""
        if not self._quiet:
            super().v2_playbook_on_stats(stats)
            return
        self._end_play()
        bad = sorted(set(stats.failures) | set(stats.dark))
        spent = clock(time.monotonic() - self._begun)
        summary = f"{spent}  {len(stats.processed)} hosts, {sum(stats.ok.values())} ok, {self._all_changed} changed"
        if bad:
            summary += f", failed on {', '.join(bad)}"
        self._keep(summary, color=C.COLOR_ERROR if bad else C.COLOR_OK)
