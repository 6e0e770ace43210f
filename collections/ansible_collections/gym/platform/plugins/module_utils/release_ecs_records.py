"""What a release is on ECS, in the words of its API: task definitions, services, a fingerprint of them. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.filter.aws import logical_id, schedule_cron
from ansible_collections.gym.platform.plugins.module_utils import fargate
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError, Release, Standing

Record = Mapping[str, Any]
MANAGED_BY = "gym.platform.release"
# The longest time that Fargate leaves a task between SIGTERM and SIGKILL.
LONGEST_STOP_SECONDS = 120
# What runs once is small: it waits for a database or for a bucket.
ONE_OFF: Record = {"kind": "one-off", "cpu": 0.5, "memory_mb": 1024}


@dataclass(frozen=True)
class Target:
    """The options of the role release_ecs."""

    # What names begin with, such as gym-production.
    name: str
    region: str
    endpoint_url: str
    tags: Mapping[str, str]
    services: Sequence[Record]
    domain: str
    repository: str
    # The outputs of the stacks: `ComputeClusterName` is ClusterName of compute.
    facts: Mapping[str, str]
    environment: Mapping[str, str]
    # Environment variables, each with the output that has its value; of a secret, its ARN.
    outputs: Mapping[str, str]
    secrets: Mapping[str, str]
    # By the name of a one-off: what it gets instead of the services' secrets.
    one_off_secrets: Mapping[str, Mapping[str, str]]
    off_peak: Record
    architecture: str
    # Where the test listener answers; empty for the balancer's own name.
    trial_url: str
    ready_timeout_seconds: int
    drain_timeout_seconds: int
    one_off_timeout_seconds: int

    def fact(self, name: str) -> str:
        """Return an output of a stack. Raises DriverError."""
        if name not in self.facts:
            raise DriverError(
                f"the stacks give out no {name}: provision the environment first (playbooks/provision.yml)"
            )
        return self.facts[name]

    def of_kind(self, *kinds: str) -> list[Record]:
        """Return the services of some kinds."""
        return [service for service in self.services if service["kind"] in kinds]

    def host(self, service: Record) -> str:
        """Return the name at which a web service answers."""
        return f"{service['hostname']}.{self.domain}"

    def targets(self, service: Record, colour: str) -> str:
        """Return the ARN of a web service's target group of a colour."""
        return self.fact(f"Compute{logical_id(service['name'])}{colour.capitalize()}TargetsArn")


def tags(target: Target, **more: str) -> list[dict[str, str]]:
    """Return the tags of what a release makes: the environment's, and who looks after it."""
    found = {**target.tags, "managed-by": MANAGED_BY, **more}
    return [{"key": key, "value": value} for key, value in found.items()]


def family(target: Target, service: str, colour: str = "") -> str:
    """Return the name of a task definition; those of jobs are known to the role of the schedules, in a stack."""
    return "-".join(filter(None, (target.name, service, colour)))


def task_definition(target: Target, service: Record, colour: str, release: Release) -> dict[str, Any]:
    """Describe what a task of a service is started with."""
    size = fargate.size(service)
    one_off = service["kind"] == "one-off"
    part = "OneOff" if one_off else logical_id(service["name"])
    secrets = target.one_off_secrets.get(service["name"], {}) if one_off else target.secrets
    repository = target.fact(f"Registry{logical_id(target.repository)}RepositoryUri")
    environment = {
        **target.environment,
        **{name: target.fact(output) for name, output in target.outputs.items()},
        "RELEASE_VERSION": release.version,
        **({"RELEASE_COLOUR": colour} if colour else {}),
        **({"PORT": service["port"]} if "port" in service else {}),
    }
    container: dict[str, Any] = {
        "name": service["name"],
        "image": f"{repository}@{release.digest}",
        "command": list(service["command"]),
        "essential": True,
        "readonlyRootFilesystem": True,
        "stopTimeout": min(target.drain_timeout_seconds, LONGEST_STOP_SECONDS),
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "environment": [{"name": name, "value": str(value)} for name, value in sorted(environment.items())],
        "secrets": [
            {"name": name, "valueFrom": f"{target.fact(output)}:password::"} for name, output in sorted(secrets.items())
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": target.fact(f"Compute{part}LogGroup"),
                "awslogs-region": target.region,
                "awslogs-stream-prefix": service["name"],
                # A service must not wait for its log, and the last line of what runs once must not be lost.
                "mode": "blocking" if one_off else "non-blocking",
            },
        },
    }
    if "port" in service:
        port = {"name": "http", "containerPort": service["port"], "protocol": "tcp", "appProtocol": "http"}
        container["portMappings"] = [port]
    if service["kind"] == "worker":
        container["healthCheck"] = _health(service)
    return {
        "family": family(target, service["name"], colour),
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"cpuArchitecture": target.architecture, "operatingSystemFamily": "LINUX"},
        "networkMode": "awsvpc",
        "cpu": str(size["cpu"]),
        "memory": str(size["memory"]),
        "executionRoleArn": target.fact("ComputeExecutionRoleArn"),
        "taskRoleArn": target.fact(f"Compute{part}RoleArn"),
        "containerDefinitions": [container],
        "tags": tags(
            target, version=release.version, digest=release.digest, configuration=release.configuration or "none"
        ),
    }


def _health(service: Record) -> dict[str, Any]:
    """Return the check within a worker's container: nothing stands before a worker that could ask it."""
    url = f"http://127.0.0.1:{service['port']}{service['health_path']}"
    program = f'import urllib.request; urllib.request.urlopen("{url}", timeout=3)'
    return {
        "command": ["CMD", "python3", "-c", program],
        "interval": 10,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 30,
    }


def network(target: Target) -> dict[str, Any]:
    """Return where tasks are in the network."""
    return {
        "awsvpcConfiguration": {
            "assignPublicIp": "DISABLED",
            "subnets": target.fact("NetworkPrivateSubnetIds").split(","),
            "securityGroups": [target.fact("NetworkServiceSecurityGroupId")],
        }
    }


def capacity(service: Record) -> list[dict[str, Any]]:
    """Return on which capacity a service's tasks run."""
    return [{key[0].lower() + key[1:]: one[key] for key in one} for one in fargate.CAPACITY[service["kind"]]]


def service_record(target: Target, service: Record, colour: str, definition: str, count: int) -> dict[str, Any]:
    """Describe the service of a colour, with the ARN of its task definition and its number of tasks."""
    record: dict[str, Any] = {
        "cluster": target.fact("ComputeClusterName"),
        "serviceName": f"{service['name']}-{colour}",
        "taskDefinition": definition,
        "desiredCount": count,
        "platformVersion": "LATEST",
        "capacityProviderStrategy": capacity(service),
        "availabilityZoneRebalancing": "ENABLED",
        "enableECSManagedTags": True,
        "propagateTags": "TASK_DEFINITION",
        "networkConfiguration": network(target),
        "deploymentController": {"type": "ECS"},
        # The way back from a colour that does not start is the release's: it takes the colour away.
        "deploymentConfiguration": {
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": False},
        },
        "tags": tags(target, service=service["name"], colour=colour),
    }
    if service["kind"] == "web":
        record["healthCheckGracePeriodSeconds"] = 60
        record["loadBalancers"] = [
            {
                "targetGroupArn": target.targets(service, colour),
                "containerName": service["name"],
                "containerPort": service["port"],
            }
        ]
    return record


def schedule_record(target: Target, job: Record, definition: str) -> dict[str, Any]:
    """Describe when a job runs, with the ARN of what it starts."""
    (where,) = network(target).values()
    return {
        "GroupName": target.fact("QueueSchedulesName"),
        "Name": job["name"],
        "Description": f"Runs {job['name']}",
        "ScheduleExpression": schedule_cron(job["schedule"]),
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "KmsKeyArn": target.fact("SecretsMessagesKeyArn"),
        "Target": {
            "Arn": target.fact("ComputeClusterArn"),
            "RoleArn": target.fact("QueueSchedulesRoleArn"),
            "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600},
            "DeadLetterConfig": {"Arn": target.fact("QueueSchedulesDeadQueueArn")},
            "EcsParameters": {
                "TaskDefinitionArn": definition,
                "TaskCount": 1,
                "CapacityProviderStrategy": capacity(job),
                "PropagateTags": "TASK_DEFINITION",
                # The same words as ECS's, with other initials.
                "NetworkConfiguration": {
                    "awsvpcConfiguration": {key[0].upper() + key[1:]: value for key, value in where.items()}
                },
            },
        },
    }


def configuration(target: Target, release: Release, secret_versions: Mapping[str, str]) -> str:
    """Return the fingerprint of a release: its task definitions apart from the colour, and the secrets' versions."""
    bare = Release(release.version, release.digest, "")
    records = [task_definition(target, service, "", bare) for service in target.services]
    text = json.dumps([records, dict(secret_versions)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def release_of(found: Sequence[Mapping[str, str]]) -> Release:
    """Return the release that the tags of a task definition name; an empty one for tags that name none."""
    known = {tag["key"]: tag["value"] for tag in found}
    return Release(known.get("version", ""), known.get("digest", ""), known.get("configuration", ""))


@dataclass(frozen=True)
class Running:
    """A service of ECS as it was found."""

    name: str
    service: str
    colour: str
    release: Release
    definition: str
    desired: int
    running: int
    # How its last deployment goes: IN_PROGRESS, COMPLETED or FAILED, and what ECS says about it.
    rollout: str
    reason: str

    @property
    def steady(self) -> bool:
        """Whether all its tasks run and are healthy."""
        return self.rollout == "COMPLETED" and self.running >= self.desired > 0

    @property
    def failed(self) -> bool:
        """Whether the circuit breaker has given up."""
        return self.rollout == "FAILED"


def standing(wanted: Collection[str], found: Sequence[Running], release: str) -> Standing:
    """Compare the services of a colour that are wanted of a release with those that there are."""
    if not found:
        return Standing.ABSENT
    if any(one.release.configuration != release for one in found):
        return Standing.OTHER
    whole = {one.service for one in found} == set(wanted) and all(one.steady for one in found)
    return Standing.WHOLE if whole else Standing.PART
