"""What a drill has done is noted before it is done, and taken back by whoever comes next when its run was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.action.drill_killed import told
from ansible_collections.gym.platform.plugins.action.drill_step import taken_back
from ansible_collections.gym.platform.plugins.module_utils import drill_book
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Book, BookError, killed
from ansible_collections.gym.platform.plugins.module_utils.drill_note import Note, Process, Undo, parse
from ansible_collections.gym.platform.plugins.module_utils.processes import group_of

START = Undo("systemctl start patroni", "db-1")
# A drill that breaks something and waits for ever, and whoever comes next.
DRILL = """
- name: Drill
  hosts: localhost
  gather_facts: false
  module_defaults:
    gym.platform.drill_step: {{drill: "{stem}"}}
  tasks:
    - name: Break it
      gym.platform.drill_step: {{run: "touch broken", undo: "rm -f broken", directory: "{directory}"}}
    - name: Wait
      gym.platform.drill_step: {{run: "sleep 600 & echo $! > {directory}/child; wait"}}
"""
NEXT = """
- name: Next
  hosts: localhost
  gather_facts: false
  module_defaults:
    gym.platform.drill_step: {{drill: "{{{{ __dr_drill_book }}}}"}}
  tasks:
    - name: Look for drills that were killed
      gym.platform.drill_killed: {{reports: "{reports}"}}
      register: found
    - name: End them
      ansible.builtin.include_tasks: {role}/tasks/undo.yml
      loop: "{{{{ found.drills }}}}"
      vars: {{__dr_drill_book: "{{{{ item.drill }}}}"}}
"""


def wait(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def gone() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "development" / "dr_drill" / "20260101T000000Z")


def test_a_note_is_read_as_it_was_written() -> None:
    run = Process.of(os.getpid())
    for note in (Note("failover", run), Note("failover", run, run, "Kill the leader", START)):
        assert parse(note.text()) == note
    with pytest.raises(ValueError, match="no note of a drill"):
        parse('{"pid": 1}')


def test_what_is_done_is_noted_until_it_is_taken_back(book: Book) -> None:
    assert book.note is None
    book.begin("Look", os.getpid(), START)
    assert book.note is None, "of what is no drill, nothing is noted"
    book.open("failover", os.getpid())
    book.begin("Kill the leader", os.getpid(), START)
    book.begin("See who leads now", os.getpid())
    assert book.note
    assert (book.note.scenario, book.note.step, book.note.undo) == ("failover", "See who leads now", START)
    book.close()
    assert book.note, "what is not taken back stays noted"
    book.undone()
    assert book.note.undo is None
    book.close()
    assert book.note is None
    assert list(book.stem.parent.iterdir()) == []


def test_a_drill_is_killed_when_its_run_has_ended_and_its_book_is_open(book: Book, gone: int) -> None:
    reports = book.stem.parent.parent
    book.open("failover", os.getpid())
    assert killed(reports) == []
    other = Book(reports / "dr_drill" / "20260101T000001Z")
    assert other.another() == "dr_drill of 20260101T000000Z", "whatever its clients do"
    book.open("failover", gone)
    assert [one.stem for one in killed(reports)] == [book.stem]
    assert other.another() == ""
    assert killed(reports.with_name("staging")) == []


def test_the_step_that_outlives_its_run_is_ended_with_all_that_it_has_started(book: Book, gone: int) -> None:
    book.open("restore", gone)
    with subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True) as step:
        wait(lambda: len(group_of(step.pid)) == 2)
        book.begin("Restore", step.pid)
        book.end_step()
        assert group_of(step.pid) == []
    book.end_step()


def test_a_step_that_cannot_be_ended_is_named(book: Book, gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_book, "END_SECONDS", 0.3)
    book.open("restore", gone)
    command = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as step:
        assert step.stdout
        step.stdout.readline()
        book.begin("Restore", step.pid)
        with pytest.raises(BookError, match=f"the step 'Restore' .* goes on as process {step.pid}"):
            book.end_step()
        os.killpg(step.pid, signal.SIGKILL)


def test_a_process_with_the_number_of_a_step_is_left_alone(book: Book, gone: int) -> None:
    book.open("restore", gone)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as innocent:
        book.begin("Restore", innocent.pid)
        text = json.loads(next(book.stem.parent.glob("*.open.json")).read_text())
        text["worker"]["started_at"] = "1"
        next(book.stem.parent.glob("*.open.json")).write_text(json.dumps(text))
        book.end_step()
        assert innocent.poll() is None
        innocent.kill()


def test_it_is_said_what_was_killed_and_what_was_taken_back(book: Book) -> None:
    assert told(book, "failover", "")["said"] == (
        "The drill failover of 20260101T000000Z was killed before its first step."
    )
    known = told(book, "failover", "Kill the leader")
    assert known["said"] == "The drill failover of 20260101T000000Z was killed in the step 'Kill the leader'."
    assert not known["judged"]
    book.stem.parent.mkdir(parents=True)
    book.stem.with_name(f"{book.stem.name}.json").write_text("{}")
    assert told(book, "failover", "Kill the leader")["judged"]
    assert taken_back("start it", "db-1", "") == "`start it` on db-1 has taken back what it had done."
    assert "`start it` on db-1 did not take back what it had done, and the next drill tries again: it ended with 1" in (
        taken_back("start it", "db-1", "it ended with 1")
    )


def playbook(directory: Path, text: str) -> subprocess.Popen[str]:
    path = directory / f"{len(list(directory.glob('*.yml')))}.yml"
    role = Path(__file__).parents[2] / "roles/dr_drill"
    reports = directory / "development"
    path.write_text(text.format(stem=reports / "dr_drill/1Z", directory=directory, reports=reports, role=role))
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(Path(__file__).parents[5]),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(path)]
    return subprocess.Popen(command, env=environment, cwd=directory, stdout=subprocess.PIPE, text=True)


def test_what_a_drill_has_broken_when_it_is_killed_is_whole_again_after_the_next_one(tmp_path: Path) -> None:
    book = Book(tmp_path / "development/dr_drill/1Z")
    with playbook(tmp_path, DRILL) as drill:
        # As drill_journal does when a drill begins.
        book.open("failover", drill.pid)
        wait((tmp_path / "child").exists)
        assert book.note
        assert book.note.undo == Undo("rm -f broken", "localhost", str(tmp_path))
        assert (tmp_path / "broken").exists()
        drill.kill()
    worker = book.note.worker
    assert worker
    assert worker.runs, "a worker outlives its run"
    with playbook(tmp_path, NEXT) as after:
        said, _ = after.communicate()
    assert after.returncode == 0, said
    assert not (tmp_path / "broken").exists()
    assert not worker.runs
    assert group_of(worker.pid) == [], "and with it what it had started"
    assert book.note
    assert book.note.undo is None
    assert [step.name for step in book.steps()] == ["Break it"], "what others do is no step of the drill"
