"""The database comes back out of its backups as a person asks for it, and what must not be is refused.

What is restored beside stands on a port of its own, and is removed again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.client import Load
from tests.end_to_end.platform_access import leader, on_host, open_gym, sql
from tests.proofs.playbook_runs import Outcome, playbook, run

NAME, PORT = "proof", 5438
# The gym that is harmed and restored; kiosks of the other one check in meanwhile.
HARM = """
    update gym.members set name = 'nobody' where tenant_id in (select id from gym.tenants where slug = 'south-gym');
    delete from gym.staff where tenant_id in (select id from gym.tenants where slug = 'south-gym');
"""
LOOK = """
    select count(*), md5(string_agg(t::text, ',' order by t::text)) from gym.{} t
    where tenant_id in (select id from gym.tenants where slug = 'south-gym')
"""
TABLES = ("members", "check_ins", "kiosks", "staff")
PER_SECOND = 10.0
AT_MOST_SECONDS = 600.0
IN_PLACE = "restore_place=in_place"


def restore(*options: str) -> Outcome:
    """Restore as a person does."""
    given = [part for option in (f"restore_name={NAME}", f"restore_port={PORT}", *options) for part in ("-e", option)]
    return run(playbook("restore", *given))


def moment() -> str:
    """Return a moment behind which everything committed so far lies."""
    return sql(leader(), "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")


def rows() -> list[str]:
    """Return how many rows of the gym there are in each table, and a sum of what is in them."""
    return [sql(leader(), LOOK.format(table)) for table in TABLES]


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Remove what was restored beside."""
    yield
    assert restore("restore_state=absent").code == 0
    assert on_host("backup-1", "systemctl", "is-active", f"database-restore@{NAME}", check=False) != "active"


@pytest.mark.usefixtures("nothing_is_left")
def test_one_gym_comes_back_alone_while_the_others_write() -> None:
    gym = open_gym()
    before, at = rows(), moment()
    sql(leader(), HARM)
    assert rows() != before
    load = Load(gym.client, gym.kiosk, gym.members, PER_SECOND)
    with load.running(AT_MOST_SECONDS):
        outcome = restore("restore_tenant=south-gym", f"restore_to={at}")
    assert outcome.code == 0, outcome.text[-3000:]
    assert rows() == before
    gym.check(load.journal)
    assert len(load.acknowledged) == len(load.journal) > 50
    assert load.failed_attempts == 0, "nobody else notices"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([IN_PLACE], "restore_confirm=development"),
        ([IN_PLACE, "restore_confirm=production"], "restore_confirm=development"),
        (["restore_to=2000-01-01T00:00:00Z"], "oldest"),
        (["restore_to=2100-01-01T00:00:00Z"], "future"),
        (["restore_to=yesterday"], "yesterday"),
        (["restore_tenant=west-gym"], "west-gym"),
    ],
    ids=["unconfirmed", "confirmed for another", "before the oldest", "in the future", "no moment", "no such gym"],
)
def test_what_cannot_be_is_refused_and_nothing_is_touched(options: list[str], reason: str) -> None:
    serving = leader()
    outcome = restore(*options)
    assert outcome.code != 0
    assert reason in " ".join(outcome.failures), outcome.text[-3000:]
    assert leader() == serving
    restore("restore_state=absent")
