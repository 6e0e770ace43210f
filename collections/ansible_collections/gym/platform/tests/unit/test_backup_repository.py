"""The program by which backups are made, and told about."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[6] / "roles" / "backup_repository" / "files" / "backup_repository.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backup_repository", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules["backup_repository"] = module
    spec.loader.exec_module(module)
    return module


program: Any = load()
SETTINGS = program.Settings("gym", (1, 2))


def wal(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def backup(repository: int, label: str, kind: str = "full", **more: Any) -> dict[str, Any]:
    return {
        "label": label, "type": kind, "error": False, "database": {"id": 1, "repo-key": repository},
        "info": {"size": 1000, "repository": {"delta": 100, "size": 300}}, "timestamp": {"start": 10, "stop": 20},
        "archive": {"start": wal(1), "stop": wal(2)}, **more,
    }  # fmt: skip


def info(*backups: dict[str, Any], states: Sequence[tuple[int, str]] = ((0, "ok"), (0, "ok"))) -> str:
    stanza = {
        "name": "gym",
        "repo": [{"key": key, "status": {"code": code, "message": message}}
                 for key, (code, message) in enumerate(states, 1)],
        "archive": [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "min": "A", "max": "00000002000000000000000A"},
                    {"database": {"id": 1, "repo-key": 2}, "id": "15-1", "min": None, "max": None}],
        "backup": list(backups),
    }  # fmt: skip
    return json.dumps([stanza])


def test_backups_belong_to_their_repository() -> None:
    first, second = program.parse_info(
        info(backup(1, "a"), backup(2, "b", "diff"), backup(1, "c", "incr", annotation={"name": "before"})), SETTINGS
    )
    assert [(entry.label, entry.kind, entry.name) for entry in first.backups] == [
        ("a", "full", ""),
        ("c", "incremental", "before"),
    ]
    assert [(entry.label, entry.kind) for entry in second.backups] == [("b", "differential")]
    assert (first.backups[0].ended, first.backups[0].size_bytes, first.backups[0].stored_bytes) == (20, 1000, 100)


def test_the_newest_wal_is_told_where_there_is_any() -> None:
    first, second = program.parse_info(info(), SETTINGS)
    assert first.newest_wal == "00000002000000000000000A"
    assert second.newest_wal == ""


@pytest.mark.parametrize(
    ("state", "reachable", "prepared"),
    [((0, "ok"), True, True), ((2, "no valid backups"), True, True), ((1, "missing stanza path"), True, False),
     ((3, "missing stanza data"), True, False), ((99, "[HostConnectError] timeout"), False, False)],
)  # fmt: skip
def test_a_repository_says_in_what_state_it_is(state: tuple[int, str], reachable: bool, prepared: bool) -> None:
    found = program.parse_info(info(states=[(0, "ok"), state]), SETTINGS)[1]
    assert (found.reachable, found.prepared) == (reachable, prepared)
    assert found.problem == ("" if state[0] == 0 else state[1])


def test_a_cluster_that_no_repository_knows_is_not_prepared() -> None:
    assert [entry.prepared for entry in program.parse_info("[]", SETTINGS)] == [False, False]


class Ran:
    """Answers instead of pgBackRest, and remembers what it was asked."""

    def __init__(self, *codes: int, told: str = "") -> None:
        self.codes, self.told, self.commands = list(codes), told, list[list[str]]()

    def __call__(self, command: list[str], **_: Any) -> Any:
        self.commands.append(command)
        return SimpleNamespace(returncode=self.codes.pop(0) if self.codes else 0, stdout=self.told, stderr="")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    answers = Ran()
    monkeypatch.setattr(subprocess, "run", answers)
    monkeypatch.setattr(program, "LOCKS", tmp_path)
    settings = tmp_path / "settings.json"
    settings.write_text('{"cluster": "gym", "repositories": [1, 2]}')
    monkeypatch.setattr(program, "SETTINGS", settings)
    return answers


def words(ran: Ran) -> list[str]:
    return [" ".join(word for word in command if not word.startswith(("--stanza", "--log", "--output", "--io-timeout")))
            for command in ran.commands]  # fmt: skip


def test_a_backup_has_its_kind_its_repository_and_its_name(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(2, "a"), backup(2, "b", "diff", annotation={"name": "before-migration"}))
    assert program.main(["backup", "--repository", "2", "--kind", "differential", "--name", "before-migration"]) == 0
    assert words(ran)[0] == "pgbackrest --repo=2 --type=diff --annotation=name=before-migration backup"
    assert capsys.readouterr().out.splitlines()[-1] == (
        "repository 2: differential backup b named 'before-migration', 0.0 MB of which 0.0 MB had to be stored, 10 s"
    )


def test_what_has_failed_is_said_in_a_sentence(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.codes = [39]
    assert program.main(["backup", "--repository", "1", "--kind", "full"]) == 1
    assert "--type=full backup` ended with 39" in capsys.readouterr().err


def test_a_lock_held_by_hand_is_waited_for(ran: Ran, tmp_path: Path) -> None:
    ran.codes, ran.told = [50, 0], info(backup(1, "a"))
    with (tmp_path / "gym-backup.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = threading.Thread(target=program.main, args=[["backup", "--repository", "1", "--kind", "full"]])
        run.start()
        run.join(0.2)
        assert run.is_alive()
    run.join(5)
    assert words(ran) == ["pgbackrest --repo=1 --type=full backup"] * 2 + ["pgbackrest info"]


def test_a_lock_that_somebody_else_always_has_is_an_error(ran: Ran) -> None:
    ran.codes = [50] * 9
    assert program.main(["backup", "--repository", "1", "--kind", "full"]) == 1
    assert len(ran.commands) == 4


def test_runs_wait_for_each_other(ran: Ran, tmp_path: Path) -> None:
    ran.told = info(backup(1, "a"))
    with program.alone(tmp_path / "gym-run.lock"):
        run = threading.Thread(target=program.main, args=[["backup", "--repository", "1", "--kind", "full"]])
        run.start()
        run.join(0.2)
        assert not ran.commands
    run.join(5)
    assert words(ran)[0] == "pgbackrest --repo=1 --type=full backup"


def test_a_new_repository_is_prepared_and_gets_a_backup(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(1, "a"), states=[(0, "ok"), (1, "missing stanza path")])
    assert program.main(["prepare"]) == 0
    assert words(ran)[1:] == ["pgbackrest stanza-create", "pgbackrest check", "pgbackrest --repo=2 --type=full backup"]
    assert capsys.readouterr().out.count("changed: ") == 2


def test_what_is_prepared_is_left_alone(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(1, "a"), backup(2, "b"))
    assert program.main(["prepare"]) == 0
    assert words(ran) == ["pgbackrest info"]
    assert "changed" not in capsys.readouterr().out


def test_a_repository_that_does_not_answer_is_not_prepared(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(1, "a"), states=[(0, "ok"), (99, "[HostConnectError] timeout")])
    assert program.main(["prepare"]) == 1
    assert "repository 2 does not answer: [HostConnectError] timeout" in capsys.readouterr().err


def test_a_description_is_json(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(1, "a"))
    assert program.main(["describe"]) == 0
    first = json.loads(capsys.readouterr().out)["repositories"][0]
    assert (first["name"], first["reachable"], first["backups"][0]["label"]) == ("1", True, "a")


def verified(*stretches: tuple[str, str], status: str = "ok") -> str:
    lines = [f"P00 DETAIL: archiveId: 15-1, wal start: {first}, wal stop: {last}" for first, last in stretches]
    return "\n".join([*lines, "P00   INFO: stanza: gym", f"            status: {status}", "stanza: gym",
                      f"status: {status}", "  archiveId: 15-1, total WAL checked: 3, total valid WAL: 3"])  # fmt: skip


def test_a_whole_repository_is_judged_whole() -> None:
    program.judge(0, verified((wal(1), wal(256)), (wal(256, 2), wal(300, 2)), (wal(290, 3), wal(310, 3))), wal(2))


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [(0, verified(status="error"), "damaged, or empty"), (29, "ERROR: [029]: lz4 error", "ended with 29: ERROR"),
     (0, verified((wal(1), wal(3)), (wal(5), wal(9))), f"between {wal(3)} and {wal(5)}: what came later"),
     (0, verified((wal(1), wal(255)), (wal(257, 2), wal(300, 2))), f"between {wal(255)} and {wal(257, 2)}")],
)  # fmt: skip
def test_damage_is_told_from_what_the_tool_says(code: int, text: str, reason: str) -> None:
    with pytest.raises(program.DamagedError, match=reason):
        program.judge(code, text, wal(2))


def test_a_hole_before_the_newest_backup_is_no_damage() -> None:
    with pytest.raises(program.HoleError, match="those after the next backup can"):
        program.judge(0, verified((wal(1), wal(3)), (wal(5), wal(9))), wal(6))


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("error", 3)])
def test_a_verification_ends_with_what_it_found(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    said = [info(backup(2, "a")), verified((wal(1), wal(3)), status=status)]
    monkeypatch.setattr(program.Tool, "_ask", lambda *_: (0, said.pop(0)))
    assert program.main(["verify", "--repository", "2"]) == code


def test_a_repository_out_of_reach_is_not_damaged(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    ran.told = info(backup(1, "a"), states=[(0, "ok"), (99, "[HostConnectError] timeout")])
    assert program.main(["verify", "--repository", "2"]) == 1
    assert "repository 2 does not answer" in capsys.readouterr().err
