"""A real PostgreSQL behind a database instance of the rehearsal, so that a restored row can be looked for.

MiniStack's instances are records. One that is served gets a data directory, a base backup and an archive of its log in
a directory of its own; what is restored from it is a copy of the base backup that the archive is replayed on.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
# Nobody in the world runs PostgreSQL as root.
OWNER = "postgres"
NOTHING_YOUNGER = "recovery ended before configured recovery target was reached"
WAIT_SECONDS, POLL_SECONDS = 60, 0.05
SETTINGS = {
    "archive_command": "'cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f'",
    "archive_mode": "on",
    # The log that is not archived is what the loss of a region costs. On AWS that is up to five minutes.
    "archive_timeout": "1s",
    # A machine that loses its power is not what is rehearsed.
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "30",
    "max_wal_size": "32MB",
    "min_wal_size": "2MB",
    "shared_buffers": "16MB",
    "ssl": "on",
    "ssl_cert_file": "'{directory}/certificate.pem'",
    "ssl_key_file": "'{directory}/key.pem'",
    "unix_socket_directories": "'{directory}'",
    "wal_level": "replica",
}


class EngineError(Exception):
    """PostgreSQL does not do what it was asked for; the message has its last words."""


def installed() -> bool:
    """Tell whether this machine has PostgreSQL."""
    return (PROGRAMS / "postgres").is_file()


def certify(directory: Path, names: Collection[str]) -> None:
    """Make a key and a certificate for these names in a directory; whoever trusts the certificate trusts the names."""
    subject = ["-subj", "/CN=rehearsal", "-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, "-days", "2", *subject, *files], check=True, capture_output=True)


class Engine:
    """One PostgreSQL: `data`, a `base` backup and an `archive` below a directory."""

    def __init__(self, directory: Path, credentials: tuple[str, str], database: str, certified: Path) -> None:
        """Keep everything in this directory, which is made. `credentials` are those of its master."""
        self.directory, self.database, self.port = directory, database, _free_port()
        self.user, self.password = credentials
        self.archive, self.base, self.data = (directory / name for name in ("archive", "base", "data"))
        self.archive.mkdir(parents=True)
        for name in ("certificate.pem", "key.pem"):
            shutil.copy(certified / name, directory)
        (directory / "key.pem").chmod(0o600)
        own(directory)

    # --- from nothing, or from another one's backups

    def create(self) -> None:
        """Begin with an empty database, and back it up."""
        secret = self.directory / "password"
        secret.write_text(self.password, encoding="utf-8")
        self._run(
            "initdb",
            "--auth=scram-sha-256",
            # Small segments: a restoration copies and replays little.
            "--wal-segsize=1",
            f"--pgdata={self.data}",
            f"--username={self.user}",
            f"--pwfile={secret}",
        )
        secret.unlink()
        self._configure()
        self.start()
        self.sql(f'create database "{self.database}"', "postgres")
        self.back_up(self.base)

    def restore(self, source: Engine, until: datetime | None) -> None:
        """Begin as another one was at a moment, or as it was when its log was last archived. Raises EngineError."""
        self._copy(source.base)
        self._configure({"restore_command": f"'cp {source.archive}/%f %p'", "recovery_target_action": "promote"})
        if until is not None:
            self._configure({"recovery_target_time": f"'{until.isoformat()}'"})
        (self.data / "recovery.signal").touch()
        own(self.data)
        try:
            self.start()
        except EngineError:
            # PostgreSQL wants to see something younger than the moment, and what was archived last is older.
            if NOTHING_YOUNGER not in (self.directory / "log").read_text(encoding="utf-8"):
                raise
            self._configure({"recovery_target_time": "''"})
            self.start()
        self.back_up(self.base)

    def load(self, backup: Path) -> None:
        """Begin as a snapshot was."""
        self._copy(backup)
        own(self.data)
        self.start()
        self.back_up(self.base)

    # --- while it runs

    def start(self) -> None:
        """Start, and wait until it takes writes. Raises EngineError."""
        log = (self.directory / "log").open("ab")
        command = [str(PROGRAMS / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_owner())
        # However this process ends, its end of the pipe closes, and PostgreSQL does not outlive the cloud.
        watch = ["sh", "-c", 'read -r _; kill -QUIT "$1"', "sh", str(self._process.pid)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        self._until("taking writes", lambda: self.sql("select pg_is_in_recovery()", "postgres") == "f")

    def stop(self, crash: bool = False) -> None:
        """End it: with its log archived, or as a region ends."""
        self._watcher.kill()
        self._watcher.wait()
        self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        self._process.wait(WAIT_SECONDS)

    def archived(self) -> None:
        """Wait until everything that was committed is in the archive."""
        # A moment can only be restored to when something was committed after it.
        self.sql("select pg_logical_emit_message(true, 'rehearsal', 'after')", "postgres")
        segment = self.sql("select pg_walfile_name(pg_switch_wal())", "postgres")
        self._until(f"archiving {segment}", (self.archive / segment).exists)

    def archived_until(self) -> datetime:
        """Return when something was archived for the last time."""
        newest = max(path.stat().st_mtime for path in self.archive.iterdir() if path.suffix != ".part")
        return datetime.fromtimestamp(newest, UTC)

    def back_up(self, target: Path) -> None:
        """Make a base backup that starts by itself."""
        self._run("pg_basebackup", f"--pgdata={target}", "--checkpoint=fast", "--wal-method=fetch", *self._at())

    def sql(self, statement: str, database: str | None = None) -> str:
        """Run a statement and return what it answers. Raises EngineError."""
        where = [*self._at(), f"--dbname={database or self.database}"]
        return self._run("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-c", statement, *where)

    # --- how

    def _at(self) -> list[str]:
        return [f"--host={self.directory}", f"--port={self.port}", f"--username={self.user}"]

    def _configure(self, more: Mapping[str, str] | None = None) -> None:
        places = {"archive": str(self.archive), "directory": str(self.directory)}
        lines = [f"{key} = {value.format(**places)}" for key, value in (SETTINGS if more is None else more).items()]
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join([*lines, ""]))

    def _copy(self, backup: Path) -> None:
        shutil.copytree(backup, self.data)
        self.data.chmod(0o700)
        # What the one that was backed up had been told; it was itself a copy once, perhaps.
        (self.data / "recovery.signal").unlink(missing_ok=True)
        kept = (self.data / "postgresql.conf").read_text(encoding="utf-8").splitlines()
        ours = tuple(f"{name} =" for name in (*SETTINGS, "restore_command", "recovery_target"))
        lines = [line for line in kept if not line.startswith(ours)]
        (self.data / "postgresql.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        self._configure()

    def _run(self, program: str, *arguments: str) -> str:
        environment = {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C.UTF-8"}
        command = [str(PROGRAMS / program), *arguments]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **_as_owner())
        if run.returncode:
            raise EngineError(f"{program}: {(run.stderr or run.stdout).strip()}")
        return str(run.stdout).strip()

    def _until(self, what: str, happened: Callable[[], bool]) -> None:
        end, last = time.monotonic() + WAIT_SECONDS, ""
        while time.monotonic() < end:
            if self._process.poll() is not None:
                words = (self.directory / "log").read_text(encoding="utf-8").splitlines()[-3:]
                raise EngineError(f"PostgreSQL ended before {what}: {' | '.join(words)}")
            try:
                if happened():
                    return
            except EngineError as error:
                last = str(error)
            time.sleep(POLL_SECONDS)
        raise EngineError(f"{what} took more than {WAIT_SECONDS} s; last: {last}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def own(path: Path) -> None:
    """Give everything below a path to whoever PostgreSQL runs as."""
    if os.geteuid() == 0:
        for below in (path, *path.rglob("*")):
            shutil.chown(below, OWNER)


def _as_owner() -> dict[str, Any]:
    return {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
