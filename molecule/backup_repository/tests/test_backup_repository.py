"""A real database is backed up to two repositories, and comes back from each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.waiting import wait

PROGRAM = "/usr/local/lib/gym-platform/backup_repository.py"
REPOSITORY = "/var/lib/pgbackrest"
OBJECTS = "/var/lib/object-store/disk/objects"
BINARIES = "/usr/lib/postgresql/15/bin"
RESTORED = "/var/lib/postgresql/molecule-restored"
SOCKETS = "/var/lib/postgresql/molecule-sockets"


class Backups:
    """The database, the machine with the first repository, and the one with the object store of the second."""

    def __init__(self, inventory: str) -> None:
        """Reach all hosts."""
        self.database, self.keeper, self.store = (
            testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
            for name in ("molecule-4", "molecule-5", "molecule-6")
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

    @contextmanager
    def without(self, number: int) -> Iterator[None]:
        """Take a repository away from everybody: the directory of the first, the endpoint of the second."""
        host, take, give = {
            1: (self.keeper, f"mv {REPOSITORY} {REPOSITORY}.away", f"mv -T {REPOSITORY}.away {REPOSITORY}"),
            2: (self.store, *(f"systemctl {verb} object-store-endpoint" for verb in ("stop", "start"))),
        }[number]
        host.check_output(take)
        try:
            yield
        finally:
            host.check_output(give)

    @contextmanager
    def restored(self, number: int) -> Iterator[Callable[[str], str]]:
        """Restore out of one repository, on the machine that keeps backups; what is yielded asks the result."""
        host = self.keeper
        host.check_output(f"rm -rf {RESTORED} {SOCKETS} && install -d -o postgres -m 0700 {RESTORED} {SOCKETS}")
        place = f"--reset-pg1-host --pg1-path={RESTORED} --archive-mode=off"
        # What Patroni has written into its configuration are places of the database's own machine.
        files = f"-c hba_file={RESTORED}/pg_hba.conf -c ident_file={RESTORED}/pg_ident.conf"
        options = f"-k {SOCKETS} -p 39434 {files} -c listen_addresses= -c ssl=off -c shared_preload_libraries="
        ask = f"psql -XAtq -h {SOCKETS} -p 39434 -d gym -c"
        try:
            self.as_postgres(host, f"pgbackrest --stanza=backups --repo={number} {place} restore")
            self.as_postgres(host, f"{BINARIES}/pg_ctl -D {RESTORED} -o '{options}' -l {RESTORED}/log -w -t 60 start")
            yield lambda statement: self.as_postgres(host, f"{ask} '{statement}'")
        finally:
            host.run(f"runuser -u postgres -- {BINARIES}/pg_ctl -D {RESTORED} -m immediate stop")
            host.run(f"rm -rf {RESTORED} {SOCKETS}")


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


def test_nothing_can_be_read_without_the_passphrase(backups: Backups) -> None:
    """What pgBackRest says of a backup is text, and in each of these files; encrypted, not a word of it is left."""
    word = "backrest-version"
    host = backups.keeper
    assert word in backups.as_postgres(host, "pgbackrest --repo=1 repo-get archive/backups/archive.info")
    assert host.run(f"grep --recursive --quiet {word} {REPOSITORY}").rc == 1
    assert backups.store.run(f"grep --recursive --quiet {word} {OBJECTS}").rc == 1


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_written_comes_back_from_each_repository_alone(backups: Backups, number: int) -> None:
    """One row before the backup, one after it, which is in the WAL alone. The other repository is away meanwhile."""
    backups.sql("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 1 AS row")
    backups.run("backup", f"--repository={number}", "--kind=differential", f"--name=molecule-{number}")
    last = backups.repository(number)["backups"][-1]
    assert (last["kind"], last["name"]) == ("differential", f"molecule-{number}")
    backups.sql("INSERT INTO kept VALUES (2)")
    segment = backups.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait(30, lambda: backups.repository(number)["newest_wal"] >= segment)
    with backups.without({1: 2, 2: 1}[number]), backups.restored(number) as ask:
        # It takes questions before it has read all of the WAL.
        wait(60, lambda: ask("SELECT pg_is_in_recovery()") == "f")
        assert ask("SELECT row FROM kept ORDER BY row").split() == ["1", "2"]


def test_wal_catches_up_where_a_repository_was_away(backups: Backups) -> None:
    segment = backups.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait(90, lambda: all(backups.repository(number)["newest_wal"] >= segment for number in (1, 2)))
