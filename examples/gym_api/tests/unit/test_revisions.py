"""The two branches: what a release applies before the switch never drags a contract along."""

import json
from pathlib import Path

import pytest

from gym_api.__main__ import main
from gym_api.migrate import is_contract, scripts

REVISIONS = sorted(script.revision for script in scripts().walk_revisions() if script.revision != "0001")


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_s_id_tells_its_branch(revision: str) -> None:
    """An older release, which has no file of it, goes by the id alone."""
    assert scripts().get_revision(revision).branch_labels == {revision.rpartition("_")[2]}


def test_an_expansion_stands_on_expansions_alone() -> None:
    below = {script.revision for script in scripts().iterate_revisions("expand@head", "base")}
    assert "0001" in below
    assert not any(map(is_contract, below))


def test_each_branch_has_one_head() -> None:
    assert sorted(head.rpartition("_")[2] for head in scripts().get_heads()) == ["contract", "expand"]


def test_a_failing_expansion_is_a_drill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_api.logs.configure", lambda: None)  # the logs of this process are pytest's
    monkeypatch.setenv("FAULT_MIGRATE", "fail")
    assert main(["migrate", "--phase", "expand"]) == 2
    assert capsys.readouterr().err == "gym_api migrate: FAULT_MIGRATE is 'fail'; nothing was migrated.\n"


def test_every_revision_is_rendered_for_the_linter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--render", str(tmp_path)]) == 0
    rendered = json.loads(capsys.readouterr().out)["rendered"]
    assert len(rendered) == len(REVISIONS) + 1
    assert "set not null" in (tmp_path / "contract/0002_contract_day.sql").read_text()
    assert (tmp_path / "expand/0001_gyms.sql").read_text().startswith("set lock_timeout")
