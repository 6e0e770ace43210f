"""A region of production is lost, practised and real, with its own playbooks: what counts are rows, and who is asked.

The databases of this cloud are real ones. A region that is lost answers nobody, and what its log had not archived is
gone with it. What a person does is what the runbook says, word by word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.embedded import ACCOUNT, AWAY, HOME
from tests.project import ROOT, described
from tests.rehearsal.two_regions import PRIMARY, REPOSITORY, STAND_IN, VERSION, World, said, steps
from tests.waiting import wait

REPORTS = ROOT / f"reports/{PRIMARY}/dr_drill"
LIVE, STOOD_IN = "gym-production-1", "gym-production-dr-1"
SERVICES = {"gym-api-blue", "gym-worker-blue"}
TAKE_OVER, LOOK, COPY, LEAVE, COME_BACK, CLEAR = steps()


@pytest.fixture(scope="module")
def world(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Stand production up and release to it; its database has a row."""
    found = World(endpoint, tmp_path_factory.mktemp("region"))
    with found.alive():
        run = found.runs[PRIMARY]("provision")
        assert run.returncode == 0, run.stdout[-3000:]
        manifest = json.dumps({"schemaVersion": 2, "annotations": {"version": VERSION}})
        images = found.accounts[PRIMARY].client("ecr")
        images.put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag=VERSION)
        # Nothing answers on the test listener of this cloud.
        untried = json.dumps({"release_version": VERSION, "__release_smoke": []})
        run = found.run(PRIMARY, "deploy", "--extra-vars", untried)
        assert run.returncode == 0, run.stdout[-3000:]
        found.write(LIVE, HOME, "before")
        yield found


def stands(world: World, environment: str) -> None:
    """Expect that an environment serves: its database leads, its services run what its registry has, it is asked."""
    region, live = {PRIMARY: (HOME, LIVE), STAND_IN: (AWAY, STOOD_IN)}[environment]
    primary = world.instances(environment)[live]
    assert primary["DBInstanceStatus"] == "available"
    assert not primary.get("ReadReplicaSourceDBInstanceIdentifier")
    assert primary["MultiAZ"]
    assert world.replicas(environment, live) == [f"{live}-replica-{number}" for number in (1, 2)]
    image = f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{REPOSITORY}@{world.digest(environment)}"
    assert world.serving(environment) == dict.fromkeys(SERVICES, image)
    assert world.leads_to() == world.balancer(environment)
    assert world.answers()


def reported(before: set[Path]) -> dict[str, Any]:
    """Return the report that a drill has written."""
    (report,) = set(REPORTS.glob("*Z.json")) - before
    assert "<html" in report.with_suffix(".html").read_text()
    found: dict[str, Any] = json.loads(report.read_text())
    return found


# --- asked for


def points(world: World, environment: str) -> list[dict[str, Any]]:
    """Return the recovery points in the vaults of an environment's region."""
    backup = world.accounts[environment].client("backup")
    vaults = [one["BackupVaultName"] for one in backup.list_backup_vaults()["BackupVaultList"]]
    listed = backup.list_recovery_points_by_backup_vault
    return [point for name in vaults for point in listed(BackupVaultName=name)["RecoveryPoints"]]


def test_a_backup_by_name_is_in_both_regions_and_comes_back_beside(world: World) -> None:
    named = ["--extra-vars", "backup_name=before-migration"]
    run = world.run(PRIMARY, "backup", *named)
    assert run.returncode == 0, run.stdout[-3000:]
    for environment in (PRIMARY, STAND_IN):
        (point,) = points(world, environment)
        assert (point["Status"], point["ResourceArn"].rpartition(":")[2]) == ("COMPLETED", LIVE)
        tags = world.accounts[environment].client("backup").list_tags(ResourceArn=point["RecoveryPointArn"])["Tags"]
        assert tags["backup-name"] == "before-migration"
    assert "changed=0" in world.run(PRIMARY, "backup", *named).stdout
    world.write(LIVE, HOME, "migrated")
    run = world.run(PRIMARY, "restore", "--extra-vars", "restore_to=before-migration")
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.gyms(f"{LIVE}-restored", HOME) == ["before"]
    assert world.gyms(LIVE, HOME) == ["before", "migrated"]
    run = world.run(PRIMARY, "restore", "--extra-vars", "restore_state=absent")
    assert run.returncode == 0, run.stdout[-3000:]
    assert f"{LIVE}-restored" not in world.instances(PRIMARY)


def test_a_moment_comes_back_in_place_and_services_go_on(world: World) -> None:
    with world.connect(LIVE, HOME) as session:
        session.execute("delete from check_ins where gym = 'migrated'")
        now = session.execute("select clock_timestamp()").fetchone()
        assert now
        session.execute("delete from check_ins")
    wish = f"restore_to={now[0].isoformat()} restore_place=in_place"
    run = world.run(PRIMARY, "restore", "--extra-vars", wish)
    assert run.returncode == 2
    assert "restore_confirm" in said(run)
    assert world.gyms(LIVE, HOME) == []
    confirmed = ["--extra-vars", f"{wish} restore_confirm={PRIMARY}"]
    run = world.run(PRIMARY, "restore", *confirmed)
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.gyms(LIVE, HOME) == ["before"]
    (kept,) = kept_of(world)
    assert world.gyms(kept, HOME) == []
    assert world.instances(PRIMARY)[kept]["DeletionProtection"]
    stands(world, PRIMARY)
    assert "changed=0" in world.run(PRIMARY, "restore", *confirmed).stdout


def kept_of(world: World) -> set[str]:
    """Return the instances of production that were replaced."""
    return {name for name in world.instances(PRIMARY) if "-until-" in name}


# --- practised


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("drill_scenario=failover", "on AWS give restore or region"),
        ("drill_scenario=region release_version=9.9", "not fit for a drill: eu-central-1 has no image 9.9 in"),
        ("drill_scenario=region", "say which version is released there"),
    ],
)
def test_a_drill_that_would_show_nothing_is_refused(world: World, options: str, complaint: str) -> None:
    before = set(REPORTS.glob("*Z.json"))
    run = world.run(PRIMARY, "dr_drill", "--extra-vars", options)
    assert run.returncode == 2, run.stdout[-2000:]
    assert complaint in said(run)
    assert set(REPORTS.glob("*Z.json")) == before


def test_a_restoration_is_practised_beside_what_serves_and_leaves_nothing(world: World) -> None:
    before, everything = set(REPORTS.glob("*Z.json")), world.everything()
    run = world.run(PRIMARY, "dr_drill", "--extra-vars", "drill_scenario=restore")
    assert run.returncode == 0, run.stdout[-3000:]
    report = reported(before)
    assert report["passed"]
    assert report["rows_found"] == report["rows_expected"] > 10
    assert (report["rpo_seconds"], report["surplus"]) == (0, [])
    assert 0 < report["rto_seconds"] < 3600
    assert all(tenant["whole"] for tenant in report["tenants"].values())
    assert world.everything() == everything
    with world.connect(LIVE, HOME) as session:
        assert session.execute("select to_regclass('drill.markers')").fetchone() == (None,)


def test_while_a_drill_lives_no_other_begins_and_when_it_is_killed_the_next_one_ends_it(world: World) -> None:
    before, everything = set(REPORTS.glob("*Z.json")), world.everything()
    practise = ("dr_drill", "--extra-vars", "drill_scenario=restore")
    with world.begin(PRIMARY, *practise) as first:
        wait(60, lambda: "practising restore" in world.released(PRIMARY))
        second = world.run(PRIMARY, *practise)
        assert second.returncode == 2, second.stdout[-3000:]
        assert re.search("not fit for a drill: .* has been practising restore since", said(second))
        wait(300, lambda: f"{LIVE}-restored" in world.instances(PRIMARY))
        first.kill()
    third = world.run(PRIMARY, *practise)
    assert third.returncode == 0, third.stdout[-3000:]
    assert "has taken back what it had done" in said(third)
    killed, passed = (json.loads(path.read_text()) for path in sorted(set(REPORTS.glob("*Z.json")) - before))
    assert (killed["passed"], killed["killed"], killed["rto_seconds"]) == (False, True, None)
    assert killed["rows_found"] == killed["rows_expected"] > 10
    assert passed["passed"]
    assert json.loads(world.released(PRIMARY))["lock"] is None
    assert world.everything() == everything


def test_the_loss_of_the_region_is_practised_and_leaves_nothing(world: World) -> None:
    before, everything = set(REPORTS.glob("*Z.json")), world.everything()
    run = world.run(PRIMARY, "dr_drill", "--extra-vars", f"drill_scenario=region release_version={VERSION}")
    assert run.returncode == 0, run.stdout[-3000:]
    report = reported(before)
    assert report["passed"]
    assert report["rows_expected"] > 10
    assert 0 < report["rows_found"] <= report["rows_expected"]
    assert report["surplus"] == []
    stands(world, PRIMARY)
    # Only an empty bucket can be deleted, and balancers have written their logs into this one.
    left = {f"{region} s3 gym-{STAND_IN}-logs-{ACCOUNT}" for region in (HOME, AWAY)}
    assert world.everything() - left == everything


# --- real


def test_a_stand_in_does_not_take_over_from_what_serves_or_by_mistake(world: World) -> None:
    everything = world.everything()
    run = world.run(STAND_IN, "evacuate_region", "--extra-vars", f"take_over_from={PRIMARY}")
    assert run.returncode == 2
    assert f"-e evacuate_confirm={STAND_IN}" in said(run)
    run = world.follow(TAKE_OVER)
    assert run.returncode == 2, run.stdout[-2000:]
    assert "production still serves gym.example.com. If that region stands, end its service" in said(run)
    assert world.everything() == everything


def test_an_interrupted_evacuation_is_carried_on_with(world: World) -> None:
    told = world.told()
    world.lose()
    assert not world.answers()
    first = world.runs[STAND_IN].begin("evacuate_region", *told, *world.options(TAKE_OVER))
    wait(180, lambda: f"{STOOD_IN}-replica-2" in world.instances(STAND_IN) or first.poll() is not None)
    first.kill()
    world.runs[STAND_IN].end(first)
    run = world.follow(TAKE_OVER)
    assert run.returncode == 2, run.stdout[-2000:]
    (moment,) = set(re.findall(r"carry on by -e evacuate_to=(\S+?);", said(run)))
    run = world.follow(TAKE_OVER, "--extra-vars", f"evacuate_to={moment}")
    assert run.returncode == 0, run.stdout[-3000:]
    stands(world, STAND_IN)
    assert world.gyms(STOOD_IN, AWAY) == ["before"]
    run = world.follow(LOOK)
    assert run.returncode == 0, run.stdout[-3000:]


def test_the_platform_comes_back_with_all_that_was_written_meanwhile(world: World) -> None:
    world.write(STOOD_IN, AWAY, "meanwhile")
    world.find()
    replaced = kept_of(world)
    with_copies = {**described(STAND_IN, "platform"), "dr_region": HOME}
    (world.directory / "copied.yml").write_text(yaml.safe_dump({"platform": with_copies}))
    copied = ["--extra-vars", f"@{world.directory}/copied.yml"]
    run = world.follow(COPY, *copied)
    assert run.returncode == 0, run.stdout[-3000:]
    away, home = (world.accounts[name].client("s3") for name in (STAND_IN, PRIMARY))
    away.put_object(Bucket=f"gym-production-assets-dr-{ACCOUNT}", Key="logo", Body=b"new")
    run = world.follow(COME_BACK)
    assert run.returncode == 2, run.stdout[-2000:]
    assert "production-dr still serves gym.example.com" in said(run)
    stands(world, STAND_IN)
    run = world.follow(LEAVE, *copied)
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.accounts[STAND_IN].services() == []
    run = world.follow(COME_BACK)
    assert run.returncode == 0, run.stdout[-3000:]
    stands(world, PRIMARY)
    assert world.gyms(LIVE, HOME) == ["before", "meanwhile"]
    (kept,) = kept_of(world) - replaced
    assert world.gyms(kept, HOME) == ["before"]
    assert home.get_object(Bucket=f"gym-production-assets-{ACCOUNT}", Key="logo")["Body"].read() == b"new"
    run = world.follow(CLEAR, *copied)
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.instances(STAND_IN) == {}
    assert world.serving(PRIMARY)


def test_every_step_of_the_runbook_was_taken(world: World) -> None:
    assert set(world.followed) == set(steps())
