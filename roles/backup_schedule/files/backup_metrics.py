#!/usr/bin/python3
"""Tell Prometheus what is known about backups: how old, how large, whether they can be restored, how far WAL lags.

Nothing is remembered that can be asked: ages and sizes are those of what the repositories hold now, so one that was
emptied behind everybody's back shows. Only how a run ended is written when it ends, by systemd's word for it.

Numbers are left as `*.prom` files for the node exporter, each written beside its place and renamed.

Only the standard library, and psql.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/gym/backup_schedule.json")
# In seconds. A description asks stores in other regions, some of which may be away; the primary is near.
DESCRIPTION_PATIENCE, PRIMARY_PATIENCE = 300, 15
# What a verification ends with when backups cannot be restored, and when some moments between them cannot.
DAMAGED, HOLES = 3, 4
# The source that has WAL, and so moments between two backups.
DATABASE = "database"
SEGMENT = re.compile(r"^[0-9A-F]{24}$")
SEGMENTS = """
    SELECT name, extract(epoch FROM clock_timestamp() - modification), pg_walfile_name(pg_current_wal_lsn())
    FROM pg_ls_waldir() WHERE length(name) = 24
"""
HELP = {
    "gym_backup_repository_reachable": "Whether a repository answers.",
    "gym_backup_count": "Backups in a repository.",
    "gym_backup_oldest_timestamp_seconds": "When the oldest backup of a repository was made.",
    "gym_backup_last_success_timestamp_seconds": "When the newest backup was made, or a verification ended well.",
    "gym_backup_maximum_age_seconds": "How old the newest backup or verification may be.",
    "gym_backup_size_bytes": "What the newest backup gives back.",
    "gym_backup_stored_bytes": "What the newest backup takes in its repository by itself.",
    "gym_backup_verified": "Whether the last verification found that all backups can be restored.",
    "gym_backup_wal_complete": "Whether it found that all moments between them can be restored.",
    "gym_backup_run_success": "Whether the last run of a kind ended well.",
    "gym_backup_run_timestamp_seconds": "When it ended.",
    "gym_wal_archive_lag_seconds": "For how long the oldest segment of WAL has waited for a repository.",
    "gym_wal_archive_maximum_lag_seconds": "For how long it may wait.",
    "gym_backup_described_timestamp_seconds": "When the repositories were last asked.",
}

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


class MetricsError(Exception):
    """A sentence for the person who reads the journal."""


@dataclass(frozen=True)
class Job:
    """What runs by itself: a backup of a kind into a repository, or its verification."""

    name: str
    repository: str
    kind: str
    maximum_age_seconds: int
    # Whom to ask about the repository: a name for it, and the command.
    source: str
    describe: Sequence[str]

    @property
    def labels(self) -> dict[str, str]:
        """Return what its metrics are told apart by."""
        return {"repository": self.repository, "kind": self.kind}


@dataclass(frozen=True)
class Settings:
    """What Ansible tells: what runs by itself, and where the database's primary is."""

    directory: Path
    jobs: Sequence[Job]
    # As psql takes it.
    primary: str
    password_file: str
    maximum_lag_seconds: int

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the settings that Ansible wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        jobs = [Job(**{field.name: job[field.name] for field in fields(Job)}) for job in data.pop("jobs")]
        return cls(**{**data, "directory": Path(data["directory"]), "jobs": jobs})

    @property
    def sources(self) -> dict[str, Sequence[str]]:
        """Return all who describe repositories, by name."""
        return {job.source: job.describe for job in self.jobs}

    def job(self, name: str) -> Job:
        """Return a job by its name."""
        return next(job for job in self.jobs if job.name == name)


def newest(backups: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """Return the newest backup that counts for a kind: a full one is as good as any other, and not the other way."""
    counting = [backup for backup in backups if kind != "full" or backup["kind"] == "full"]
    return max(counting, key=lambda backup: backup["ended"], default=None)


def repository_samples(repository: Mapping[str, Any], jobs: Iterable[Job]) -> list[Sample]:
    """Say what a repository holds now. One that does not answer has no ages, which would be guesses."""
    labels = {"repository": str(repository["name"])}
    samples: list[Sample] = [("gym_backup_repository_reachable", labels, float(repository["reachable"]))]
    if not repository["reachable"]:
        return samples
    backups = repository["backups"]
    samples.append(("gym_backup_count", labels, len(backups)))
    if backups:
        samples.append(("gym_backup_oldest_timestamp_seconds", labels, min(backup["ended"] for backup in backups)))
    for job in jobs:
        if job.kind == "verify" or job.repository != repository["name"]:
            continue
        found = newest(backups, job.kind)
        samples.append(("gym_backup_last_success_timestamp_seconds", job.labels, found["ended"] if found else 0))
        samples.append(("gym_backup_maximum_age_seconds", job.labels, job.maximum_age_seconds))
        if found:
            samples.append(("gym_backup_size_bytes", job.labels, found["size_bytes"]))
        if found and "stored_bytes" in found:
            samples.append(("gym_backup_stored_bytes", job.labels, found["stored_bytes"]))
    return samples


@dataclass(frozen=True)
class Wal:
    """The segments that the primary has, by name with their ages in seconds, and the one that it writes."""

    ages: Mapping[str, float]
    current: str

    @classmethod
    def parse(cls, text: str) -> Wal:
        """Read the rows of SEGMENTS."""
        rows = [line.split("|") for line in text.splitlines() if line]
        return cls({name: float(age) for name, age, _ in rows if SEGMENT.match(name)}, rows[0][2] if rows else "")

    def lag(self, newest_archived: str) -> float:
        """Return for how long the oldest finished segment has waited that comes after the newest in a repository.

        Files behind the one that is written are empty and wait to be used.
        """
        waiting = [age for name, age in self.ages.items() if newest_archived < name < self.current]
        return max([0.0, *waiting])


def ask_primary(settings: Settings) -> Wal:
    """Ask the primary for its segments. Raises MetricsError when nobody is it."""
    command = ["psql", "-XAtq", "-d", settings.primary, "-c", SEGMENTS]
    environment = {**os.environ, "PGPASSFILE": settings.password_file, "PGCONNECT_TIMEOUT": "5"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, timeout=PRIMARY_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise MetricsError(f"the primary did not answer within {PRIMARY_PATIENCE} s") from None
    if done.returncode:
        raise MetricsError(f"no primary answers: {done.stderr.strip()}")
    return Wal.parse(done.stdout)


def wal_samples(repositories: Iterable[Mapping[str, Any]], settings: Settings) -> list[Sample]:
    """Say how far each repository is behind the primary. Without a primary nothing can lag, and others tell of that."""
    try:
        wal = ask_primary(settings)
    except MetricsError as error:
        print(error, file=sys.stderr)
        return []
    samples: list[Sample] = []
    for repository in repositories:
        labels = {"repository": str(repository["name"])}
        samples.append(("gym_wal_archive_lag_seconds", labels, wal.lag(repository["newest_wal"])))
        samples.append(("gym_wal_archive_maximum_lag_seconds", labels, settings.maximum_lag_seconds))
    return samples


def describe(settings: Settings, source: str) -> list[Sample]:
    """Ask one of the programs that keep backups, and say what it says."""
    command = settings.sources[source]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=DESCRIPTION_PATIENCE, cwd="/"
        )
    except subprocess.TimeoutExpired:
        raise MetricsError(f"`{' '.join(command)}` did not answer within {DESCRIPTION_PATIENCE} s") from None
    if done.returncode:
        raise MetricsError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    repositories = json.loads(done.stdout)["repositories"]
    samples = [sample for repository in repositories for sample in repository_samples(repository, settings.jobs)]
    if source == DATABASE:
        samples += wal_samples([entry for entry in repositories if entry["reachable"]], settings)
    return [*samples, ("gym_backup_described_timestamp_seconds", {"source": source}, time.time())]


def run_samples(job: Job, result: str, status: str, before: str) -> list[Sample]:
    """Say how a run ended, in systemd's words: `result` is `success`, or how it failed.

    A failure leaves standing what the last good run said: `before` is the text that this one replaces.
    """
    now, well = time.time(), result == "success"
    samples: list[Sample] = [
        ("gym_backup_run_success", job.labels, float(well)),
        ("gym_backup_run_timestamp_seconds", job.labels, now),
    ]
    if job.kind == "verify":
        labels = {"repository": job.repository}
        if well:
            samples.append(("gym_backup_verified", labels, 1))
            if job.source == DATABASE:
                samples.append(("gym_backup_wal_complete", labels, float(status != str(HOLES))))
        elif status == str(DAMAGED):
            samples.append(("gym_backup_verified", labels, 0))
        else:
            samples += [("gym_backup_verified", labels, value) for value in kept(before, "gym_backup_verified")]
        last = [now] if well else kept(before, "gym_backup_last_success_timestamp_seconds") or [0]
        samples.append(("gym_backup_last_success_timestamp_seconds", job.labels, last[0]))
        samples.append(("gym_backup_maximum_age_seconds", job.labels, job.maximum_age_seconds))
    return samples


def kept(text: str, name: str) -> list[float]:
    """Return the values that a metric had in a file."""
    return [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name}{{")]


def render(samples: Iterable[Sample]) -> str:
    """Write samples as Prometheus reads them, each metric in one block."""
    blocks: dict[str, list[str]] = {}
    for name, labels, value in samples:
        told = ",".join(f'{label}="{text}"' for label, text in labels.items())
        blocks.setdefault(name, []).append(f"{name}{{{told}}} {value:.15g}")
    lines = []
    for name, block in blocks.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge", *block]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Replace a file in one step; the exporter never reads half of it."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    Path(draft).replace(path)


def refresh(settings: Settings, source: str) -> None:
    """Write anew what one of the programs says."""
    write(settings.directory / f"backup_{source}.prom", render(describe(settings, source)))


def ended(settings: Settings, job: Job, environment: Mapping[str, str]) -> None:
    """Write how a run ended, and what the repository holds now. A failure has a line of its own in the journal."""
    result, status = environment["SERVICE_RESULT"], environment.get("EXIT_STATUS", "")
    path = settings.directory / f"backup_job_{job.name}.prom"
    write(path, render(run_samples(job, result, status, path.read_text() if path.exists() else "")))
    if result != "success":
        # `<2>` is the priority `critical` for systemd.
        print(f"<2>backup job {job.name} failed: {result}, status {status}; `journalctl -u backup-{job.name}` says why")
    refresh(settings, job.source)


def main(arguments: Sequence[str]) -> int:
    """Do one of the verbs."""
    settings = Settings.read(SETTINGS)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("refresh", help="ask a source").add_argument("source", choices=settings.sources)
    verbs.add_parser("ended", help="tell how a run ended").add_argument(
        "job", choices=[job.name for job in settings.jobs]
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.verb == "refresh":
            refresh(settings, chosen.source)
        else:
            ended(settings, settings.job(chosen.job), os.environ)
    except MetricsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
