"""Both pipelines do the same, in the same order, by what this repository has; nothing in them can change unseen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROOT, described, load

WORKFLOWS = [load(ROOT / ".github/workflows" / name) for name in ("pipeline.yml", "drill.yml")]
GITHUB = {name: job for workflow in WORKFLOWS for name, job in workflow["jobs"].items()}
GITLAB = load(ROOT / ".gitlab-ci.yml")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# What prepares a job is particular to each pipeline.
PREPARES = ("apt-get ", "git config ")
KEYWORDS = ("workflow", "stages", "variables", "default")
SCHEDULED = {"if": '$CI_PIPELINE_SOURCE == "schedule"'}


def jobs() -> dict[str, dict[str, Any]]:
    """List GitLab's jobs; what begins with a dot is only extended."""
    return {name: job for name, job in GITLAB.items() if name not in KEYWORDS and not name.startswith(".")}


def of_github(job: Mapping[str, Any]) -> list[str]:
    """List the commands of a job."""
    return [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith(PREPARES)]


def of_gitlab(job: Mapping[str, Any]) -> list[str]:
    """List the commands of a job, without the roles that they are given."""
    return [re.sub(r"^AWS_ROLE_ARN=\S+ ", "", command) for command in job["script"]]


def rules(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List when a job of GitLab runs."""
    found: list[dict[str, Any]] = (job if "rules" in job else GITLAB[job["extends"]])["rules"]
    return found


def before_on_github(name: str) -> set[str]:
    """List the jobs that have to be done before."""
    needs = GITHUB[name].get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return set(needs).union(*(before_on_github(need) for need in needs))


def before_on_gitlab(name: str) -> set[str]:
    """List the jobs of the stages before, in the pipelines of which it is."""
    earlier = GITLAB["stages"][: GITLAB["stages"].index(jobs()[name]["stage"])]
    scheduled = SCHEDULED in rules(jobs()[name])
    together = {other: job for other, job in jobs().items() if (SCHEDULED in rules(job)) == scheduled}
    return {other for other, job in together.items() if job["stage"] in earlier}


def words(commands: list[str]) -> Iterator[list[str]]:
    """Split commands into words."""
    yield from (command.split() for command in commands)


def test_both_have_the_same_jobs() -> None:
    assert list(GITHUB) == list(jobs())
    assert len(jobs()) > 8


@pytest.mark.parametrize("name", jobs())
def test_a_job_does_the_same_at_the_same_moment(name: str) -> None:
    assert of_github(GITHUB[name]) == of_gitlab(jobs()[name])
    assert before_on_github(name) == before_on_gitlab(name)


@pytest.mark.parametrize("name", jobs())
def test_a_job_calls_what_is_there(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for program, *arguments in words(of_gitlab(jobs()[name])):
        if program == "make":
            assert {word for word in arguments if "=" not in word} <= targets
        else:
            assert (ROOT / program).is_file(), program
            playbooks = re.findall(r"playbooks/\w+\.yml", (ROOT / program).read_text(encoding="utf-8"))
            assert playbooks
            assert all((ROOT / playbook).is_file() for playbook in playbooks)


@pytest.mark.parametrize("name", jobs())
def test_a_job_ends_and_has_no_more_rights_than_it_needs(name: str) -> None:
    on_github, on_gitlab = GITHUB[name], jobs()[name]
    assert on_gitlab["timeout"] == f"{on_github['timeout-minutes']} minutes"
    in_the_cloud = name in ("build", "staging", "production", "drill")
    rights = {"contents": "read"} | ({"id-token": "write"} if in_the_cloud else {})
    assert on_github["permissions"] == rights
    assert (on_gitlab.get("extends") == ".cloud") == in_the_cloud
    assert [workflow["permissions"] for workflow in WORKFLOWS] == [{}, {}]


def test_nothing_from_outside_can_change_unseen() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml"))
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert len(used) > 8
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    images = {
        image["image"] if isinstance(image, dict) else image
        for image in (job.get("container", GITLAB["default"]["image"]) for job in GITHUB.values())
    }
    assert images == {GITLAB["default"]["image"]}
    assert re.fullmatch(r"debian:12@sha256:[0-9a-f]{64}", images.pop())


def test_production_waits_for_a_person_and_gets_what_staging_has_tested() -> None:
    assert jobs()["production"]["rules"][-1]["when"] == "manual"
    assert GITHUB["production"]["environment"] == "production"
    assert of_gitlab(jobs()["production"]) == ['.ci/release "$PRODUCTION" "build/$STAGING/images/gym-api.json"']


def test_a_schedule_starts_the_drills_that_are_declared_and_nothing_else() -> None:
    assert sorted(path.name for path in (ROOT / ".github/workflows").glob("*.yml")) == ["drill.yml", "pipeline.yml"]
    # YAML reads the keyword `on` as a truth.
    begun = [list(workflow[True]) for workflow in WORKFLOWS]
    assert begun == [["push", "pull_request"], ["schedule", "workflow_dispatch"]]
    assert [name for name, job in jobs().items() if SCHEDULED in rules(job)] == list(WORKFLOWS[1]["jobs"])
    others = [rule["if"] for job in jobs().values() if SCHEDULED not in rules(job) for rule in rules(job)]
    assert len(others) > 8
    assert all('$CI_PIPELINE_SOURCE != "schedule"' in condition for condition in others)
    practised = re.findall(r"SCENARIO=(\w+)", " ".join(of_gitlab(jobs()["drill"])))
    assert practised == [drill["scenario"] for drill in described("staging", "backup")["drills"]]


def test_a_drill_and_a_release_take_turns() -> None:
    assert GITHUB["drill"]["concurrency"] == GITHUB["staging"]["concurrency"]
    assert jobs()["drill"]["resource_group"] == jobs()["staging"]["resource_group"]


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [(0, "notice", "live"), (2, "error", "not made"), (3, "error", "taken back"), (4, "warning", "held")],
)
def test_the_endings_of_a_release_are_told_apart(tmp_path: Path, status: int, level: str, said: str) -> None:
    place = {name: tmp_path / name for name in (".ci/release", ".venv/bin/ansible-playbook", "image.json", "Makefile")}
    for path in place.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / ".ci/release", place[".ci/release"])
    place["Makefile"].write_text(".venv/.installed:\n\t@true\n")
    place["image.json"].write_text('{"digest": "sha256:abc"}')
    place[".venv/bin/ansible-playbook"].write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    place[".venv/bin/ansible-playbook"].chmod(0o755)
    summary = tmp_path / "summary"
    variables = {"PATH": os.environ["PATH"], "GITHUB_STEP_SUMMARY": str(summary)}
    for more in ({}, {"GITHUB_ACTIONS": "true"}):
        command = [str(place[".ci/release"]), "staging", "image.json"]
        done = subprocess.run(command, env=variables | more, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "-i inventories/staging playbooks/deploy.yml -e release_version=sha256:abc" in done.stdout
        assert f"Release of sha256:abc to staging is {said}" in done.stdout
    assert f"::{level} title=Release to staging::Release of sha256:abc" in done.stdout
    assert said in summary.read_text()
