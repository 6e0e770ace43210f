"""The program that copies directories."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[6] / "roles" / "backup_schedule" / "files" / "backup_copy.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backup_copy", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules["backup_copy"] = module
    spec.loader.exec_module(module)
    return module


program: Any = load()
# In restic's own words; it asks the same question in all cases.
QUESTION = "\nIs there a repository at the following location?\ns3:x"
MISSING = f"Fatal: unable to open config file: Stat: The specified key does not exist.{QUESTION}"
AWAY = (
    'Fatal: unable to open config file: Stat: Head "https://x/config": dial tcp 10.0.0.1:9000: connect: connection '
    f"refused{QUESTION}"
)
SNAPSHOT = {"id": "aa11", "short_id": "aa", "time": "2026-11-26T17:00:00.123456789Z"}


class Answers:
    """Answers instead of restic, by verb, and remembers what was asked."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.environment: dict[str, str] = {}
        self.said: dict[str, str] = {"snapshots": json.dumps([SNAPSHOT]), "stats": '{"total_size": 77}'}
        self.failing: dict[str, str] = {}

    def __call__(self, command: list[str], **options: Any) -> Any:
        words = [word for word in command[1:] if word not in ("--cacert", "/ca.pem", "--cache-dir", str(program.CACHE))]
        self.commands.append([command[0], *words])
        self.environment = options.get("env") or {}
        verb = words[0] if words else command[0]
        problem = self.failing.get(verb)
        return SimpleNamespace(returncode=1 if problem else 0, stdout=self.said.get(verb, ""), stderr=problem or "")

    @property
    def verbs(self) -> list[str]:
        return [command[1] if len(command) > 1 else command[0] for command in self.commands]


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    (tmp_path / "data-1").mkdir()
    copies = [{"name": "data", "paths": [f"{tmp_path}/data-*"]},
              {"name": "gone", "paths": [f"{tmp_path}/nothing"]},
              {"name": "saved", "paths": [f"{tmp_path}/data-1"], "prepare": ["save-it"]}]  # fmt: skip
    settings = {"host": "cache-1", "store": "s3:x/copies", "certificate_authority": "/ca.pem", "retention_days": 30,
                "environment": {"RESTIC_PASSWORD": "secret"}, "copies": copies}  # fmt: skip
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    monkeypatch.setattr(program, "SETTINGS", path)
    monkeypatch.setattr(program, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(subprocess, "run", answers)
    return answers


def test_a_copy_goes_to_its_own_repository_and_old_ones_are_forgotten(restic: Answers, tmp_path: Path) -> None:
    assert program.main(["backup", "data"]) == 0
    assert restic.environment["RESTIC_REPOSITORY"] == "s3:x/copies/data/cache-1"
    assert restic.environment["RESTIC_PASSWORD"] == "secret"
    assert restic.verbs == ["unlock", "backup", "forget"]
    assert restic.commands[1][-1] == f"{tmp_path}/data-1"
    assert restic.commands[2][-2:] == ["--keep-within-hourly=2d", "--keep-within-daily=30d"]


def test_what_has_to_be_written_first_is(restic: Answers) -> None:
    assert program.main(["backup", "saved"]) == 0
    assert restic.verbs == ["save-it", "unlock", "backup", "forget"]


def test_what_is_not_fit_to_be_copied_is_not_copied(restic: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    restic.failing["save-it"] = "no"
    assert program.main(["backup", "saved"]) == 1
    assert restic.verbs == ["save-it"]
    assert "'saved' is not fit to be copied" in capsys.readouterr().err


def test_a_path_that_is_gone_is_an_error(restic: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["backup", "gone"]) == 1
    assert "backup" not in restic.verbs
    assert "which the copy 'gone' is of" in capsys.readouterr().err


def test_a_repository_that_vanished_is_not_made_anew(restic: Answers) -> None:
    restic.failing["unlock"] = MISSING
    assert program.main(["backup", "data"]) == 1
    assert "init" not in restic.verbs


def test_preparing_makes_what_is_missing(restic: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    restic.failing["snapshots"] = MISSING
    assert program.main(["prepare"]) == 0
    assert restic.verbs.count("init") == 3
    # There is nothing of the second one yet.
    assert restic.verbs.count("backup") == 2
    said = capsys.readouterr().out
    assert said.count("changed: ") == 5
    assert "The timer makes the first copy." in said


def test_preparing_leaves_alone_what_is_there(restic: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["prepare"]) == 0
    assert set(restic.verbs) == {"snapshots"}
    assert "changed" not in capsys.readouterr().out


@pytest.mark.parametrize("said", [AWAY, f"Fatal: unable to open config file: Stat: Access Denied.{QUESTION}"])
def test_preparing_does_not_take_a_store_that_is_away_for_an_empty_one(
    restic: Answers, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    restic.failing["snapshots"] = said
    assert program.main(["prepare"]) == 5
    assert "init" not in restic.verbs
    assert capsys.readouterr().err.count(said.splitlines()[0]) == 3


@pytest.mark.parametrize(("said", "reachable"), [(AWAY, False), (MISSING, True)])
def test_what_is_away_and_what_is_missing_are_told_apart(
    restic: Answers, capsys: pytest.CaptureFixture[str], said: str, reachable: bool
) -> None:
    restic.failing["snapshots"] = said
    assert program.main(["describe", "data"]) == 0
    (repository,) = json.loads(capsys.readouterr().out)["repositories"]
    assert (repository["reachable"], repository["prepared"], repository["backups"]) == (reachable, False, [])


def test_a_verification_reads_everything(restic: Answers) -> None:
    assert program.main(["verify", "data"]) == 0
    assert restic.verbs == ["snapshots", "unlock", "prune", "check"]
    assert "--read-data" in restic.commands[-1]


def test_damage_is_told_from_a_store_that_is_away(restic: Answers) -> None:
    restic.failing["check"] = "Fatal: repository contains errors"
    assert program.main(["verify", "data"]) == 3
    restic.failing["snapshots"] = AWAY
    assert program.main(["verify", "data"]) == 5


def test_a_copy_is_laid_down_also_on_the_machine_that_replaces_the_one_that_made_it(restic: Answers) -> None:
    assert program.main(["restore", "data", "--target", "/x", "--host", "cache-0"]) == 0
    assert restic.environment["RESTIC_REPOSITORY"] == "s3:x/copies/data/cache-0"
    assert restic.commands == [["restic", "restore", "--no-lock", "--target", "/x", "latest"]]


def described(capsys: pytest.CaptureFixture[str]) -> Any:
    assert program.main(["describe", "data"]) == 0
    return json.loads(capsys.readouterr().out)["repositories"][0]


def test_a_repository_is_described(restic: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = {**SNAPSHOT, "short_id": "bb", "time": "2026-11-26T17:00:00+01:00"}
    restic.said["snapshots"] = json.dumps([SNAPSHOT, earlier])
    found = described(capsys)
    assert [(entry["label"], entry["ended"], entry["size_bytes"]) for entry in found["backups"]] == [
        ("bb", 1795708800, 0),
        ("aa", 1795712400, 77),
    ]


@pytest.mark.parametrize(("problem", "reachable"), [(MISSING, True), ("Fatal: dial tcp", False)])
def test_one_that_is_missing_is_empty_and_one_that_is_away_is_away(
    restic: Answers, capsys: pytest.CaptureFixture[str], problem: str, reachable: bool
) -> None:
    restic.failing["snapshots"] = problem
    found = described(capsys)
    assert (found["reachable"], found["backups"]) == (reachable, [])
