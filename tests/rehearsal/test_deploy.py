"""Staging's releases as a person sees them: its own playbooks against the embedded cloud, in one story."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.tests.unit import release_ecs_account
from ansible_collections.gym.platform.tests.unit.release_ecs_account import version_of

from tests.project import ROOT, load
from tests.rehearsal.runs import Runs
from tests.rehearsal.served_account import ServedAccount
from tests.waiting import wait

NOUNS = ROOT / "inventories/staging/group_vars/all"
IMAGES = "gym/staging/gym-api"
# At each tick: with so many, the test that judges decides after a few.
REQUESTS = 400
BAD_ERROR_RATE = 0.2


def noun(name: str) -> Any:
    return load(NOUNS / f"{name}.yml")[name]


class Staging:
    """The environment, and a person who releases to it."""

    def __init__(self, runs: Runs, account: ServedAccount, settings: dict[str, Any]) -> None:
        self.runs, self.account, self.release = runs, account, settings["release"]
        options = runs.directory / "options.yml"
        options.write_text(yaml.safe_dump(settings))
        self.options = ["--extra-vars", f"@{options}"]

    def arguments(self, version: str, *options: str) -> list[str]:
        """Return what deploy.yml is told."""
        return [*self.options, "--extra-vars", f"release_version={version}", *options]

    def deploy(self, version: str, *options: str) -> CompletedProcess[str]:
        return self.runs("deploy", *self.arguments(version, *options))

    def rollback(self, *options: str) -> CompletedProcess[str]:
        return self.runs("rollback", *self.options, *options)

    def stands(self) -> dict[str, Any]:
        """Return what is in the account of a release."""
        return {
            "green": self.account.shares(),
            "services": {
                one["serviceName"]: (version_of(self.account.definition(one["taskDefinition"])), one["runningCount"])
                for one in self.account.services()
            },
            "definitions": {
                arn.rpartition("/")[2].rpartition(":")[0]
                for arn in self.account.client("ecs").list_task_definitions()["taskDefinitionArns"]
            },
            "scaled": set(self.account.scaled()),
            "job": self.account.job_version(),
        }


def serves(colour: str, version: str) -> dict[str, Any]:
    """Return what stands when one version serves in a colour, as the nouns of staging say."""
    running = [service for service in noun("services") if service["kind"] != "job"]
    return {
        "green": {100 if colour == "green" else 0},
        "services": {f"{one['name']}-{colour}": (version, one["replicas"]) for one in running},
        "definitions": {f"gym-staging-{one['name']}-{colour}" for one in running} | {"gym-staging-gym-report"},
        "scaled": {f"{one['name']}-{colour}" for one in running},
        "job": version,
    }


def dossier(run: CompletedProcess[str]) -> dict[str, Any]:
    """Read the dossier that a run names, which is a page as well."""
    (page,) = set(re.findall(r"Dossier: ([^\s\"]+\.html)", run.stdout))
    assert "<html" in Path(page).read_text()
    found: dict[str, Any] = json.loads(Path(page).with_suffix(".json").read_text())
    return found


def said(run: CompletedProcess[str]) -> str:
    """Return what a run said, in one line."""
    return " ".join((run.stdout + run.stderr).split())


@pytest.fixture(scope="module")
def staging(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Stand the stacks up, push three images, and have somebody serve."""
    runs = Runs(endpoint, tmp_path_factory.mktemp("releases"))
    run = runs("provision")
    assert run.returncode == 0, run.stdout[-3000:]
    services = noun("services")
    (host,) = (f"{one['hostname']}.{noun('platform')['domain']}" for one in services if one["kind"] == "web")
    account = ServedAccount(endpoint, "staging", host)
    for version in ("1.0", "2.0", "3.0"):
        manifest = json.dumps({"schemaVersion": 2, "annotations": {"version": version}})
        account.client("ecr").put_image(repositoryName=IMAGES, imageManifest=manifest, imageTag=version)
    # What differs from staging's own is how long things take, and where the test listener is played.
    release = {**noun("release"), "bake_seconds": 0, "judge": {"seconds": 60, "inconclusive": "hold"}}
    settings = {"release": release, "release_ecs_trial_url": release_ecs_account.test_listener()}
    with account.serving():
        yield Staging(runs, account, settings)


def test_an_image_that_does_not_exist_is_told_with_those_that_do_and_nothing_is_touched(staging: Staging) -> None:
    run = staging.deploy("9.9")
    assert run.returncode == 2
    told = re.search(rf"there is no image 9\.9 in {IMAGES}; the newest are (\S+), (\S+), (\S+)\. Build", said(run))
    assert told and set(told.groups()) == {"1.0", "2.0", "3.0"}
    assert staging.account.services() == []
    assert staging.account.finished == []


def test_the_first_version_goes_live(staging: Staging) -> None:
    run = staging.deploy("1.0")
    assert run.returncode == 0, run.stdout[-3000:]
    assert staging.stands() == serves("blue", "1.0")
    assert staging.account.finished == ["migrate --phase expand", "assets", "migrate --phase contract"]
    told = dossier(run)
    assert (told["result"], told["exit_status"], told["colour"], told["previous"]) == ("live", 0, "blue", None)


def test_a_check_says_the_steps_and_takes_none(staging: Staging) -> None:
    before = staging.stands()
    run = staging.deploy("2.0", "--check", "--diff")
    assert run.returncode == 0
    assert "Planned: expand green, prove old blue, publish assets green, start green" in said(run)
    assert staging.stands() == before


def test_two_at_once_one_runs_and_the_other_hears_who_does(staging: Staging) -> None:
    account = staging.account
    account.requests = REQUESTS
    wait(10, lambda: account.counted > 0)
    # While nobody asks anything, a release waits at its first share.
    account.requests = 0
    first = staging.runs.begin("deploy", *staging.arguments("2.0"))
    wait(60, lambda: account.shares() == {10})
    assert staging.stands()["job"] == "1.0", "jobs follow when there is no way back"
    second = staging.deploy("3.0")
    assert second.returncode == 2
    assert "has been releasing since" in said(second)
    account.requests = REQUESTS
    done = staging.runs.end(first)
    assert done.returncode == 0, done.stdout[-3000:]
    assert staging.stands() == serves("green", "2.0")
    told = dossier(done)
    assert (told["result"], told["colour"], told["previous"]["version"]) == ("live", "green", "1.0")
    assert [one["share"] for one in told["judgements"]] == [10, 50, 100]
    assert {one["outcome"] for one in told["judgements"]} == {"promote"}


def test_the_same_version_again_changes_nothing(staging: Staging) -> None:
    run = staging.deploy("2.0")
    assert run.returncode == 0
    assert "Version 2.0 runs already" in said(run)
    assert "changed=0" in run.stdout


def test_a_version_with_errors_takes_itself_back_and_is_void(staging: Staging) -> None:
    staging.account.error_rates = {"3.0": BAD_ERROR_RATE}
    run = staging.deploy("3.0")
    assert run.returncode == 3
    assert "Version 3.0 was rolled back. Version 2.0 serves as before." in said(run)
    assert staging.stands() == serves("green", "2.0")
    told = dossier(run)
    assert (told["result"], told["exit_status"]) == ("rolled back", 3)
    assert told["way_back_seconds"] is not None


def test_what_nobody_can_decide_is_held_and_given_up_by_hand(staging: Staging) -> None:
    staging.account.requests = 0
    hasty = {**staging.release, "judge": {"seconds": 1, "inconclusive": "hold"}}
    again = json.dumps({"release": hasty, "release_unvoid": True})
    run = staging.deploy("3.0", "--extra-vars", again)
    assert run.returncode == 4
    assert "Version 3.0 is held at its share of the requests, and both colours keep running" in said(run)
    assert staging.account.shares() == {90}
    assert staging.account.versions() == {"blue": {"3.0"}, "green": {"2.0"}}
    run = staging.rollback()
    assert run.returncode == 0, run.stdout[-3000:]
    assert "Version 3.0 was given up; the green colour serves." in said(run)
    assert staging.stands() == serves("green", "2.0")


def test_a_rollback_after_a_contract_wants_a_word(staging: Staging) -> None:
    run = staging.rollback()
    assert run.returncode == 2
    assert "rollback_confirm=true" in said(run)
    assert staging.stands() == serves("green", "2.0")
    run = staging.rollback("--extra-vars", "rollback_confirm=true")
    assert run.returncode == 0, run.stdout[-3000:]
    assert staging.stands() == serves("blue", "1.0")
    assert dossier(run)["kind"] == "rollback"


def test_the_history_has_all_that_happened(staging: Staging) -> None:
    run = staging.runs("history", *staging.options)
    assert run.returncode == 0
    rows = re.findall(r"(release|rollback) +(\S+) +(live|rolled back|held) .*?( VOID)?\"", run.stdout)
    assert [(kind, version, outcome, bool(void)) for kind, version, outcome, void in rows] == [
        ("release", "1.0", "live", False),
        ("release", "2.0", "live", True),
        ("release", "3.0", "rolled back", True),
        ("release", "3.0", "held", True),
        ("rollback", "3.0", "rolled back", True),
        ("rollback", "1.0", "live", False),
    ]


def test_a_teardown_takes_what_releases_have_made_with_it(staging: Staging) -> None:
    run = staging.runs("teardown", "--extra-vars", '{"confirm_destroy": ["gym-staging"]}')
    assert run.returncode == 0, run.stdout[-3000:]
    assert not ask(staging.runs.endpoint, "resources")
    ecs = staging.account.client("ecs")
    assert ecs.list_task_definitions()["taskDefinitionArns"] == []
