"""An account of the embedded cloud with releases to ECS in it: what a person sees there, and what containers would do.

No container is started there. How tasks end, and what a web service answers on the test listener, is played here, from
what the cloud has on record about them.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import boto3
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import ask
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, GREEN
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_jobs import started
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_traffic import HEADER, weights_of
from botocore.config import Config

SESSION = boto3.Session()
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 2})


class EcsAccount:
    """An account in a region, with an environment that is called `name` and whose stacks give out `facts`."""

    # Who answers on the test listener, by the name that is asked for.
    hosts: ClassVar[dict[str, EcsAccount]] = {}

    def __init__(self, endpoint: str, account: str, region: str, name: str) -> None:
        self.endpoint, self.account, self.region, self.name = endpoint, account, region, name
        self.facts: dict[str, str] = {}
        # Versions that answer with another version.
        self.lying: set[str] = set()
        # Names of what runs once that fails, such as `migrate expand`.
        self.failing: set[str] = set()
        # Those that find nothing left to do, and say so.
        self.done: set[str] = set()
        # A client takes longer to make than to ask.
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return a client of the account."""
        if service not in self._clients:
            self._clients[service] = self.new_client(service)
        return self._clients[service]

    def new_client(self, service: str) -> Any:
        """Make a client of the account."""
        return SESSION.client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.account,
            aws_secret_access_key="rehearsal",
            config=CONFIG,
        )

    # --- what a person sees

    def services(self) -> list[dict[str, Any]]:
        """List the services that are there."""
        ecs = self.client("ecs")
        arns = ecs.list_services(cluster=self.name)["serviceArns"]
        found = ecs.describe_services(cluster=self.name, services=arns, include=["TAGS"])["services"] if arns else []
        return [service for service in found if service["status"] == "ACTIVE"]

    def definition(self, name: str) -> dict[str, Any]:
        """Return a task definition, the newest active one of a family."""
        found: dict[str, Any] = self.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
        return found

    def versions(self) -> dict[str, set[str]]:
        """Return the versions that have tasks, by colour."""
        found: dict[str, set[str]] = {}
        for service in self.services():
            if service["runningCount"]:
                colour = service["serviceName"].rpartition("-")[2]
                found.setdefault(colour, set()).add(version_of(self.definition(service["taskDefinition"])))
        return found

    def scaled(self) -> dict[str, dict[str, Any]]:
        """Return what is scaled, by the end of its name."""
        found = self.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
        return {one["ResourceId"].rpartition("/")[2]: one for one in found["ScalableTargets"]}

    def schedules(self) -> dict[str, dict[str, Any]]:
        """Return what runs at its times, by name."""
        scheduler, group = self.client("scheduler"), {"GroupName": self.name}
        found = scheduler.list_schedules(**group)["Schedules"]
        return {one["Name"]: scheduler.get_schedule(Name=one["Name"], **group) for one in found}

    def job_version(self) -> str:
        """Return the version that the schedule starts, empty where there is none."""
        return next((version_of(self.definition(started(one))) for one in self.schedules().values()), "")

    def rules(self, listener: str) -> dict[str, dict[str, Any]]:
        """Return the rules of a listener, by the colour that they want in the header."""
        rules = self.client("elbv2").describe_rules(ListenerArn=self.facts[f"Compute{listener}ListenerArn"])["Rules"]
        return {colour_of(rule): rule for rule in rules if not rule["IsDefault"]}

    def shares(self) -> set[int]:
        """Return the per cents of requests that go to green."""
        return {green(rule) for rule in self.rules("Live").values()}

    # --- what is played

    def answer(self, colour: str) -> tuple[int, str]:
        """Answer a request to the test listener from what the cloud knows: rule, target group, service."""
        rule = self.rules("Trial").get(colour)
        groups = weights_of(rule).keys() if rule else set()
        for service in self.services():
            if service["runningCount"] and groups & {one["targetGroupArn"] for one in service["loadBalancers"]}:
                version = version_of(self.definition(service["taskDefinition"]))
                return 200, json.dumps({"version": "another" if version in self.lying else version})
        return 503 if rule else 404, ""

    def finish(self, task: Mapping[str, Any]) -> str:
        """Bring what runs once to its end, with a line in its log, and return what it was."""
        (container,) = self.definition(task["taskDefinitionArn"])["containerDefinitions"]
        name = " ".join([container["name"], *container["command"][1:]])
        group = container["logConfiguration"]["options"]["awslogs-group"]
        stream = f"{container['name']}/{container['name']}/{task['taskArn'].rpartition('/')[2]}"
        logs = self.client("logs")
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        event = {"timestamp": 0, "message": json.dumps({"changed": name not in self.done, "said": name})}
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])
        self.end(task["taskArn"], int(name in self.failing))
        return name

    def end(self, arn: str, exit_code: int) -> None:
        """End a task, or the tasks of a service until its circuit breaker trips."""
        reason = "Essential container in task exited"
        ask(self.endpoint, "end", {"arn": arn, "exit_code": exit_code, "reason": reason})


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
    """Serve the test listener of all accounts, and return its address. The embedded balancer has no targets to ask."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = EcsAccount.hosts[self.headers["Host"]].answer(self.headers[HEADER])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
