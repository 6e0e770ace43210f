"""What Prometheus is told about backups."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[6] / "roles" / "backup_schedule" / "files" / "backup_metrics.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backup_metrics", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules["backup_metrics"] = module
    spec.loader.exec_module(module)
    return module


program: Any = load()
SEGMENTS = [f"0000000100000000000000{number:02X}" for number in range(256)]


def job(kind: str, repository: str = "1") -> Any:
    return program.Job(f"{kind}-{repository}", repository, kind, 5400, "database", ("describe",))


def backup(kind: str, ended: int) -> dict[str, Any]:
    return {"kind": kind, "ended": ended, "size_bytes": 1000 + ended, "stored_bytes": ended}


def repository(*backups: dict[str, Any], name: str = "1", reachable: bool = True) -> dict[str, Any]:
    return {"name": name, "reachable": reachable, "backups": list(backups), "newest_wal": SEGMENTS[5]}


def told(samples: Any) -> dict[str, float]:
    lines = [line for line in program.render(samples).splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


JOBS = [job("full"), job("differential"), job("verify"), job("full", "2")]


def test_ages_and_sizes_are_those_of_what_is_there() -> None:
    samples = told(program.repository_samples(repository(backup("full", 10), backup("differential", 20)), JOBS))
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="full"}'] == 10
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="differential"}'] == 20
    assert samples['gym_backup_size_bytes{repository="1",kind="full"}'] == 1010
    assert samples['gym_backup_stored_bytes{repository="1",kind="differential"}'] == 20
    assert samples['gym_backup_maximum_age_seconds{repository="1",kind="full"}'] == 5400
    assert samples['gym_backup_oldest_timestamp_seconds{repository="1"}'] == 10
    assert samples['gym_backup_count{repository="1"}'] == 2
    assert not [name for name in samples if 'repository="2"' in name or "verify" in name]


def test_a_full_backup_is_as_good_as_a_differential_one_and_not_the_other_way() -> None:
    samples = told(program.repository_samples(repository(backup("differential", 20)), JOBS))
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="full"}'] == 0
    samples = told(program.repository_samples(repository(backup("full", 30), backup("incremental", 20)), JOBS))
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="differential"}'] == 30


def test_a_repository_that_was_emptied_has_never_had_a_backup() -> None:
    samples = told(program.repository_samples(repository(), JOBS))
    assert samples['gym_backup_count{repository="1"}'] == 0
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="full"}'] == 0
    assert not [name for name in samples if "oldest" in name or "size" in name]


def test_of_a_repository_out_of_reach_nothing_else_is_told() -> None:
    assert told(program.repository_samples(repository(backup("full", 1), reachable=False), JOBS)) == {
        'gym_backup_repository_reachable{repository="1"}': 0
    }


@pytest.mark.parametrize(
    ("archived", "lag"),
    # The primary writes segment 8, has finished 6 and 7, and keeps 9 for later.
    [(SEGMENTS[7], 0), (SEGMENTS[6], 20), (SEGMENTS[5], 70), ("", 90), (SEGMENTS[12], 0)],
)
def test_wal_lags_by_the_oldest_segment_that_waits(archived: str, lag: float) -> None:
    ages = {SEGMENTS[4]: 90, SEGMENTS[6]: 70, SEGMENTS[7]: 20, SEGMENTS[8]: 1, SEGMENTS[9]: 500}
    rows = "\n".join(f"{name}|{age}|{SEGMENTS[8]}" for name, age in ages.items())
    assert program.Wal.parse(rows + f"\n00000002.history.........|7|{SEGMENTS[8]}\n").lag(archived) == lag


def test_a_new_timeline_comes_after_the_old_one() -> None:
    new = "000000020000000000000005"
    assert program.Wal({new: 9}, "000000020000000000000006").lag(SEGMENTS[8]) == 9


def test_a_run_that_ended_well_is_told() -> None:
    samples = told(program.run_samples(job("full"), "success", "0", ""))
    assert samples['gym_backup_run_success{repository="1",kind="full"}'] == 1
    assert not [name for name in samples if "verified" in name or "last_success" in name]


@pytest.mark.parametrize(("status", "complete"), [("0", 1), ("4", 0)])
def test_a_verification_tells_of_backups_and_of_moments(status: str, complete: float) -> None:
    samples = told(program.run_samples(job("verify"), "success", status, ""))
    assert samples['gym_backup_verified{repository="1"}'] == 1
    assert samples['gym_backup_wal_complete{repository="1"}'] == complete
    assert samples['gym_backup_last_success_timestamp_seconds{repository="1",kind="verify"}'] > 1e9


def test_damage_is_told_and_a_store_that_is_away_is_no_damage() -> None:
    before = program.render(program.run_samples(job("verify"), "success", "0", ""))
    at = told(program.run_samples(job("verify"), "exit-code", "5", before))
    assert at['gym_backup_run_success{repository="1",kind="verify"}'] == 0
    assert at['gym_backup_verified{repository="1"}'] == 1
    assert at['gym_backup_last_success_timestamp_seconds{repository="1",kind="verify"}'] > 1e9
    damaged = program.run_samples(job("verify"), "exit-code", "3", before)
    assert told(damaged)['gym_backup_verified{repository="1"}'] == 0
    # It stays damaged for as long as nobody has seen it whole.
    away = told(program.run_samples(job("verify"), "timeout", "", program.render(damaged)))
    assert away['gym_backup_verified{repository="1"}'] == 0


def test_each_metric_is_one_block_with_its_help() -> None:
    text = program.render(program.repository_samples(repository(backup("full", 1795712585)), JOBS))
    assert text.count("# TYPE gym_backup_count gauge") == 1
    assert 'kind="full"} 1795712585\n' in text
    assert all(line.split()[2] in program.HELP for line in text.splitlines() if line.startswith("# HELP"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    described = json.dumps({"repositories": [repository(backup("full", 10), name="copy")]})
    record = {"name": "copy-a", "repository": "copy", "kind": "copy", "maximum_age_seconds": 9, "source": "a",
              "describe": ["printf", "%s", described], "time": "hourly", "command": ["x"], "user": "root"}  # fmt: skip
    settings = {"directory": str(tmp_path), "jobs": [record], "primary": "", "password_file": "/x",
                "maximum_lag_seconds": 300}  # fmt: skip
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    monkeypatch.setattr(program, "SETTINGS", path)
    return tmp_path


def test_a_failed_run_is_a_metric_and_a_line_of_the_journal(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE_RESULT", "exit-code")
    monkeypatch.setenv("EXIT_STATUS", "1")
    assert program.main(["ended", "copy-a"]) == 0
    assert capsys.readouterr().out.startswith("<2>backup job copy-a failed: exit-code, status 1")
    run, source = place / "backup_job_copy-a.prom", place / "backup_a.prom"
    assert 'gym_backup_run_success{repository="copy",kind="copy"} 0\n' in run.read_text()
    assert 'gym_backup_count{repository="copy"} 1\n' in source.read_text()
    # Asked or not, a database has WAL and a directory has none.
    assert "wal" not in source.read_text()
    assert run.stat().st_mode & 0o777 == 0o644
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".prom", ".prom"]


def test_a_program_that_cannot_describe_leaves_the_old_file(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["refresh", "a"]) == 0
    before = (place / "backup_a.prom").read_text()
    settings = json.loads(program.SETTINGS.read_text())
    settings["jobs"][0]["describe"] = ["sh", "-c", "echo broken >&2; exit 7"]
    program.SETTINGS.write_text(json.dumps(settings))
    assert program.main(["refresh", "a"]) == 1
    assert "ended with 7: broken" in capsys.readouterr().err
    assert (place / "backup_a.prom").read_text() == before
