#!/usr/bin/python3
"""The one way to the backups of a database cluster: prepare its repositories, back up, verify, describe.

Who schedules, counts or shows backups calls this program and knows no tool. Another tool than pgBackRest is another
program with these verbs and this description.

Runs on one cluster never overlap. pgBackRest 2.45 has one lock for a cluster, whatever the repository, and fails when
it is taken. Here a run waits for the one before it, and a verification is a run as well: what it reads is not expired
under its hands.

Only the standard library: a machine that keeps backups needs nothing else to give them back.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/gym/backup_repository.json")
LOCKS = Path("/run/pgbackrest")
# pgBackRest's words for what is saved: everything, or what changed since everything or since anything was saved.
TYPES = {"full": "full", "differential": "diff", "incremental": "incr"}
KINDS = {word: kind for kind, word in TYPES.items()}
# How `pgbackrest info` says in what state a repository is (src/command/info/info.c).
OK, NO_PATH, NO_BACKUP, NO_DATA = 0, 1, 2, 3
# The exit code for a lock that somebody else holds (src/build/error/error.yaml): a person who runs pgBackRest by hand.
LOCKED = 50
# For the answers to a question; a backup has pgBackRest's own patience.
PATIENCE = "--io-timeout=5"
# `verify --log-level-console=detail` tells of each stretch of WAL without a hole in it.
STRETCH = re.compile(r"archiveId: (?P<archive>\S+), wal start: (?P<first>\w{24}), wal stop: (?P<last>\w{24})$")


class BackupError(Exception):
    """A sentence for the person who reads the journal, and what the program ends with."""

    status = 1


class DamagedError(BackupError):
    """What a repository holds cannot be restored."""

    status = 3


class HoleError(BackupError):
    """All backups can be restored, and not all moments between them."""

    status = 4


@dataclass(frozen=True)
class Settings:
    """What Ansible tells: the cluster, and the numbers of its repositories."""

    cluster: str
    repositories: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the settings that Ansible wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        return cls(data["cluster"], tuple(data["repositories"]))


@dataclass(frozen=True)
class Backup:
    """One backup, which is whole with the WAL up to the segment `last_wal`.

    Times are seconds since 1970; `stored_bytes` is what it takes in the repository by itself.
    """

    label: str
    kind: str
    name: str
    started: int
    ended: int
    size_bytes: int
    stored_bytes: int
    damaged: bool
    last_wal: str


@dataclass(frozen=True)
class Repository:
    """What a repository holds, oldest backup first; `newest_wal` is a segment's name."""

    name: str
    reachable: bool
    prepared: bool
    problem: str
    backups: tuple[Backup, ...]
    newest_wal: str


def parse_info(text: str, settings: Settings) -> list[Repository]:
    """Read what `pgbackrest info --output=json` says about the cluster."""
    stanza: Mapping[str, Any] = next((entry for entry in json.loads(text) if entry["name"] == settings.cluster), {})
    states = {entry["key"]: entry["status"] for entry in stanza.get("repo", [])}
    found = []
    for number in settings.repositories:
        state = states.get(number, {"code": NO_PATH, "message": "nothing is known about it"})
        archives = [entry for entry in stanza.get("archive", []) if entry["database"]["repo-key"] == number]
        found.append(
            Repository(
                name=str(number),
                reachable=state["code"] in (OK, NO_PATH, NO_BACKUP, NO_DATA),
                prepared=state["code"] in (OK, NO_BACKUP),
                problem="" if state["code"] == OK else str(state["message"]).strip(),
                backups=tuple(_backups(stanza.get("backup", []), number)),
                newest_wal=max((entry["max"] or "" for entry in archives), default=""),
            )
        )
    return found


def _backups(entries: Sequence[Mapping[str, Any]], number: int) -> Iterator[Backup]:
    for entry in entries:
        if entry["database"]["repo-key"] == number:
            info = entry["info"]
            yield Backup(
                label=entry["label"],
                kind=KINDS[entry["type"]],
                name=(entry.get("annotation") or {}).get("name", ""),
                started=entry["timestamp"]["start"],
                ended=entry["timestamp"]["stop"],
                size_bytes=info["size"],
                stored_bytes=info["repository"]["delta"],
                damaged=bool(entry["error"]),
                last_wal=(entry.get("archive") or {}).get("stop") or "",
            )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other run holds the lock, and hold it; it ends with the process at the latest."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Tool:
    """pgBackRest, on one cluster."""

    def __init__(self, settings: Settings) -> None:
        """Work on this cluster."""
        self._settings = settings

    def run(self, *words: str, waits: int = 3) -> None:
        """Run a command, whose words go to the journal; wait for a person who does the same by hand.

        Raises BackupError when it fails.
        """
        command = ["pgbackrest", f"--stanza={self._settings.cluster}", *words]
        code = subprocess.run(command, check=False).returncode
        if code == LOCKED and waits:
            with alone(LOCKS / f"{self._settings.cluster}-backup.lock"):
                pass
            self.run(*words, waits=waits - 1)
        elif code:
            raise BackupError(f"`{' '.join(command)}` ended with {code}; the lines above say why.")

    def describe(self) -> list[Repository]:
        """Ask all repositories what they hold. One that does not answer is described, too."""
        code, text = self._ask("--output=json", "--log-level-console=off", PATIENCE, "info")
        if code:
            raise BackupError(f"`pgbackrest info` ended with {code}: {text.strip()}")
        return parse_info(text, self._settings)

    def verify(self, repository: int) -> tuple[int, str]:
        """Read all of a repository; return how that ended and what was said."""
        words = ("--output=text", "--verbose", "--log-level-console=detail", "--log-timestamp=n", "verify")
        return self._ask(f"--repo={repository}", *words)

    def _ask(self, *words: str) -> tuple[int, str]:
        command = ["pgbackrest", f"--stanza={self._settings.cluster}", *words]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout


def prepare(settings: Settings, tool: Tool) -> None:
    """Have everything that a repository needs, and a first backup in each: until then nothing can be restored."""
    found = tool.describe()
    if away := [repository for repository in found if not repository.reachable]:
        raise BackupError("; ".join(f"repository {entry.name} does not answer: {entry.problem}" for entry in away))
    if not all(repository.prepared for repository in found):
        tool.run("stanza-create")
        tool.run("check")
        print("changed: the repositories are prepared", flush=True)
    for repository in found:
        if not repository.backups:
            tool.run(f"--repo={repository.name}", "--type=full", "backup")
            print(f"changed: repository {repository.name} has its first backup", flush=True)


def back_up(tool: Tool, repository: int, kind: str, name: str) -> None:
    """Make a backup in one repository, expire what is too old there, and say in the last line what came of it."""
    named = [f"--annotation=name={name}"] if name else []
    tool.run(f"--repo={repository}", f"--type={TYPES[kind]}", *named, "backup")
    state = next(entry for entry in tool.describe() if entry.name == str(repository))
    print(sentence(state.name, state.backups[-1]), flush=True)


def sentence(repository: str, backup: Backup) -> str:
    """Say in one line what a backup is."""
    called = f" named '{backup.name}'" if backup.name else ""
    size, stored = (f"{count / 1e6:.1f} MB" for count in (backup.size_bytes, backup.stored_bytes))
    took = backup.ended - backup.started
    what = f"{backup.kind} backup {backup.label}{called}"
    return f"repository {repository}: {what}, {size} of which {stored} had to be stored, {took} s"


def position(segment: str) -> int:
    """Return how many segments of 16 MB lie before one, on whatever timeline; the last part of a name ends at FF."""
    return int(segment[8:16], 16) * 256 + int(segment[16:], 16)


def holes(text: str) -> list[tuple[str, str]]:
    """Find where WAL is missing: the last segment before each hole, and the first one after it.

    A new timeline begins with the segment in which the old one was left.
    """
    stretches = [match for line in text.splitlines() if (match := STRETCH.search(line))]
    return [
        (before["last"], after["first"])
        for before, after in pairwise(stretches)
        if before["archive"] == after["archive"] and position(after["first"]) > position(before["last"]) + 1
    ]


def judge(code: int, text: str, newest_backup_wal: str) -> None:
    """Decide by what `pgbackrest verify` said, which ends with 0 whatever it finds, and with an error for some damage.

    Raises DamagedError when a backup cannot be restored, or not to the present; HoleError when moments are missing
    between two backups.
    """
    if code:
        raise DamagedError(f"`pgbackrest verify` ended with {code}: {text.strip().splitlines()[-1]}")
    if not re.search(r"^status: ok$", text, re.MULTILINE):
        raise DamagedError("the repository is damaged, or empty")
    missing = holes(text)
    said = ", ".join(f"between {before} and {after}" for before, after in missing)
    if any(after > newest_backup_wal for _, after in missing):
        raise DamagedError(f"WAL is missing {said}: what came later cannot be restored before the next backup")
    if missing:
        raise HoleError(f"WAL is missing {said}: these moments cannot be restored, those after the next backup can")


def verify(tool: Tool, repository: int) -> None:
    """Compare all of a repository with its checksums. Raises a BackupError that says what is wrong."""
    state = next(entry for entry in tool.describe() if entry.name == str(repository))
    if not state.reachable:
        raise BackupError(f"repository {repository} does not answer: {state.problem}")
    code, text = tool.verify(repository)
    print(text, flush=True)
    judge(code, text, max((backup.last_wal for backup in state.backups), default=""))


def describe(tool: Tool) -> None:
    """Print what all repositories hold, as JSON."""
    print(json.dumps({"repositories": [asdict(repository) for repository in tool.describe()]}))


def parse(arguments: Sequence[str], settings: Settings) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("prepare", help="create what is missing, and make a first backup in each repository")
    verbs.add_parser("describe", help="print what the repositories hold, as JSON")
    for verb, help_ in (("backup", "make a backup"), ("verify", "read everything and compare it with its checksums")):
        command = verbs.add_parser(verb, help=help_)
        command.add_argument("--repository", type=int, choices=settings.repositories, required=True)
        if verb == "backup":
            command.add_argument("--kind", choices=TYPES, required=True)
            command.add_argument("--name", default="", help="a name by which it can be restored")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Do one of the verbs."""
    settings = Settings.read(SETTINGS)
    chosen = parse(arguments, settings)
    tool = Tool(settings)
    try:
        if chosen.verb == "describe":
            describe(tool)
            return 0
        with alone(LOCKS / f"{settings.cluster}-run.lock"):
            if chosen.verb == "prepare":
                prepare(settings, tool)
            elif chosen.verb == "backup":
                back_up(tool, chosen.repository, chosen.kind, chosen.name)
            else:
                verify(tool, chosen.repository)
    except BackupError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
