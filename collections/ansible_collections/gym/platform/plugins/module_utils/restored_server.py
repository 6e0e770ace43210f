"""The hands of a restore: pgBackRest, a directory, and the server that recovers what is in it."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import (
    Repository,
    history_file,
    read_history,
    read_repository,
)
from ansible_collections.gym.platform.plugins.module_utils.postgresql_recovery import (
    LOG_SETTINGS,
    Progress,
    RecoveryError,
    give_up,
    is_complete,
    like_the_primary,
    read_log,
    render,
)
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import (
    IN_PLACE,
    Disk,
    Plan,
    RefusedError,
    Request,
    timeline_to_follow,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None

OWNER = "postgres"
POLL_SECONDS = 0.2
# How often a server may be started again because its primary was given higher limits.
MOST_STARTS = 5
KEPT = ".before-restore"
PUT_BACK = "put_back"
WAY_BACK = " Nothing runs now; -e restore_state=absent instead of a moment puts the old database back and starts it."
# A restored instance must not write into the archive of the live one. What is restored in place shall, but only when it
# is handed over: until then its WAL waits.
ARCHIVING = {True: {"archive_mode": "on", "archive_command": "/bin/false"}, False: {"archive_mode": "off"}}
RECOVERY_SETTINGS = (
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_inclusive",
    "recovery_target_timeline",
)


@dataclass(frozen=True)
class Recovered:
    """What a database has become."""

    last_transaction: str
    """When the last transaction in it was committed; empty when recovery replayed none."""
    left_out: str
    """When the first one was committed that is not in it; empty where no moment was given."""


class Host:
    """The machine."""

    def run(self, command: Sequence[str], user: str | None = OWNER) -> tuple[int, str, str]:
        """Run a program, as the owner of databases unless root is asked for."""
        # Group and environment are the user's own; what root has in its environment is not for it.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/"}
        words = ["runuser", "-u", user, "--", *command] if user else list(command)
        done = subprocess.run(words, capture_output=True, check=False, cwd="/", env=environment)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def systemctl(self, *words: str) -> str:
        """Speak to systemd, and return what it says; a failure shows in what happens next."""
        return self.run(["systemctl", *words], user=None)[1].strip()


class PgBackRest:
    """pgBackRest on this machine, whether it is the repository's or the database's."""

    def __init__(self, options: Mapping[str, Any], host: Host) -> None:
        """Take the module's options."""
        self._stanza, self._configuration = str(options["stanza"]), str(options["configuration"])
        # Without a number, pgBackRest's configuration says how many.
        self._processes = [f"--process-max={options['processes']}"] if options["processes"] else []
        self._work = f"{options['work_directory']}/{options['name']}.spool"
        self._host = host

    def _words(self, *more: str) -> list[str]:
        return [
            "pgbackrest",
            f"--config={self._configuration}",
            f"--stanza={self._stanza}",
            "--log-level-console=warn",
            "--log-level-file=off",
            *more,
        ]

    def _ask(self, *words: str) -> str:
        status, output, errors = self._host.run(self._words(*words))
        if status != 0:
            raise RefusedError(f"pgBackRest cannot {words[-1]}: {_last_lines(errors or output)}")
        return output

    def numbers(self) -> list[int]:
        """Return the numbers of the repositories. Raises RefusedError."""
        try:
            text = Path(self._configuration).read_text(encoding="utf-8")
        except OSError as error:
            raise RefusedError(
                f"pgBackRest's configuration cannot be read ({error}): playbooks/configure.yml writes it."
            ) from error
        return sorted({int(found) for found in re.findall(r"^repo(\d+)-", text, re.MULTILINE)})

    def repository(self, number: int) -> Repository:
        """Return what a repository holds. Raises RefusedError."""
        # Asked about both at once, 2.45 opens the second with the passphrase of the first where both are remote.
        information = json.loads(self._ask(f"--repo={number}", "--output=json", "info"))
        return read_repository(information, self._stanza, number)

    def with_history(self, repository: Repository, request: Request) -> Repository:
        """Return the repository with the history of the timeline that is followed. Raises RefusedError."""
        timeline = timeline_to_follow(request, repository)
        if timeline <= 1:
            return repository
        where = f"--repo={repository.number}"
        listing = json.loads(self._ask(where, "--output=json", "repo-ls", repository.archive))
        if history_file(timeline) not in listing:
            # The archive began on this timeline, or goes on there after a gap: no other one leads to it.
            return repository
        history = self._ask(where, "repo-get", f"{repository.archive}/{history_file(timeline)}")
        return replace(repository, forks=read_history(history, timeline, listing))

    @staticmethod
    def now() -> datetime.datetime:
        """Return the time."""
        return datetime.datetime.now(datetime.UTC)

    def restore(self, plan: Plan, directory: Path, archives: bool) -> None:
        """Restore the files. What is right already is left alone. Raises RecoveryError."""
        # On the repository's machine the configuration says on which host the live database is; this one is here.
        here = ["--reset-pg1-host", f"--pg1-path={directory}", f"--repo={plan.repository}"]
        spool = [f"--spool-path={self._work}", f"--lock-path={self._work}", *self._processes]
        fetch = " ".join([*self._words(*here, *spool, "--archive-async"), 'archive-get %f "%p"'])
        recovery = {**plan.recovery_options(), "restore_command": fetch}
        status, output, errors = self._host.run(
            self._words(
                *here,
                f"--lock-path={self._work}",
                *self._processes,
                f"--set={plan.backup.label}",
                "--delta",
                # A standby does not promote itself: not at a hole in the archive, and not at its end.
                "--type=standby",
                f"--archive-mode={'preserve' if archives else 'off'}",
                *(f"--recovery-option={name}={value}" for name, value in recovery.items()),
                "restore",
            )
        )
        if status != 0:
            raise RecoveryError(
                f"Backup {plan.backup.label} cannot be restored from repository {plan.repository}: take another backup,"
                f" or the other repository (-e restore_repository). pgBackRest says: {_last_lines(errors or output)}"
            )


class RestoredServer:
    """A directory with a restored database, and the server that runs on it."""

    def __init__(self, options: Mapping[str, Any], host: Host) -> None:
        """Take the module's options."""
        self.directory = Path(options["directory"])
        self._options, self._host = options, host
        self.in_place = options["place"] == IN_PLACE
        self._work = Path(options["work_directory"])
        self._unit = f"database-restore@{options['name']}.service"
        self._kept = self.directory.with_name(self.directory.name + KEPT)

    def _file(self, suffix: str) -> Path:
        return self._work / f"{self._options['name']}.{suffix}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other run works on this instance: that of a controller that was killed goes on for a while."""
        if not self._work.is_dir():
            yield
            return
        with (self._work / f".{self._options['name']}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def record(self) -> dict[str, Any]:
        """Return what an earlier run has written down; nothing where there is none."""
        path = self._file("json")
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def keep(self, record: Mapping[str, Any]) -> None:
        """Write down what was done."""
        write_atomically(self._file("json"), json.dumps(record, indent=2) + "\n")

    def disk(self) -> Disk:
        """Look at the file system that the database is restored to."""
        existing = next(path for path in (self.directory, *self.directory.parents) if path.exists())
        usage = os.statvfs(existing)
        # What an interrupted run has restored is not the old database.
        keep_old = self.in_place and self._options["keep_old"] and not self._kept.exists()
        return Disk(usage.f_bavail * usage.f_frsize, _size(self.directory), keep_old)

    def make_way(self, record: Mapping[str, Any]) -> None:
        """Have an empty directory, or one of this database, and nothing that runs in it. Raises RefusedError."""
        self._host.systemctl("stop", self._unit)
        if process := _running(self.directory):
            raise RefusedError(
                f"A server runs in {self.directory} (process {process}): playbooks/restore.yml stops it first; by hand,"
                " stop Patroni on all nodes."
            )
        self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.chown(self._work, OWNER, OWNER)
        self._file("spool").mkdir(mode=0o700, exist_ok=True)
        shutil.chown(self._file("spool"), OWNER, OWNER)
        if self.in_place and self._options["keep_old"] and self.directory.exists() and not self._kept.exists():
            self.directory.rename(self._kept)
        self.keep({**record, "recovered": False})
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.chown(self.directory, OWNER, OWNER)

    def recover(self, plan: Plan) -> Recovered:
        """Have the database as the plan says, and writable. Raises RecoveryError, and leaves no server then."""
        try:
            progress = self._wait(plan)
            recovered = self._promote(plan, progress)
        except (RecoveryError, psycopg2.Error) as error:
            self._host.systemctl("stop", self._unit)
            way_back = WAY_BACK if self._kept.exists() else ""
            raise RecoveryError(f"{' '.join(str(error).split())}{way_back}") from error
        if self.in_place:
            self._host.systemctl("stop", self._unit)
        return recovered

    def _start(self) -> None:
        """Start the server on what pgBackRest has restored."""
        status, control, errors = self._host.run([f"{self._options['programs']}/pg_controldata", str(self.directory)])
        if status != 0:
            raise RecoveryError(f"{self.directory} is no database: {_last_lines(errors)}")
        settings = {
            **self._options["settings"],
            **LOG_SETTINGS,
            **like_the_primary(control),
            **ARCHIVING[self.in_place],
            "data_directory": self.directory,
            "wal_retrieve_retry_interval": "500ms",
        }
        write_atomically(self._file("conf"), render(settings))
        self._file("log").unlink(missing_ok=True)
        self._host.systemctl("reset-failed", self._unit)
        # It counts as started when it answers queries, which may be never.
        self._host.systemctl("start", "--no-block", self._unit)

    def _wait(self, plan: Plan) -> Progress:
        """Start the server, and wait until it is where it shall be. Raises RecoveryError."""
        begin = time.monotonic()
        for _ in range(MOST_STARTS):
            self._start()
            stuck, since = None, time.monotonic()
            while not (progress := self._progress()).limited:
                if is_complete(progress, plan):
                    return progress
                if progress.waits_at != stuck:
                    stuck, since = progress.waits_at, time.monotonic()
                now = time.monotonic()
                tired = stuck is not None and now - since > self._options["patience"]
                if tired or now - begin > self._options["timeout"]:
                    raise give_up(progress, plan, self._last_transaction(progress), now - begin)
                time.sleep(POLL_SECONDS)
            self._host.systemctl("stop", self._unit)
        raise RecoveryError("The primary's limits were raised again and again after this backup: take a later one.")

    def _progress(self) -> Progress:
        path = self._file("log")
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        progress = read_log(text)
        if not progress.fault and self._host.systemctl("is-failed", self._unit) == "failed":
            return replace(progress, fault=_last_lines(text) or f"see `journalctl -u {self._unit}`")
        return progress

    def _connect(self) -> Any:
        settings = self._options["settings"]
        connection = psycopg2.connect(
            host=settings["unix_socket_directories"],
            port=settings["port"],
            dbname="postgres",
            user="postgres",
            application_name="ansible",
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def _last_transaction(self, progress: Progress) -> datetime.datetime | None:
        if not progress.consistent:
            return None
        moment: datetime.datetime | None = _ask(self._connect(), "SELECT pg_last_xact_replay_timestamp()")
        return moment.astimezone(datetime.UTC) if moment else None

    def _promote(self, plan: Plan, progress: Progress) -> Recovered:
        """Make sure of the moment, and let the database be written to. Raises RecoveryError."""
        connection = self._connect()
        last = self._last_transaction(progress)
        if plan.target and last and last >= plan.target:
            raise RecoveryError(
                f"Recovery was to stop before {moments.show(plan.target)}, and went on to {moments.show(last)}."
            )
        if not _ask(connection, "SELECT pg_promote(true, 600)"):
            raise RecoveryError(f"The recovered database was not promoted: see {self._file('log')}.")
        for name in RECOVERY_SETTINGS:
            # A replica that is copied from this database must not stop where this one stopped.
            _do(connection, f"ALTER SYSTEM RESET {name}")
        if _ask(connection, "SELECT pg_is_in_recovery()"):
            raise RecoveryError(f"The recovered database takes no writes: see {self._file('log')}.")
        return Recovered(*("" if moment is None else moments.show(moment) for moment in (last, progress.left_out)))

    def serve_again(self, check: bool) -> bool:
        """Start what was restored beside and does not run, after a reboot; return whether it did not."""
        if self.in_place or self._host.systemctl("is-active", self._unit) == "active":
            return False
        if not check:
            self._host.systemctl("reset-failed", self._unit)
            self._host.systemctl("start", self._unit)
        return True

    def leave(self, state: str, check: bool) -> dict[str, Any]:
        """Remove what was restored, or what was kept of the old database. Raises RefusedError."""
        if self.in_place:
            return self._put_back(check) if state == "absent" else self._forget_old(check)
        if state != "absent":
            raise RefusedError(f"state is '{state}', which belongs to place={IN_PLACE}; beside there is 'absent'.")
        found = [path for path in (self.directory, *self._traces()) if path.exists()]
        if found and not check:
            self._host.systemctl("stop", self._unit)
            _remove(found)
        return {"changed": bool(found), "recovered": False, "touched": bool(found)}

    def _traces(self) -> list[Path]:
        return [self._file(suffix) for suffix in ("json", "conf", "log", "spool")]

    def _put_back(self, check: bool) -> dict[str, Any]:
        """Have what was there before; the record stays until that runs, and says on which machine it is."""
        record = self.record()
        if not self._file("json").exists() or PUT_BACK in record:
            return {"changed": False, "recovered": False, "touched": False}
        if not self._kept.exists() and "backup" in record:
            raise RefusedError(
                f"The database that was in {self.directory} was not kept (restore_keep_old=false): it cannot come back;"
                " restore it to another moment."
            )
        if self._kept.exists() and (process := _running(self.directory)):
            raise RefusedError(
                f"The restored database runs in {self.directory} (process {process}): the old one does not replace it."
            )
        if not check:
            self._host.systemctl("stop", self._unit)
            if self._kept.exists():
                _remove([self.directory])
                self._kept.rename(self.directory)
            self.keep({PUT_BACK: True})
        return {"changed": True, "recovered": False, "touched": True}

    def _forget_old(self, check: bool) -> dict[str, Any]:
        found = [path for path in (self._kept, *self._traces()) if path.exists()]
        if found and not check:
            _remove(found)
        return {"changed": bool(found), "recovered": True, "touched": False}


def _ask(connection: Any, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def _do(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _running(directory: Path) -> int | None:
    """Return the process of the server that runs in a directory."""
    try:
        process = int((directory / "postmaster.pid").read_text(encoding="ascii").split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return process if Path(f"/proc/{process}/cwd").exists() and _is_in(process, directory) else None


def _is_in(process: int, directory: Path) -> bool:
    # A server's working directory is its database; the number may be another program's by now.
    return Path(f"/proc/{process}/cwd").resolve() == directory.resolve()


def _size(directory: Path) -> int:
    """Return the bytes that the files below a directory occupy."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - a million files
        for folder, _, names in os.walk(directory)
        for name in names
    )


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _last_lines(text: str) -> str:
    """Return the end of what a program said, in one line."""
    return " ".join(line.strip() for line in text.strip().splitlines()[-5:])
