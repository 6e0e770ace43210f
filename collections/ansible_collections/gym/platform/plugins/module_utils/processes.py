"""Processes of this machine, told from later ones with the same number."""

from __future__ import annotations

from pathlib import Path


def started_at(pid: int) -> str:
    """Return the kernel's start time of a process in clock ticks, or nothing when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    # The name, in parentheses, may have blanks; the start time is the twentieth field after it.
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended, and only waits for its parent to notice.
    return "" if fields[0] == "Z" else fields[19]


def group_of(pid: int) -> list[int]:
    """Return the processes of the group that a process leads, but for those that have ended."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == pid:
            members.append(int(path.parent.name))
    return members


def is_running(pid: int, started: str) -> bool:
    """Tell whether the very process that began at this time still runs."""
    return bool(started) and started_at(pid) == started
