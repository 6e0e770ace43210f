#!/usr/bin/python3
"""Copies of what no database keeps: directories of this machine, in encrypted repositories elsewhere, by restic.

Each copy has a repository of its own, so that what one machine does to its copies is nothing to the others. Only
`prepare`, which Ansible calls, makes a repository: one that has vanished is a copy that fails, and no new beginning.

The verbs and the description are those of the program that keeps the database's backups.
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/gym/backup_copies.json")
LOCKS = Path("/run/gym-backup")
CACHE = Path("/var/cache/gym-backup")
# Of the copies of one hour the last is kept for so long, and of the copies of one day for as long as all backups.
HOURLY_DAYS = 2
# What restic 0.14 says, with the same exit code as for everything else, where a store or a directory has no repository.
# Whether there is one it also asks when the store is away or refuses the key.
NO_REPOSITORY = ("Stat: The specified key does not exist.", "no such file or directory")
# For the answers to a question, in seconds; a copy takes as long as it takes.
PATIENCE = 120


class CopyError(Exception):
    """A sentence for the person who reads the journal, and what the program ends with."""

    status = 1


class DamagedError(CopyError):
    """What a repository holds cannot be restored."""

    status = 3


class MissingError(CopyError):
    """There is no repository."""


class AwayError(CopyError):
    """A repository does not answer, which is no reason to leave the others alone."""

    status = 5


class NothingError(CopyError):
    """There is nothing to copy."""


@dataclass(frozen=True)
class Copy:
    """What is copied: paths, `*` welcome, and a command that makes them fit to be copied."""

    name: str
    paths: tuple[str, ...]
    prepare: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What Ansible tells: where copies go, and which there are. `environment` opens the repositories."""

    host: str
    store: str
    certificate_authority: str
    retention_days: int
    environment: Mapping[str, str]
    copies: Mapping[str, Copy]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the settings that Ansible wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        copies = [
            Copy(each["name"], tuple(each["paths"]), tuple(each.get("prepare", ()))) for each in data.pop("copies")
        ]
        return cls(**data, copies={copy.name: copy for copy in copies})


@dataclass(frozen=True)
class Backup:
    """One copy. Times are seconds since 1970."""

    label: str
    kind: str
    name: str
    started: int
    ended: int
    size_bytes: int


@dataclass(frozen=True)
class Repository:
    """What a repository holds, oldest copy first."""

    name: str
    reachable: bool
    prepared: bool
    problem: str
    backups: tuple[Backup, ...]


class Restic:
    """restic, on the repository of one copy."""

    def __init__(self, settings: Settings, copy: Copy, host: str = "") -> None:
        """Work on the repository of this copy, from this machine or from the one that it replaces."""
        self._repository = f"{settings.store}/{copy.name}/{host or settings.host}"
        self._options = ["--cacert", settings.certificate_authority, "--cache-dir", str(CACHE)]
        self._environment = {**os.environ, **settings.environment, "RESTIC_REPOSITORY": self._repository}

    def run(self, *words: str, patience: float | None = None) -> str:
        """Run a command and return what it said. Raises MissingError where there is no repository, else CopyError."""
        command = ["restic", *self._options, *words]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, env=self._environment, timeout=patience
            )
        except subprocess.TimeoutExpired:
            raise CopyError(f"{self._repository} did not answer `restic {words[0]}` within {patience} s") from None
        if done.returncode:
            said = reason(done.stderr or done.stdout)
            problem = MissingError if said.endswith(NO_REPOSITORY) else CopyError
            raise problem(f"{self._repository}: `restic {words[0]}` ended with {done.returncode}: {said}")
        return done.stdout

    def snapshots(self) -> list[dict[str, Any]]:
        """List what the repository holds, oldest first. Raises MissingError, or AwayError when nobody answers."""
        try:
            found = json.loads(self.run("snapshots", "--json", "--no-lock", patience=PATIENCE)) or []
        except MissingError:
            raise
        except CopyError as error:
            raise AwayError(str(error)) from error
        return sorted(found, key=lambda snapshot: moment(snapshot["time"]))

    def size(self, snapshot: str) -> int:
        """Return the bytes that a copy gives back."""
        found = json.loads(self.run("stats", "--json", "--no-lock", "--mode=restore-size", snapshot, patience=PATIENCE))
        return int(found["total_size"])


def reason(said: str) -> str:
    """Return the line that says why restic failed, which is not always the last one; empty where nothing was said."""
    lines = said.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("Fatal: ")), lines[-1])


def moment(text: str) -> float:
    """Read a time as restic writes it, with nanoseconds, as seconds since 1970."""
    head, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return datetime.fromisoformat((head + zone).replace("Z", "+00:00")).timestamp()


def matching(copy: Copy) -> list[str]:
    """Return the paths that are there. Raises NothingError for one that is not: a copy would look complete without."""
    found = []
    for path in copy.paths:
        places = sorted(glob.glob(path))  # noqa: PTH207 - absolute patterns
        if not places:
            raise NothingError(f"There is no {path}, which the copy '{copy.name}' is of.")
        found += places
    return found


def prepare(copy: Copy, restic: Restic, settings: Settings) -> None:
    """Have a repository, and a first copy in it as soon as there is something to copy."""
    try:
        snapshots = restic.snapshots()
    except MissingError:
        restic.run("init")
        snapshots = []
        print(f"changed: '{copy.name}' has a repository", flush=True)
    if snapshots:
        return
    try:
        make(copy, restic, settings)
        print(f"changed: '{copy.name}' has its first copy", flush=True)
    except NothingError as error:
        print(f"{error} The timer makes the first copy.", flush=True)


def make(copy: Copy, restic: Restic, settings: Settings) -> None:
    """Make a copy, and forget those that are too old."""
    if copy.prepare:
        code = subprocess.run(copy.prepare, check=False).returncode
        if code:
            raise CopyError(f"`{' '.join(copy.prepare)}` ended with {code}: '{copy.name}' is not fit to be copied.")
    # Nobody else writes here, so a lock can only be of a run that was killed.
    restic.run("unlock", "--remove-all")
    print(restic.run("backup", "--host", settings.host, "--tag", copy.name, *matching(copy)), flush=True)
    kept = [f"--keep-within-hourly={HOURLY_DAYS}d", f"--keep-within-daily={settings.retention_days}d"]
    restic.run("forget", "--group-by=host", *kept)


def verify(copy: Copy, restic: Restic) -> None:
    """Free the room of what was forgotten, and compare all that is left with its checksums."""
    restic.snapshots()
    restic.run("unlock", "--remove-all")
    try:
        restic.run("prune")
        print(restic.run("check", "--read-data"), flush=True)
    except CopyError as error:
        # What cannot even be listed is away, and nobody knows whether it is damaged.
        restic.snapshots()
        raise DamagedError(str(error)) from error


def describe(copy: Copy, restic: Restic) -> Repository:
    """Say what the repository of a copy holds; one that does not answer is described, too."""
    try:
        snapshots = restic.snapshots()
        newest = restic.size(snapshots[-1]["id"]) if snapshots else 0
    except CopyError as error:
        return Repository(copy.name, isinstance(error, MissingError), False, str(error), ())
    backups = []
    for number, snapshot in enumerate(snapshots, 1):
        at = int(moment(snapshot["time"]))
        # Only the newest is measured: it takes a request for each of its directories.
        size = newest if number == len(snapshots) else 0
        backups.append(Backup(snapshot["short_id"], "copy", "", at, at, size))
    return Repository(copy.name, True, True, "", tuple(backups))


def restore(restic: Restic, snapshot: str, target: str) -> None:
    """Lay a copy down below a directory, with owners and modes as they were."""
    restic.run("restore", "--no-lock", "--target", target, snapshot)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other run holds the lock, and hold it; it ends with the process at the latest."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def parse(arguments: Sequence[str], copies: Iterable[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("prepare", help="have a repository for each copy, and a first copy in it")
    for verb, help_ in (
        ("backup", "make a copy"),
        ("verify", "read a repository and compare it with its checksums"),
        ("describe", "print what a repository holds, as JSON"),
    ):
        verbs.add_parser(verb, help=help_).add_argument("name", choices=copies)
    command = verbs.add_parser("restore", help="lay a copy down below a directory")
    command.add_argument("name", choices=copies)
    command.add_argument("--target", required=True, help="the directory")
    command.add_argument("--label", default="latest", help="which copy, as `describe` calls it")
    command.add_argument("--host", default="", help="the machine whose copy it is, where that is another one")
    return parser.parse_args(arguments)


def work(settings: Settings, verb: str, copy: Copy) -> None:
    """Do one of the verbs that change something, alone."""
    restic = Restic(settings, copy)
    with alone(LOCKS / f"copy-{copy.name}.lock"):
        if verb == "prepare":
            prepare(copy, restic, settings)
        elif verb == "backup":
            make(copy, restic, settings)
        else:
            verify(copy, restic)


def prepare_all(settings: Settings) -> None:
    """Prepare all copies. Raises AwayError at the end when all is well but for repositories that do not answer."""
    away = []
    for copy in settings.copies.values():
        try:
            work(settings, "prepare", copy)
        except AwayError as error:
            away.append(str(error))
    if away:
        raise AwayError("\n".join(away))


def main(arguments: Sequence[str]) -> int:
    """Do one of the verbs."""
    settings = Settings.read(SETTINGS)
    chosen = parse(arguments, settings.copies)
    try:
        if chosen.verb == "prepare":
            prepare_all(settings)
            return 0
        copy = settings.copies[chosen.name]
        if chosen.verb == "describe":
            print(json.dumps({"repositories": [asdict(describe(copy, Restic(settings, copy)))]}))
        elif chosen.verb == "restore":
            restore(Restic(settings, copy, chosen.host), chosen.label, chosen.target)
        else:
            work(settings, chosen.verb, copy)
    except CopyError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
