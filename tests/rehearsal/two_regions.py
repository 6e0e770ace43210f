"""Production and its stand-in on one embedded cloud: a person with playbooks, and the front door as all see it."""

from __future__ import annotations

import itertools
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import psycopg
import yaml
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import MANAGED_BY
from ansible_collections.gym.platform.tests.unit.release_ecs_account import EcsAccount
from botocore.exceptions import ClientError

from tests import embedded
from tests.embedded import AWAY, HOME
from tests.project import ROOT, described
from tests.rehearsal.runs import Runs

PRIMARY, STAND_IN = "production", "production-dr"
PAGE = ROOT / "docs/runbooks/region-lost-aws.md"
VERSION = "1.0"
REPOSITORY = f"gym/{PRIMARY}/gym-api"
TICK_SECONDS = 0.3
# What belongs to an environment and can be in no stack, or outlive its own: service, operation, and where its answer
# has the names.
LISTED = (
    ("dynamodb", "list_tables", "TableNames", ""),
    ("ecr", "describe_repositories", "repositories", "repositoryName"),
    ("ecs", "list_clusters", "clusterArns", ""),
    ("ecs", "list_task_definitions", "taskDefinitionArns", ""),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("rds", "describe_db_instance_automated_backups", "DBInstanceAutomatedBackups", "DBInstanceIdentifier"),
    ("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    ("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("scheduler", "list_schedules", "Schedules", "Name"),
    ("secretsmanager", "list_secrets", "SecretList", "Name"),
    ("sqs", "list_queues", "QueueUrls", ""),
)


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
        self.lost: set[str] = set()
        # The steps of the runbook that were taken.
        self.followed: list[str] = []

    # --- playbooks

    def run(self, environment: str, playbook: str, *options: str) -> CompletedProcess[str]:
        """Run a playbook as a person does."""
        return self.runs[environment](playbook, *self.told(), *options)

    def begin(self, environment: str, playbook: str, *options: str) -> Popen[str]:
        """Begin a run of a playbook that goes on by itself."""
        return self.runs[environment].begin(playbook, *self.told(), *options)

    def told(self) -> list[str]:
        """Return what differs here from AWS: where databases and the front door answer, and how long it takes."""
        settings = {
            "release": {**described(PRIMARY, "release"), "bake_seconds": 0},
            "drill_addresses": ["127.0.0.1"],
            "evacuate_url": f"http://127.0.0.1:{self.door.server_port}/readyz",
            "dr_drill_playbook": f"ansible-playbook -e '{self.runs[PRIMARY].told}' -e @{self.directory}/told.yml"
            f" -i {ROOT}/inventories/production",
        }
        if HOME not in self.lost:
            settings["database_authority"] = embedded.place(self.endpoint, "gym-production-1")["authority"]
        (self.directory / "told.yml").write_text(yaml.safe_dump(settings))
        return ["--extra-vars", f"@{self.directory}/told.yml"]

    def follow(self, step: str, *options: str) -> CompletedProcess[str]:
        """Take the step of the runbook with this title, word by word, and remember that it was taken."""
        program, _, inventory, playbook, *_ = shlex.split(filled(steps()[step]))
        assert program == "ansible-playbook"
        self.followed.append(step)
        return self.run(Path(inventory).name, Path(playbook).stem, *self.options(step), *options)

    @staticmethod
    def options(step: str) -> list[str]:
        """Return what a step of the runbook tells its playbook."""
        return shlex.split(filled(steps()[step]))[4:]

    # --- the cloud

    def lose(self) -> None:
        """Lose the first region."""
        ask(self.endpoint, "lose", {"region": HOME})
        self.lost.add(HOME)

    def find(self) -> None:
        """Have it back."""
        ask(self.endpoint, "find", {"region": HOME})
        self.lost.remove(HOME)

    def connect(self, name: str, region: str) -> psycopg.Connection[Any]:
        return embedded.connected(self.endpoint, name, region)

    def write(self, name: str, region: str, gym: str) -> None:
        with self.connect(name, region) as session:
            session.execute("create table if not exists check_ins (gym text)")
            session.execute("insert into check_ins values (%s)", [gym])

    def gyms(self, name: str, region: str) -> list[str]:
        with self.connect(name, region) as session:
            return [row[0] for row in session.execute("select gym from check_ins order by gym")]

    def instances(self, environment: str) -> dict[str, dict[str, Any]]:
        found = self.accounts[environment].client("rds").describe_db_instances()["DBInstances"]
        return {one["DBInstanceIdentifier"]: one for one in found}

    def replicas(self, environment: str, source: str) -> list[str]:
        """Return the replicas that follow an instance."""
        found = self.instances(environment).items()
        return sorted(name for name, one in found if one.get("ReadReplicaSourceDBInstanceIdentifier") == source)

    def digest(self, environment: str) -> str:
        """Return the digest of the released image in the registry of an environment's region."""
        ecr = self.accounts[environment].client("ecr")
        (image,) = ecr.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": VERSION}])["imageDetails"]
        return str(image["imageDigest"])

    def serving(self, environment: str) -> dict[str, str]:
        """Return the images of the services that have tasks."""
        account = self.accounts[environment]
        return {
            one["serviceName"]: account.definition(one["taskDefinition"])["containerDefinitions"][0]["image"]
            for one in account.services()
            if one["runningCount"]
        }

    def balancer(self, environment: str) -> str:
        """Return the name that AWS has given to an environment's balancer."""
        (found,) = self.accounts[environment].client("elbv2").describe_load_balancers()["LoadBalancers"]
        return str(found["DNSName"])

    def leads_to(self) -> str:
        """Return the balancer to which the name leads that the delivery network asks."""
        route53 = self.accounts[STAND_IN].client("route53")
        (zone,) = [one for one in route53.list_hosted_zones()["HostedZones"] if one["Name"] == "gym.example.com."]
        listed = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
        records = {one["Name"].rstrip("."): one for one in listed if one["Type"] in ("A", "CNAME")}
        name = "origin.gym.example.com"
        while (record := records.get(name)) and "ResourceRecords" in record:
            name = record["ResourceRecords"][0]["Value"].rstrip(".")
        return str(records[name]["AliasTarget"]["DNSName"]).rstrip(".").removeprefix("dualstack.")

    def released(self, environment: str) -> str:
        """Return the document that an environment keeps about its releases."""
        dynamodb = self.accounts[environment].client("dynamodb")
        (table,) = [name for name in dynamodb.list_tables()["TableNames"] if f"{environment}-" in name]
        item = dynamodb.get_item(TableName=table, Key={"name": {"S": "releases"}})["Item"]
        return str(item["document"]["S"])

    def everything(self) -> set[str]:
        """Return all that is in the account, in stacks and beside them."""
        found = {f"{one['stack']} {one['logical_id']} {one['physical_id']}" for one in ask(self.endpoint, "resources")}
        for account, (service, operation, key, name) in itertools.product(self.accounts.values(), LISTED):
            for one in getattr(account.client(service), operation)().get(key, []):
                found.add(f"{account.region} {service} {one[name] if name else one}")
        return found | {key for account in self.accounts.values() for key in keys(account)}

    # --- what the world sees

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Let what runs once come to its end, and answer at the front door as the balancer behind its name does."""
        ended, world = threading.Event(), self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if world.answers() else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.door = ThreadingHTTPServer(("127.0.0.1", 0), Door)

        def finish() -> None:
            while not ended.wait(TICK_SECONDS):
                for account in self.accounts.values():
                    quietly(lambda account=account: finish_one_offs(account))  # type: ignore[misc]

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

    def answers(self) -> bool:
        """Tell whether somebody serves where the name leads."""
        to = self.leads_to()
        return any(
            quietly(lambda name=name: self.balancer(name) == to and bool(self.serving(name)))  # type: ignore[misc]
            for name in self.accounts
        )


def keys(account: EcsAccount) -> Iterator[str]:
    """Go through the keys of a region that are not about to go: AWS waits for weeks before it deletes one."""
    kms = account.client("kms")
    for one in kms.list_keys()["Keys"]:
        if kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled":
            yield f"{account.region} kms {one['KeyId']}"


def finish_one_offs(account: EcsAccount) -> None:
    """End what runs once."""
    ecs = account.client("ecs")
    arns = ecs.list_tasks(cluster=account.name, startedBy=MANAGED_BY)["taskArns"]
    for task in ecs.describe_tasks(cluster=account.name, tasks=arns)["tasks"] if arns else []:
        account.finish(task)


def quietly(ask_of: Callable[[], Any]) -> Any:
    """Ask a region that may be lost, or have nothing yet; False when it does not answer."""
    try:
        return ask_of()
    except (ClientError, ValueError):
        return False


def steps() -> dict[str, str]:
    """Return the commands of the runbook by what stands in bold above them."""
    found = {}
    for text in re.split(r"^\d+\. ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = re.match(r"\*\*(.+?)\.?\*\*", text, re.DOTALL)
        assert title
        lines = [line.strip() for line in text.splitlines() if line.startswith(" " * 7)]
        found[" ".join(title[1].split())] = " ".join(lines)
    return found


def filled(command: str) -> str:
    """Put names into a command of the runbook."""
    names = {"environment": PRIMARY, "version": VERSION, "platform": "gym"}
    return re.sub(r"<(\w+)>", lambda found: names[found[1]], command)


def said(run: CompletedProcess[str]) -> str:
    """Return what a run said, in one line."""
    return " ".join((run.stdout + run.stderr).split())
