#!/usr/bin/python3
"""Hand over the WAL that a lost leader has not: Patroni calls this on a node whose part in the cluster has changed.

A leader that dies under load leaves finished segments behind that it had not handed over yet. The node that takes over
has them, but PostgreSQL takes them for handed over, because with `archive_mode = on` that is the leader's work. Without
them no backup from before could be restored to a moment after, until the next backup. So a new leader looks through the
timeline that ended, newest segment first, until it finds one that is in all repositories. What cannot be handed over is
tried again: PostgreSQL pushes its own segments meanwhile, and a repository takes them from one process at a time.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/gym/archive_rest.json")
# What Patroni 3.0 calls a leader; later ones say `primary`.
LEADER = ("master", "primary")
SEGMENT = re.compile(r"[0-9A-F]{24}")
# What pgBackRest says for each repository in which a segment is already. It ends with 0 then, too.
KNOWN = "already exists in the repo"
# Patroni calls while PostgreSQL is still on its way; a replica that has a lot to replay first takes its time.
PROMOTION_SECONDS = 600.0
# A repository that is away for longer has a hole, which its verification tells.
REFUSED_SECONDS = 600.0
POLL_SECONDS = 0.5


def wait_for_promotion(socket_directory: str) -> None:
    """Wait until this node takes writes: only then does the new timeline have a segment. Raises TimeoutError."""
    command = ["psql", "-XAtq", "-h", socket_directory, "-d", "postgres", "-c", "SELECT pg_is_in_recovery()"]
    deadline = time.monotonic() + PROMOTION_SECONDS
    while subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() != "f":
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL does not take writes after {PROMOTION_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def candidates(names: Iterable[str]) -> list[str]:
    """Return the finished segments of the timeline before the newest one, newest first.

    The segment in which that timeline was left is whole on the newest one, and only a part of it is on the old one.
    """
    found = sorted(name for name in names if SEGMENT.fullmatch(name))
    timelines = sorted({name[:8] for name in found})
    if len(timelines) < 2:
        return []
    old, new = timelines[-2:]
    begins = min(name for name in found if name.startswith(new))
    return [name for name in reversed(found) if name.startswith(old) and name[8:] < begins[8:]]


def hand_over(segment: Path, cluster: str) -> int:
    """Push one segment to all repositories, and return in how many it was already. Raises CalledProcessError."""
    command = ["pgbackrest", f"--stanza={cluster}", "--no-archive-async", "archive-push", str(segment)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    known = done.stdout.count(KNOWN)
    if not known:
        print(f"handed {segment.name} over, which the leader before had not", flush=True)
    return known


def hand_over_rest(segments: Sequence[Path], settings: Mapping[str, Any]) -> dict[Path, str]:
    """Push segments until one is in all repositories; return what was said of those that could not be pushed to all."""
    refused: dict[Path, str] = {}
    for segment in segments:
        try:
            if hand_over(segment, settings["cluster"]) == settings["repositories"]:
                break
        except subprocess.CalledProcessError as error:
            # A repository that is away gets none of them; the others get all that follow.
            refused[segment] = error.output
    return refused


def try_again(segments: Iterable[Path], settings: Mapping[str, Any]) -> dict[Path, str]:
    """Push each of these segments once more; return what was said of those that could not be pushed to all."""
    return {path: said for segment in segments for path, said in hand_over_rest([segment], settings).items()}


def main(arguments: Sequence[str]) -> int:
    """Do it on a node that has become the leader: Patroni tells what happened, the new part and the cluster."""
    if len(arguments) != 3 or arguments[1] not in LEADER:
        return 0
    settings: dict[str, Any] = json.loads(SETTINGS.read_text())
    directory = Path(settings["directory"])
    wait_for_promotion(settings["socket_directory"])
    segments = [directory / name for name in candidates(path.name for path in directory.iterdir())]
    refused = hand_over_rest(segments, settings)
    deadline = time.monotonic() + REFUSED_SECONDS
    while refused and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        refused = try_again(refused, settings)
    for segment, said in refused.items():
        print(f"{segment.name} could not be handed over everywhere: {said}", file=sys.stderr, flush=True)
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
