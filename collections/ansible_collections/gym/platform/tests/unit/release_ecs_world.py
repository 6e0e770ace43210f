"""ECS as an embedded cloud answers for it: its services, rules, tables and images are real records of its API."""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud, ask
from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS
from ansible_collections.gym.platform.plugins.module_utils.release_ecs import EcsDriver, EcsStore
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import Target
from ansible_collections.gym.platform.tests.unit.release_ecs_account import (
    EcsAccount,
    colour_of,
    green,
    test_listener,
    version_of,
)
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

REGION, NAME, TABLE, LOGS = "eu-west-1", "gym-test", "releases", "/gym/test/one-off"
ROOT = Path(__file__).resolve().parents[6]
PYTHON = ROOT / ".cache/rehearsal_aws/bin/python"
READING = ("Describe", "Get", "List")
VERSIONS = ("1", "2", "3", "broken", "liar")
OFF_PEAK = {"begins": "23:00", "ends": "05:00", "timezone": "Europe/Dublin", "percent": 50}
NUMBERS = itertools.count(1)


@functools.cache
def endpoint() -> str:
    """Serve the cloud once for this process, until it ends."""
    assert PYTHON.is_file(), "run `make .cache/rehearsal_aws/.installed`"
    directory = tempfile.TemporaryDirectory(prefix="cloud-")
    cloud = Cloud(Path(directory.name))
    atexit.register(directory.cleanup)
    atexit.register(cloud.stop, 20)
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return cloud.start([str(PYTHON), "-m", "rehearsal.aws", REGION], environment, 120)


class EcsWorld(EcsAccount):
    """An account of the embedded cloud, with what the stacks of an environment have in it."""

    slow = True

    def __init__(self) -> None:
        super().__init__(endpoint(), f"{next(NUMBERS):012d}", REGION, NAME)
        self.missing: set[str] = {"nowhere"}
        self.broken: set[str] = {"broken"}
        self.lying: set[str] = {"liar"}
        # Versions whose tasks start and never become healthy.
        self.hanging: set[str] = set()
        self.stuck = False
        # Whether what runs once does not come to its end.
        self.endless = False
        self.shifts: list[int] = []
        self.before_change: Callable[[], None] = lambda: None
        # Every change that AWS was asked for, by the name of its operation.
        self.changes: list[str] = []
        # By operation: what AWS refuses, as often as it is in the list.
        self.refusals: dict[str, list[str]] = {}
        self.settings: dict[str, Any] = {}
        self.domain = f"{self.account}.test"
        # What the driver gets is watched.
        self._watched: dict[str, Any] = {}
        self.hosts[f"api.{self.domain}"] = self
        self.facts = self._provisioned()

    # --- what the scenarios ask for

    def connect(self) -> tuple[EcsDriver, EcsStore]:
        aws = Aws(lambda service, region: self._watched_client(service), REGION)
        return EcsDriver(self.target(), aws), EcsStore(TABLE, aws)

    def workers(self) -> set[str]:
        running = [one for one in self.services() if one["serviceName"].startswith("worker-") and one["runningCount"]]
        return {version_of(self.definition(one["taskDefinition"])) for one in running}

    def target(self) -> Target:
        """Return the options of the role release_ecs."""
        # Imported here, because that module imports this one.
        from release_worlds import SERVICES

        return Target(
            **{
                "name": NAME,
                "region": REGION,
                "endpoint_url": endpoint(),
                "tags": {"platform": "gym", "environment": "test"},
                "services": SERVICES,
                "domain": self.domain,
                "repository": "gym-api",
                "facts": self.facts,
                "environment": {"REGION": "local"},
                "outputs": {"QUEUE": "QueueNotificationsName"},
                "secrets": {"PASSWORD": "SecretsServiceSecretArn"},
                "one_off_secrets": {"migrate": {"MIGRATION_PASSWORD": "SecretsServiceSecretArn"}},
                "off_peak": OFF_PEAK,
                "architecture": "X86_64",
                "trial_url": test_listener(),
                "ready_timeout_seconds": 5,
                "drain_timeout_seconds": 30,
                "one_off_timeout_seconds": 5,
                **self.settings,
            }
        )

    # --- what is played

    def _watched_client(self, service: str) -> Any:
        if service not in self._watched:
            self._watched[service] = self.new_client(service)
            self._watch(self._watched[service].meta.events)
        return self._watched[service]

    def _watch(self, events: Any) -> None:
        events.register("before-call", self._before)
        events.register("before-send", self._refused)
        events.register("after-call.ecs.RunTask", self._one_off)
        events.register("after-call.ecs.CreateService", self._created)
        for operation in ("CreateRule", "ModifyRule"):
            events.register(f"after-call.elastic-load-balancing-v2.{operation}", self._shifted)

    def _before(self, model: Any, **_: Any) -> None:
        if not model.name.startswith(READING):
            self.before_change()
            if self.stuck and model.name == "ModifyRule":
                raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "stuck"}}, model.name)
            self.changes.append(model.name)

    def _refused(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        """Answer in the place of the cloud, so that the SDK's own retries are in the game."""
        codes = self.refusals.get(event_name.rpartition(".")[2])
        if not codes:
            return None
        body = json.dumps({"__type": codes.pop(), "message": "as it was told to"}).encode()
        raw = SimpleNamespace(stream=lambda: [body])
        return AWSResponse(request.url, 400, {"content-type": "application/x-amz-json-1.1"}, raw)

    def _one_off(self, parsed: Mapping[str, Any], **_: Any) -> None:
        if self.endless or "tasks" not in parsed:
            return
        (task,) = parsed["tasks"]
        self.finish(task)

    def _created(self, parsed: Mapping[str, Any], **_: Any) -> None:
        version, arn = version_of(self.definition(parsed["service"]["taskDefinition"])), parsed["service"]["serviceArn"]
        if version in self.broken:
            self.end(arn, 1)
        elif version in self.hanging:
            ask(endpoint(), "stall", {"arn": arn})

    def _shifted(self, parsed: Mapping[str, Any], **_: Any) -> None:
        for rule in parsed["Rules"]:
            if not colour_of(rule):
                self.shifts.append(green(rule))

    def _provisioned(self) -> dict[str, str]:
        """Make what the stacks make, and return their outputs."""
        elbv2, ecr = self.client("elbv2"), self.client("ecr")
        self.client("ecs").create_cluster(clusterName=NAME)
        self.client("logs").create_log_group(logGroupName=LOGS)
        self.client("scheduler").create_schedule_group(Name=NAME)
        self.client("dynamodb").create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        secret = self.client("secretsmanager").create_secret(Name="service", SecretString='{"password": "planted"}')
        repository = ecr.create_repository(repositoryName="gym/test/gym-api")["repository"]
        for version in VERSIONS:
            manifest = json.dumps({"schemaVersion": 2, "layers": [], "annotations": {"version": version}})
            ecr.put_image(repositoryName="gym/test/gym-api", imageManifest=manifest, imageTag=version)
        (balancer,) = elbv2.create_load_balancer(Name=NAME, Subnets=["subnet-a", "subnet-b"])["LoadBalancers"]
        nothing = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
        facts = {
            "ComputeClusterName": NAME,
            "ComputeClusterArn": f"arn:aws:ecs:{REGION}:{self.account}:cluster/{NAME}",
            "ComputeOriginName": f"origin.{self.domain}",
            "ComputeReleasesTable": TABLE,
            "ComputeOneOffLogGroup": LOGS,
            "NetworkPrivateSubnetIds": "subnet-a,subnet-b",
            "NetworkServiceSecurityGroupId": "sg-1",
            "QueueNotificationsName": "notifications",
            "QueueSchedulesName": NAME,
            "QueueSchedulesRoleArn": f"arn:aws:iam::{self.account}:role/{NAME}-schedules",
            "QueueSchedulesDeadQueueArn": f"arn:aws:sqs:{REGION}:{self.account}:{NAME}-schedules-dead",
            "RegistryGymApiRepositoryUri": repository["repositoryUri"],
            "SecretsServiceSecretArn": secret["ARN"],
            "SecretsMessagesKeyArn": f"arn:aws:kms:{REGION}:{self.account}:key/messages",
        }
        for listener, port in {"Live": 443, "Trial": 8443}.items():
            made = elbv2.create_listener(
                LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=port, DefaultActions=nothing
            )
            facts[f"Compute{listener}ListenerArn"] = made["Listeners"][0]["ListenerArn"]
        for colour in COLOURS:
            made = elbv2.create_target_group(
                Name=f"api-{colour}", Protocol="HTTP", Port=8000, VpcId="vpc-1", TargetType="ip"
            )
            facts[f"ComputeApi{colour.capitalize()}TargetsArn"] = made["TargetGroups"][0]["TargetGroupArn"]
        for role in ("Api", "Worker", "Report", "OneOff", "Execution"):
            facts[f"Compute{role}RoleArn"] = f"arn:aws:iam::{self.account}:role/{NAME}-task-{role.lower()}"
        for service in ("Api", "Worker", "Report"):
            facts[f"Compute{service}LogGroup"] = f"/gym/test/{service.lower()}"
        return facts
