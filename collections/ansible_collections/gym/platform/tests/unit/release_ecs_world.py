"""ECS as an embedded cloud answers for it: its services, rules, tables and images are real records of its API.

No container is started there. How tasks end, and what a web service answers on the test listener, is played here, from
what the cloud has on record about them.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud, ask
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, COLOURS, GREEN
from ansible_collections.gym.platform.plugins.module_utils.release_ecs import EcsDriver, EcsStore
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import Target
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_traffic import HEADER, weights_of
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

REGION, NAME, TABLE, LOGS = "eu-west-1", "gym-test", "releases", "/gym/test/one-off"
ROOT = Path(__file__).resolve().parents[6]
PYTHON = ROOT / ".cache/rehearsal_aws/bin/python"
READING = ("Describe", "Get", "List")
VERSIONS = ("1", "2", "3", "broken", "liar")
OFF_PEAK = {"begins": "23:00", "ends": "05:00", "timezone": "Europe/Dublin", "percent": 50}
NUMBERS = itertools.count(1)
SESSION = boto3.Session()
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 2})


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


class EcsWorld:
    """An account of the embedded cloud, with what the stacks of an environment have in it."""

    slow = True
    worlds: ClassVar[dict[str, EcsWorld]] = {}

    def __init__(self) -> None:
        self.missing: set[str] = {"nowhere"}
        self.broken: set[str] = {"broken"}
        self.lying: set[str] = {"liar"}
        # Versions whose tasks start and never become healthy.
        self.hanging: set[str] = set()
        self.failing: set[str] = set()
        self.done: set[str] = set()
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
        self.account = f"{next(NUMBERS):012d}"
        self.domain = f"{self.account}.test"
        # A client takes longer to make than to ask.
        self._clients: dict[tuple[str, bool], Any] = {}
        self.worlds[f"api.{self.domain}"] = self
        self.facts = self._provisioned()

    # --- what the scenarios ask for

    def connect(self) -> tuple[EcsDriver, EcsStore]:
        aws = Aws(lambda service, region: self.client(service, watched=True), REGION)
        return EcsDriver(self.target(), aws), EcsStore(TABLE, aws)

    def shares(self) -> set[int]:
        return {green(rule) for rule in self.rules("Live").values()}

    def versions(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for service in self.services():
            if service["runningCount"]:
                colour = service["serviceName"].rpartition("-")[2]
                found.setdefault(colour, set()).add(version_of(self.definition(service["taskDefinition"])))
        return found

    def job_version(self) -> str:
        try:
            return version_of(self.definition(f"{NAME}-report"))
        except ClientError:
            return ""

    # --- what a person sees in the account

    def services(self) -> list[dict[str, Any]]:
        """List the services that are there."""
        ecs = self.client("ecs")
        arns = ecs.list_services(cluster=NAME)["serviceArns"]
        found = ecs.describe_services(cluster=NAME, services=arns, include=["TAGS"])["services"] if arns else []
        return [service for service in found if service["status"] == "ACTIVE"]

    def definition(self, name: str) -> dict[str, Any]:
        """Return a task definition, the newest active one of a family."""
        found: dict[str, Any] = self.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
        return found

    def scaled(self) -> dict[str, dict[str, Any]]:
        """Return what is scaled, by the end of its name."""
        found = self.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
        return {one["ResourceId"].rpartition("/")[2]: one for one in found["ScalableTargets"]}

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

    def client(self, service: str, *, watched: bool = False) -> Any:
        """Return a client of the account; what the driver gets is watched."""
        if (service, watched) not in self._clients:
            client = SESSION.client(
                service,
                region_name=REGION,
                endpoint_url=endpoint(),
                aws_access_key_id=self.account,
                aws_secret_access_key="rehearsal",
                config=CONFIG,
            )
            if watched:
                self._watch(client.meta.events)
            self._clients[service, watched] = client
        return self._clients[service, watched]

    # --- what is played

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
        (container,) = self.definition(task["taskDefinitionArn"])["containerDefinitions"]
        name = " ".join([container["name"], *container["command"][1:]])
        stream = f"{container['name']}/{container['name']}/{task['taskArn'].rpartition('/')[2]}"
        logs = self.client("logs")
        logs.create_log_stream(logGroupName=LOGS, logStreamName=stream)
        event = {"timestamp": 0, "message": json.dumps({"changed": name not in self.done, "said": name})}
        logs.put_log_events(logGroupName=LOGS, logStreamName=stream, logEvents=[event])
        self.end(task["taskArn"], int(name in self.failing))

    def _created(self, parsed: Mapping[str, Any], **_: Any) -> None:
        version, arn = version_of(self.definition(parsed["service"]["taskDefinition"])), parsed["service"]["serviceArn"]
        if version in self.broken:
            self.end(arn, 1)
        elif version in self.hanging:
            ask(endpoint(), "stall", {"arn": arn})

    def end(self, arn: str, exit_code: int) -> None:
        """End a task, or the tasks of a service until its circuit breaker trips."""
        reason = "Essential container in task exited"
        ask(endpoint(), "end", {"arn": arn, "exit_code": exit_code, "reason": reason})

    def _shifted(self, parsed: Mapping[str, Any], **_: Any) -> None:
        for rule in parsed["Rules"]:
            if not colour_of(rule):
                self.shifts.append(green(rule))

    def answer(self, colour: str) -> tuple[int, str]:
        """Answer a request to the test listener from what the cloud knows: rule, target group, service."""
        rule = self.rules("Trial").get(colour)
        groups = weights_of(rule).keys() if rule else set()
        for service in self.services():
            if service["runningCount"] and groups & {one["targetGroupArn"] for one in service["loadBalancers"]}:
                version = version_of(self.definition(service["taskDefinition"]))
                return 200, json.dumps({"version": "another" if version in self.lying else version})
        return 503 if rule else 404, ""

    def rules(self, listener: str) -> dict[str, dict[str, Any]]:
        rules = self.client("elbv2").describe_rules(ListenerArn=self.facts[f"Compute{listener}ListenerArn"])["Rules"]
        return {colour_of(rule): rule for rule in rules if not rule["IsDefault"]}

    def _provisioned(self) -> dict[str, str]:
        """Make what the stacks make, and return their outputs."""
        elbv2, ecr = self.client("elbv2"), self.client("ecr")
        self.client("ecs").create_cluster(clusterName=NAME)
        self.client("logs").create_log_group(logGroupName=LOGS)
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
            "ComputeOriginName": f"origin.{self.domain}",
            "ComputeReleasesTable": TABLE,
            "ComputeOneOffLogGroup": LOGS,
            "NetworkPrivateSubnetIds": "subnet-a,subnet-b",
            "NetworkServiceSecurityGroupId": "sg-1",
            "QueueNotificationsName": "notifications",
            "RegistryGymApiRepositoryUri": repository["repositoryUri"],
            "SecretsServiceSecretArn": secret["ARN"],
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


def version_of(definition: Mapping[str, Any]) -> str:
    """Return the version that a task definition starts, as its tasks are told."""
    (container,) = definition["containerDefinitions"]
    return next(str(one["value"]) for one in container["environment"] if one["name"] == "RELEASE_VERSION")


def colour_of(rule: Mapping[str, Any]) -> str:
    """Return the colour that a rule wants in the header, nothing where it wants none."""
    wanted = [one["HttpHeaderConfig"] for one in rule["Conditions"] if one["Field"] == "http-header"]
    return str(wanted[0]["Values"][0]) if wanted else ""


def green(rule: Mapping[str, Any]) -> int:
    """Return the per cent of requests that a rule sends to green."""
    weights = {GREEN if "api-green" in arn else BLUE: weight for arn, weight in weights_of(rule).items()}
    return 100 * weights[GREEN] // sum(weights.values())


@functools.cache
def test_listener() -> str:
    """Serve the test listener of all worlds, and return its address. The embedded balancer has no targets to ask."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world = EcsWorld.worlds[self.headers["Host"]]
            status, body = world.answer(self.headers[HEADER])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
