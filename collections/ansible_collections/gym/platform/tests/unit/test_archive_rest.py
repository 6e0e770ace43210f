"""The program by which a new leader hands over what the old one has not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[6] / "roles" / "backup_repository" / "files" / "archive_rest.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("archive_rest", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


program: Any = load()


def wal(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number:016X}"


def test_what_is_looked_at_is_the_timeline_that_ended() -> None:
    names = [wal(1), wal(2), wal(3), f"{wal(4)}.partial", wal(4, 2), wal(5, 2), "00000002.history", "archive_status"]
    assert program.candidates(names) == [wal(3), wal(2), wal(1)]
    # An older one ended long ago.
    assert program.candidates([wal(1), wal(2, 2), wal(3, 3)]) == [wal(2, 2)]
    # What the old leader wrote beyond the end of its timeline never happened.
    assert program.candidates([wal(3), wal(4), wal(5), wal(4, 2)]) == [wal(3)]
    assert program.candidates([wal(1), wal(2)]) == []


class Repositories:
    """Answers instead of pgBackRest: two repositories, what is in both, and how often a segment is refused."""

    def __init__(self, *known: str, **refused: int) -> None:
        self.known, self.asked = known, list[str]()
        self.refused = {wal(int(number[1:])): times for number, times in refused.items()}
        self.recovering: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> Any:
        if command[0] == "psql":
            return SimpleNamespace(stdout=self.recovering.pop(0) if self.recovering else "f\n")
        name = Path(command[-1]).name
        self.asked.append(name)
        said = "".join(f"WARN: WAL file '{name}' already exists in the repo{number} archive\n" for number in (1, 2))
        self.refused[name] = self.refused.get(name, 0) - 1
        if self.refused[name] >= 0:
            return SimpleNamespace(returncode=104, stdout="unable to acquire lock")
        return SimpleNamespace(returncode=0, stdout=said if name in self.known else "")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (wal(1), wal(2), wal(3), wal(4), wal(5, 2)):
        (tmp_path / name).touch()
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps({"cluster": "gym", "directory": str(tmp_path), "socket_directory": "/run", "repositories": 2})
    )
    monkeypatch.setattr(program, "SETTINGS", settings)
    return tmp_path


def test_a_new_leader_hands_over_until_it_finds_what_is_there(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repositories = Repositories(wal(1), wal(2))
    # Not reachable yet, then still a replica.
    repositories.recovering = ["", "t\n"]
    monkeypatch.setattr(subprocess, "run", repositories)
    monkeypatch.setattr(program.time, "sleep", lambda _: None)
    assert program.main(["on_role_change", "master", "gym"]) == 0
    assert repositories.asked == [wal(4), wal(3), wal(2)]
    assert capsys.readouterr().out.count("handed") == 2


def test_what_is_refused_does_not_hold_up_the_others_and_is_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repositories = Repositories(wal(1), w4=2, w3=1)
    monkeypatch.setattr(subprocess, "run", repositories)
    monkeypatch.setattr(program.time, "sleep", lambda _: None)
    assert program.main(["on_role_change", "primary", "gym"]) == 0
    assert repositories.asked == [wal(4), wal(3), wal(2), wal(1), wal(4), wal(3), wal(4)]
    assert capsys.readouterr().out.count("handed") == 3


def test_what_is_refused_for_too_long_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", Repositories(wal(2), w4=10**6))
    hours = iter(range(10))
    monkeypatch.setattr(program.time, "monotonic", lambda: 3600.0 * next(hours))
    monkeypatch.setattr(program.time, "sleep", lambda _: None)
    assert program.main(["on_role_change", "primary", "gym"]) == 1
    assert f"{wal(4)} could not be handed over everywhere: unable to acquire lock" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["on_role_change", "replica", "gym"], ["on_start"], []])
def test_others_have_nothing_to_hand_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    repositories = Repositories()
    monkeypatch.setattr(subprocess, "run", repositories)
    assert program.main(arguments) == 0
    assert not repositories.asked
