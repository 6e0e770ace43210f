"""What pgBackRest is told; that it does it is proven on hosts."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.pgbackrest_info import Backup, Repository
from ansible_collections.gym.platform.plugins.module_utils.postgresql_recovery import RecoveryError
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import Plan, Request
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


class Archive(Host):
    """Has the histories of some timelines, and fails as pgBackRest 2.45 does for a file that is not there."""

    def __init__(self, **histories: str) -> None:
        self.histories = {f"{name}.history": text for name, text in histories.items()}

    def run(self, command: Sequence[str], user: str | None = OWNER) -> tuple[int, str, str]:
        if "repo-ls" in command:
            return 0, json.dumps({name: {"type": "file", "time": 1} for name in self.histories}), ""
        text = self.histories.get(Path(command[-1]).name)
        return (1, "", "") if text is None else (0, text, "")


def tool(host: Host, processes: int = 0) -> PgBackRest:
    options = {
        "stanza": "gym",
        "configuration": "/etc/other.conf",
        "processes": processes,
        "work_directory": "/work",
        "name": "beside",
    }
    return PgBackRest(options, host)


def told(processes: int = 0, archives: bool = False, host: Heard | None = None) -> list[str]:
    host = host or Heard()
    tool(host, processes).restore(PLAN, Path("/data"), archives)
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


def test_a_timeline_is_told_where_it_came_from() -> None:
    repository = Repository(1, "", (BACKUP,), "000000020000000000000006", "archive/gym/15-1")
    (fork,) = tool(Archive(**{"00000002": "1\t0/4000000\tno recovery target specified\n"})).with_history(
        repository, Request(to="latest")
    ).forks  # fmt: skip
    assert (fork.timeline, fork.position) == (1, 0x4000000)


def test_an_archive_that_began_on_a_later_timeline_has_no_history_and_is_good_for_a_backup_of_it() -> None:
    """As after a gap, in which another node took the lead and nothing was archived."""
    backup = Backup("20300131-020000F", "full", NOON, NOON, 1, 1, "", False, "000000020000000000000003", 0x3000100)
    repository = Repository(1, "", (backup,), "000000020000000000000006", "archive/gym/15-1")
    assert tool(Archive()).with_history(repository, Request(to="latest")) == repository
    # By its number PostgreSQL would ask for the history of the timeline.
    assert Plan(1, backup, None, True, "", 2, 0).recovery_options() == {"recovery_target_timeline": "current"}
