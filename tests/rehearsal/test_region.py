"""A region of production is lost, practised and real, with its own playbooks: what counts are rows, and who is asked.

The databases of this cloud are real ones. A region that is lost answers nobody, and what its log had not archived is
gone with it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psycopg
import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import MANAGED_BY
from ansible_collections.gym.platform.tests.unit.release_ecs_account import EcsAccount
from botocore.exceptions import ClientError

from tests.project import ROOT, described
from tests.rehearsal.runs import Runs
from tests.waiting import wait

HOME, AWAY = "eu-west-1", "eu-central-1"
PRIMARY, STAND_IN = "production", "production-dr"
# The account of whoever asks with another key than a number.
ACCOUNT = "000000000000"
REPORTS = ROOT / f"reports/{PRIMARY}/dr_drill"
TICK_SECONDS = 0.3
CONFIRMED = ["--extra-vars", f"take_over_from={PRIMARY} evacuate_confirm={STAND_IN} release_version=1.0"]


class World:
    """Both environments, a person with playbooks, what runs there, and the front door as the world sees it."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        self.endpoint, self.directory = endpoint, directory
        self.runs = {
            name: Runs(endpoint, directory, name, "build/{{platform.environment}}") for name in (PRIMARY, STAND_IN)
        }
        self.accounts = {
            name: EcsAccount(endpoint, "rehearsal", region, f"gym-{name}")
            for name, region in ((PRIMARY, HOME), (STAND_IN, AWAY))
        }
        # Where the front door is answered from; nowhere while the region that it leads to is lost.
        self.serves = ""

    # --- playbooks

    def run(self, environment: str, playbook: str, *options: str) -> CompletedProcess[str]:
        return self.runs[environment](playbook, *self.told(), *options)

    def told(self) -> list[str]:
        """Return what differs here from AWS: where databases and the front door answer, and how long it takes."""
        place = self.place("gym-production-1", HOME) if not self.lost() else {"authority": ""}
        release = {**described(PRIMARY, "release"), "bake_seconds": 0}
        settings = {
            "release": release,
            "drill_addresses": ["127.0.0.1"],
            "database_authority": place["authority"],
            "evacuate_url": f"http://127.0.0.1:{self.door.server_port}/readyz",
            "dr_drill_playbook": f"ansible-playbook -e '{self.runs[PRIMARY].told}' -e @{self.directory}/told.yml"
            f" -i {ROOT}/inventories/production",
        }
        (self.directory / "told.yml").write_text(yaml.safe_dump(settings))
        return ["--extra-vars", f"@{self.directory}/told.yml"]

    # --- the cloud

    def lost(self) -> bool:
        return bool(self.serves == "lost")

    def place(self, name: str, region: str) -> dict[str, Any]:
        found: dict[str, Any] = ask(self.endpoint, "serve", {"account": ACCOUNT, "region": region, "instance": name})
        return found

    def connect(self, name: str, region: str) -> psycopg.Connection[Any]:
        place = self.place(name, region)
        return psycopg.connect(
            host=place["hostname"],
            hostaddr="127.0.0.1",
            port=place["port"],
            user=place["user"],
            password=place["password"],
            dbname=place["name"],
            sslmode="verify-full",
            sslrootcert=place["authority"],
            autocommit=True,
        )

    def write(self, name: str, region: str, gym: str) -> None:
        with self.connect(name, region) as session:
            session.execute("create table if not exists check_ins (gym text)")
            session.execute("insert into check_ins values (%s)", [gym])

    def gyms(self, name: str, region: str) -> list[str]:
        with self.connect(name, region) as session:
            return [row[0] for row in session.execute("select gym from check_ins order by gym")]

    def instances(self, environment: str) -> list[str]:
        found = self.accounts[environment].client("rds").describe_db_instances()["DBInstances"]
        return sorted(one["DBInstanceIdentifier"] for one in found)

    def name(self) -> str:
        """Return where the name leads that the delivery network asks."""
        route53 = self.accounts[STAND_IN].client("route53")
        (zone,) = [one for one in route53.list_hosted_zones()["HostedZones"] if one["Name"] == "gym.example.com."]
        records = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
        (record,) = [one for one in records if one["Name"] == "origin.gym.example.com."]
        return str(record["ResourceRecords"][0]["Value"]).rstrip(".")

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Let what runs once come to its end, and answer at the front door."""
        ended, world = threading.Event(), self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if world.name().startswith(world.serves) and world.serves else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.door = ThreadingHTTPServer(("127.0.0.1", 0), Door)

        def finish() -> None:
            while not ended.wait(TICK_SECONDS):
                for account in self.accounts.values():
                    finish_one_offs(account)

        threads = [threading.Thread(target=finish), threading.Thread(target=self.door.serve_forever)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            self.door.shutdown()
            for thread in threads:
                thread.join()


def finish_one_offs(account: EcsAccount) -> None:
    """End what runs once, where there is a cluster and a region."""
    ecs = account.client("ecs")
    try:
        arns = ecs.list_tasks(cluster=account.name, startedBy=MANAGED_BY)["taskArns"]
        for task in ecs.describe_tasks(cluster=account.name, tasks=arns)["tasks"] if arns else []:
            account.finish(task)
    except ClientError:
        pass


def said(run: CompletedProcess[str]) -> str:
    """Return what a run said, in one line."""
    return " ".join((run.stdout + run.stderr).split())


@pytest.fixture(scope="module")
def world(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Stand production up, with an image, a database with a row, and a front door."""
    found = World(endpoint, tmp_path_factory.mktemp("region"))
    with found.alive():
        run = found.runs[PRIMARY]("provision")
        assert run.returncode == 0, run.stdout[-3000:]
        manifest = json.dumps({"schemaVersion": 2, "annotations": {"version": "1.0"}})
        images = found.accounts[PRIMARY].client("ecr")
        images.put_image(repositoryName="gym/production/gym-api", imageManifest=manifest, imageTag="1.0")
        found.serves = HOME
        found.write("gym-production-1", HOME, "before")
        yield found


def reported(before: set[Path]) -> dict[str, Any]:
    """Return the report that a drill has written."""
    (report,) = set(REPORTS.glob("*Z.json")) - before
    assert "<html" in report.with_suffix(".html").read_text()
    found: dict[str, Any] = json.loads(report.read_text())
    return found


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
    before, instances = set(REPORTS.glob("*Z.json")), world.instances(PRIMARY)
    run = world.run(PRIMARY, "dr_drill", "--extra-vars", "drill_scenario=restore")
    assert run.returncode == 0, run.stdout[-3000:]
    report = reported(before)
    assert report["passed"]
    assert report["rows_found"] == report["rows_expected"] > 10
    assert (report["rpo_seconds"], report["surplus"]) == (0, [])
    assert 0 < report["rto_seconds"] < 3600
    assert all(tenant["whole"] for tenant in report["tenants"].values())
    assert world.instances(PRIMARY) == instances
    with world.connect("gym-production-1", HOME) as session:
        assert session.execute("select to_regclass('drill.markers')").fetchone() == (None,)


def test_the_loss_of_the_region_is_practised_and_nobody_is_led_away(world: World) -> None:
    before = set(REPORTS.glob("*Z.json"))
    run = world.run(PRIMARY, "dr_drill", "--extra-vars", "drill_scenario=region release_version=1.0")
    assert run.returncode == 0, run.stdout[-3000:]
    report = reported(before)
    assert report["passed"]
    assert report["rows_expected"] > 10
    assert report["surplus"] == []
    assert world.name() == f"{HOME}-origin.gym.example.com"
    assert world.instances(STAND_IN) == []


# --- real


def test_a_stand_in_does_not_take_over_from_what_serves_or_by_mistake(world: World) -> None:
    run = world.run(STAND_IN, "evacuate_region", "--extra-vars", f"take_over_from={PRIMARY}")
    assert run.returncode == 2
    assert f"-e evacuate_confirm={STAND_IN}" in said(run)
    run = world.run(STAND_IN, "evacuate_region", *CONFIRMED)
    assert run.returncode == 2, run.stdout[-2000:]
    assert "production still serves gym.example.com. If that region stands, end its service" in said(run)
    assert world.instances(STAND_IN) == []


def test_an_interrupted_evacuation_is_carried_on_with(world: World) -> None:
    world.told()
    ask(world.endpoint, "lose", {"region": HOME})
    world.serves = "lost"
    first = world.runs[STAND_IN].begin("evacuate_region", "--extra-vars", f"@{world.directory}/told.yml", *CONFIRMED)
    wait(180, lambda: "gym-production-dr-1-replica-2" in world.instances(STAND_IN) or first.poll() is not None)
    first.kill()
    world.runs[STAND_IN].end(first)
    options = ["--extra-vars", f"@{world.directory}/told.yml", *CONFIRMED]
    run = world.runs[STAND_IN]("evacuate_region", *options)
    (moment,) = set(re.findall(r"carry on by -e evacuate_to=(\S+?);", said(run)))
    world.serves = AWAY
    run = world.runs[STAND_IN]("evacuate_region", *options, "--extra-vars", f"evacuate_to={moment}")
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.name() == f"{AWAY}-origin.gym.example.com"
    assert world.gyms("gym-production-dr-1", AWAY) == ["before"]
    services = {one["serviceName"] for one in world.accounts[STAND_IN].services()}
    assert services == {"gym-api-blue", "gym-worker-blue"}


def test_the_platform_comes_back_with_all_that_was_written_meanwhile(world: World) -> None:
    world.write("gym-production-dr-1", AWAY, "meanwhile")
    ask(world.endpoint, "find", {"region": HOME})
    with_copies = {**described(STAND_IN, "platform"), "dr_region": HOME}
    (world.directory / "copied.yml").write_text(yaml.safe_dump({"platform": with_copies}))
    copied = ["--extra-vars", f"@{world.directory}/copied.yml"]
    run = world.run(STAND_IN, "provision", *copied)
    assert run.returncode == 0, run.stdout[-3000:]
    away, home = (world.accounts[name].client("s3") for name in (STAND_IN, PRIMARY))
    away.put_object(Bucket=f"gym-production-assets-dr-{ACCOUNT}", Key="logo", Body=b"new")
    back = ["--extra-vars", f"take_over_from={STAND_IN} evacuate_confirm={PRIMARY} release_version=1.0"]
    run = world.run(PRIMARY, "evacuate_region", *back)
    assert run.returncode == 2, run.stdout[-2000:]
    assert "production-dr still serves gym.example.com" in said(run)
    run = world.run(STAND_IN, "leave_region", *copied, "--extra-vars", f"leave_confirm={STAND_IN}")
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.accounts[STAND_IN].services() == []
    world.serves = HOME
    run = world.run(PRIMARY, "evacuate_region", *back)
    assert run.returncode == 0, run.stdout[-3000:]
    assert world.name() == f"{HOME}-origin.gym.example.com"
    assert world.gyms("gym-production-1", HOME) == ["before", "meanwhile"]
    (kept,) = [name for name in world.instances(PRIMARY) if "-until-" in name]
    assert world.gyms(kept, HOME) == ["before"]
    assert home.get_object(Bucket=f"gym-production-assets-{ACCOUNT}", Key="logo")["Body"].read() == b"new"
