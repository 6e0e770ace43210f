"""What pgBackRest is told; that it does it is proven on hosts."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import Backup
from ansible_collections.gym.platform.plugins.module_utils.postgresql_recovery import RecoveryError
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import Plan
from ansible_collections.gym.platform.plugins.module_utils.restored_server import OWNER, Host, PgBackRest

NOON = datetime.datetime(2030, 1, 31, 12, tzinfo=datetime.UTC)
BACKUP = Backup("20300131-020000F", "full", NOON, NOON, 1, 1, "", False, "000000010000000000000003", 0x3000100)
PLAN = Plan(2, BACKUP, NOON, False, "000000010000000000000006", 1, 0)


class Heard(Host):
    """Remembers what is to be run, and says how it ended."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.words = status, list[str]()

    def run(self, command: Sequence[str], user: str | None = OWNER) -> tuple[int, str, str]:
        self.words = list(command)
        return self.status, "", "ERROR: [028]: checksum\n       does not match\n"


def told(processes: int = 0, archives: bool = False, host: Heard | None = None) -> list[str]:
    host = host or Heard()
    options = {
        "stanza": "gym",
        "configuration": "/etc/other.conf",
        "processes": processes,
        "work_directory": "/work",
        "name": "beside",
    }
    PgBackRest(options, host).restore(PLAN, Path("/data"), archives)
    return host.words


def test_the_server_stops_before_the_moment_and_fetches_from_the_same_repository() -> None:
    words = told()
    assert words[-1] == "restore"
    assert {"--repo=2", "--set=20300131-020000F", "--type=standby", "--pg1-path=/data"} <= set(words)
    assert "--recovery-option=recovery_target_time=2030-01-31 12:00:00+00:00" in words
    (fetch,) = (word for word in words if word.startswith("--recovery-option=restore_command="))
    assert all(word in fetch for word in ("--config=/etc/other.conf", "--repo=2", "--pg1-path=/data", "archive-get %f"))


def test_only_what_is_handed_over_may_archive() -> None:
    assert "--archive-mode=off" in told()
    assert "--archive-mode=preserve" in told(archives=True)


def test_how_many_processes_there_are_is_said_by_pgbackrest_unless_it_is_asked_for() -> None:
    assert not [word for word in told() if "--process-max" in word]
    assert [word for word in told(processes=3) if "--process-max=3" in word]


def test_a_backup_that_cannot_be_restored_is_told_in_one_line() -> None:
    with pytest.raises(RecoveryError, match=r"cannot be restored from repository 2: .* checksum does not match"):
        told(host=Heard(28))
