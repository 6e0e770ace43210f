"""What still has to be restarted, reloaded or re-read on a host: one empty file a unit, below /run.

A marker is written before the file that makes it necessary is replaced, and removed only after the unit runs with that
file. So a run that is interrupted in between is completed by the next one. A reboot empties /run, and rightly so:
every unit has then read its files anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

PENDING_DIRECTORY = "/run/gym-platform"
UNIT_DIRECTORIES = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system", "/run/systemd/system")
UNIT_SUFFIXES = ("service", "socket", "timer", "path", "mount", "automount", "target", "slice", "swap")

_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:" + "|".join(UNIT_SUFFIXES) + ")")


def is_unit_name(name: str) -> bool:
    """Tell whether this is the full name of a unit, as systemd would write it."""
    return _UNIT_NAME.fullmatch(name) is not None


def needs_daemon_reload(path: str) -> bool:
    """Tell whether systemd has to read its units again when this path changes.

    Its own `NeedDaemonReload` says "no" for a drop-in in a new directory, so the path decides.
    """
    return any(path.startswith(directory + "/") for directory in UNIT_DIRECTORIES)


class Pending:
    """The markers of one host."""

    def __init__(self, directory: str = PENDING_DIRECTORY) -> None:
        """Use the markers below this directory; it need not exist."""
        self._directory = Path(directory)

    def restarts(self) -> set[str]:
        """Name the units that have to be restarted."""
        return self._names("restart")

    def reloads(self) -> set[str]:
        """Name the units that have to be reloaded."""
        return self._names("reload")

    def daemon_reload(self) -> bool:
        """Tell whether systemd has to read its units again."""
        return (self._directory / "daemon-reload").exists()

    def mark(self, restart: Iterable[str] = (), reload: Iterable[str] = (), daemon_reload: bool = False) -> list[Path]:
        """Leave markers, and return those that were not there before."""
        wanted = [self._directory / "restart" / unit for unit in restart]
        wanted += [self._directory / "reload" / unit for unit in reload]
        if daemon_reload:
            wanted.append(self._directory / "daemon-reload")
        new = [marker for marker in wanted if not marker.exists()]
        for marker in new:
            marker.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        return new

    def clear_restart(self, unit: str) -> None:
        """Forget a unit that was restarted; a restart is a reload, too."""
        (self._directory / "restart" / unit).unlink(missing_ok=True)
        self.clear_reload(unit)

    def clear_reload(self, unit: str) -> None:
        """Forget a unit that was reloaded."""
        (self._directory / "reload" / unit).unlink(missing_ok=True)

    def clear_daemon_reload(self) -> None:
        """Forget that systemd had to read its units again."""
        (self._directory / "daemon-reload").unlink(missing_ok=True)

    def _names(self, kind: str) -> set[str]:
        try:
            return {marker.name for marker in (self._directory / kind).iterdir()}
        except FileNotFoundError:
            return set()
