"""What an action says while it works, where our callback may draw its moving line."""

from __future__ import annotations

import sys

from ansible.utils.display import Display

ERASE_LINE = "\r\x1b[2K"


def say(text: str) -> None:
    """Print a line above the moving one."""
    Display().display((ERASE_LINE if sys.stdout.isatty() else "") + text)
