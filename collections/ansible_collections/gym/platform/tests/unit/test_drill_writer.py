"""What clients were told is written down as it was, whatever happens to them, to the run, or to the process itself."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Book, BookError, Step
from ansible_collections.gym.platform.plugins.module_utils.drill_clients import NotAcknowledgedError
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, Journal, Marker, attempts
from ansible_collections.gym.platform.plugins.module_utils.drill_writer import Schedule, Writers, steady_clock

TENANTS = ["north-gym", "south-gym"]


def wait(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Answering:
    """A client whose answers the test chooses."""

    def __init__(self, answer: Callable[[Marker], None]) -> None:
        self.answer, self.closed = answer, False

    def write(self, marker: Marker) -> None:
        self.answer(marker)

    def close(self) -> None:
        self.closed = True


def refuse(_: Marker) -> None:
    raise NotAcknowledgedError("the server is starting up")


def writing(path: Path, *answers: Callable[[Marker], None], interval: float = 0.005) -> tuple[Writers, list[Answering]]:
    clock = steady_clock()
    clients = [Answering(answer) for answer in answers]
    return Writers(clients, Schedule(TENANTS, interval, clock), Journal(path).write, clock), clients


def test_every_attempt_is_written_down_with_what_its_client_was_told(tmp_path: Path) -> None:
    sent: list[Marker] = []
    writers, clients = writing(tmp_path / "journal", sent.append, refuse, sent.append)
    writers.start()
    wait(lambda: len(attempts(tmp_path / "journal")) > 100)
    writers.stop(5)
    written = attempts(tmp_path / "journal")
    assert {one.marker for one in written if one.acknowledged} == set(sent)
    assert {one.error for one in written} == {"", "the server is starting up"}
    assert len({one.number for one in written}) == len(written)
    assert {one.tenant for one in written} == set(TENANTS)
    assert all(client.closed for client in clients)
    assert all(abs(one.ended - time.time()) < 60 and one.begun <= one.ended for one in written)


def test_a_client_that_is_not_answered_keeps_no_other_waiting_and_is_told_of(tmp_path: Path) -> None:
    answer = threading.Event()
    sent: list[Marker] = []
    writers, _ = writing(tmp_path / "journal", lambda _: answer.wait() and None, sent.append)
    writers.start()
    wait(lambda: len(sent) > 50)
    writers.stop(0.1)
    answer.set()
    hanging = [one for one in attempts(tmp_path / "journal") if one.error]
    assert [one.error for one in hanging] == ["no answer until the end"]


def test_markers_that_were_missed_are_not_made_up_for() -> None:
    now = [0.0]
    schedule = Schedule(TENANTS, 0.1, lambda: now[0])
    assert [round(schedule.take()[1], 1) for _ in range(3)] == [0.1, 0.2, 0.3]
    now[0] = 60.0
    assert [round(schedule.take()[1], 1) for _ in range(3)] == [60.0, 60.1, 60.2]


def test_a_journal_is_never_begun_twice(tmp_path: Path) -> None:
    Journal(tmp_path / "journal")
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "journal")


def test_a_line_that_is_half_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    one = Attempt(1, "north-gym", "a", 1.0, 1.1)
    Journal(path).write(one)
    with path.open("a") as file:
        file.write('{"number": 2, "ten')
    assert attempts(path) == [one]


def options(port: int = 1) -> dict[str, Any]:
    place = {"addresses": ["127.0.0.1"], "port": port, "hostname": "database.gym.internal", "name": "gym",
             "authority": "/nowhere/ca.pem"}  # fmt: skip
    database = {"place": place, "user": "gym_app", "password": "planted-password"}
    return {"database": database, "rows": True, "tenants": TENANTS, "clients": 2, "interval_seconds": 0.01,
            "at_most_seconds": 60}  # fmt: skip


def test_the_process_writes_down_failures_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    book = Book(tmp_path / "reports" / "20260101T000000Z")
    book.start(options(), os.getpid())
    wait(lambda: len(book.attempts()) > 5)
    with pytest.raises(BookError, match="being written for 20260101T000000Z already"):
        book.start(options(), os.getpid())
    process = int(json.loads(next(book.stem.parent.glob("*.writer.json")).read_text())["pid"])
    shown = Path(f"/proc/{process}/cmdline").read_text() + Path(f"/proc/{process}/environ").read_text()
    assert "planted-password" not in shown
    book.stop()
    assert not book.writes()
    assert all("OperationalError" in one.error for one in book.attempts())
    # Nothing but evidence is left.
    assert [path.name for path in book.stem.parent.iterdir()] == ["20260101T000000Z.journal.jsonl"]
    book.stop()


def test_a_drill_knows_of_another_one_of_its_environment_while_that_runs(tmp_path: Path) -> None:
    first = Book(tmp_path / "development" / "switchover" / "20260101T000000Z")
    second = Book(tmp_path / "development" / "dr_drill" / "20260101T000001Z")
    elsewhere = Book(tmp_path / "staging" / "dr_drill" / "20260101T000001Z")
    first.start(options(), os.getpid())
    assert (first.another(), elsewhere.another()) == ("", "")
    assert second.another() == "switchover of 20260101T000000Z"
    first.stop()
    assert second.another() == ""


def test_the_process_ends_with_the_run_that_started_it(tmp_path: Path) -> None:
    book = Book(tmp_path / "drill")
    with subprocess.Popen(["sleep", "60"]) as run:
        book.start(options(), run.pid)
        wait(lambda: book.attempts())
        run.kill()
    wait(lambda: not book.writes())


def test_a_writer_that_dies_at_once_says_why(tmp_path: Path) -> None:
    book = Book(tmp_path / "drill")
    book.start({**options(), "database": {"place": {}, "user": "u", "password": "p"}}, os.getpid())
    wait(lambda: not book.writes())
    assert "TypeError" in book.said()


def test_steps_are_remembered_in_order(tmp_path: Path) -> None:
    book = Book(tmp_path / "reports" / "drill")
    assert book.steps() == []
    told = [Step("Kill", "db-1", "kill", 1.0, 2.0, disaster=True), Step("Look", "db-2", "list", 2.0, 3.0, "too late")]
    for step in told:
        book.add(step)
    assert book.steps() == told
