"""A real database is backed up to two repositories, and comes back from each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.waiting import wait

PROGRAM = "/usr/local/lib/gym-platform/backup_repository.py"
BINARIES = "/usr/lib/postgresql/15/bin"
RESTORED = "/var/lib/postgresql/molecule-restored"
COUNT = "SELECT count(*) FROM kept"
SOCKETS = "/var/lib/postgresql/molecule-sockets"


class Backups:
    """The database and the machine with its repositories."""

    def __init__(self, inventory: str) -> None:
        """Reach both hosts."""
        self.database, self.keeper = (
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            for name in ("molecule-4", "molecule-5")
        )

    def sql(self, statement: str) -> str:
        """Run a statement in the database."""
        return self.as_postgres(self.database, f'psql -XAtq -d gym -c "{statement}"')

    def as_postgres(self, host: Host, command: str) -> str:
        """Run a command as the user to whom all of this belongs."""
        return str(host.check_output("cd / && runuser -u postgres -- sh -c %s", command)).strip()

    def run(self, *words: str) -> str:
        """Call the program that backs up."""
        return self.as_postgres(self.keeper, f"{PROGRAM} {' '.join(words)}")

    def repository(self, number: int) -> dict[str, Any]:
        """Return what a repository holds."""
        found: dict[str, Any] = json.loads(self.run("describe"))["repositories"][number - 1]
        return found


@pytest.fixture(scope="module")
def backups(request: pytest.FixtureRequest) -> Backups:
    return Backups(str(Path(request.config.getoption("--ansible-inventory")).resolve()))


@pytest.mark.parametrize("number", [1, 2])
def test_each_repository_has_a_backup_from_the_start(backups: Backups, number: int) -> None:
    found = backups.repository(number)
    assert found["reachable"]
    assert found["backups"][0]["kind"] == "full"


def test_wal_goes_to_both_repositories(backups: Backups) -> None:
    segment = backups.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait(30, lambda: all(backups.repository(number)["newest_wal"] >= segment for number in (1, 2)))


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_written_comes_back(backups: Backups, number: int) -> None:
    """One row before the backup, one after it, which is in the WAL alone."""
    backups.sql("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 1 AS row")
    backups.run("backup", f"--repository={number}", "--kind=differential", f"--name=molecule-{number}")
    last = backups.repository(number)["backups"][-1]
    assert (last["kind"], last["name"]) == ("differential", f"molecule-{number}")
    backups.sql("INSERT INTO kept VALUES (2)")
    segment = backups.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait(30, lambda: backups.repository(number)["newest_wal"] >= segment)
    host = backups.keeper
    host.check_output(f"rm -rf {RESTORED} {SOCKETS} && install -d -o postgres -m 0700 {RESTORED} {SOCKETS}")
    reset = "--reset-pg1-host"
    try:
        backups.as_postgres(
            host,
            f"pgbackrest --stanza=backups --repo={number} {reset} --pg1-path={RESTORED} --archive-mode=off restore",
        )
        options = f"-k {SOCKETS} -p 39434 -c listen_addresses= -c ssl=off -c shared_preload_libraries="
        backups.as_postgres(host, f"{BINARIES}/pg_ctl -D {RESTORED} -o '{options}' -l {RESTORED}/log -w -t 60 start")
        assert backups.as_postgres(host, f"PGHOST={SOCKETS} psql -XAtq -p 39434 -d gym -c '{COUNT}'") == "2"
    finally:
        host.run(f"runuser -u postgres -- {BINARIES}/pg_ctl -D {RESTORED} -m immediate stop")
        host.run(f"rm -rf {RESTORED} {SOCKETS}")
