"""The driver for ECS: two services for each of ours, traffic by weights of the balancer, jobs by their schedules.

Everything here belongs to the release and to no stack. What it stands on, such as cluster, listeners, target groups and
roles, belongs to the stacks, and is known from their outputs.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.filter.aws import logical_id
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, clients
from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    COLOURS,
    Colour,
    DriverError,
    Observation,
    Release,
    Standing,
    other,
)
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws, RefusedError, until
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_definitions import Definitions
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_jobs import Jobs
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import (
    MANAGED_BY,
    ONE_OFF,
    Record,
    Running,
    Target,
    configuration,
    family,
    network,
    service_record,
    standing,
    task_definition,
)
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_scaling import Scaling
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_traffic import Traffic, TrialListener
from ansible_collections.gym.platform.plugins.module_utils.release_plan import share_of_green

# DescribeServices and DescribeTasks take no more at once.
PAGE = 10
SHOWN_LINES = 20
LINES_SECONDS = 5
SHOWN_TAGS = 5
TRIAL_PORT = 8443
# What a drain and a stop take besides the times that they are given.
STOP_MARGIN_SECONDS = 60
DOCUMENT = "releases"


class EcsDriver:
    """Does what release_driver.Driver says."""

    def __init__(self, target: Target, aws: Aws) -> None:
        """Remember both; nothing is asked yet."""
        self._target, self._aws = target, aws
        self._cluster = target.fact("ComputeClusterName")
        self._running = target.of_kind("web", "worker")
        self._traffic, self._scaling, self._definitions = Traffic(target, aws), Scaling(target, aws), Definitions(aws)
        self._jobs = Jobs(target, aws, self._definitions)

    @property
    def longest_seconds(self) -> float:
        """A start waits for tasks, a stop for open requests, a one-off for its end."""
        target = self._target
        return max(
            target.ready_timeout_seconds,
            2 * target.drain_timeout_seconds + STOP_MARGIN_SECONDS,
            target.one_off_timeout_seconds,
        )

    def resolve(self, version: str, digest: str = "") -> Release:
        """Ask the registry what a tag stands for, and make a fingerprint of all that it would be started with."""
        mark = digest or (version if version.startswith("sha256:") else "")
        repository = self._target.fact(f"Registry{logical_id(self._target.repository)}RepositoryUri").partition("/")[2]
        image = {"imageDigest": mark} if mark else {"imageTag": version}
        try:
            found = self._aws.ask("ecr", "describe_images", repositoryName=repository, imageIds=[image])["imageDetails"]
        except RefusedError as error:
            if error.code != "ImageNotFoundException":
                raise
            found = []
        if not found:
            raise DriverError(
                f"there is no image {mark or version} in {repository}; the newest are {self._newest(repository)}. Build"
                " and push it first (playbooks/build.yml)"
            )
        release = Release(version, str(found[0]["imageDigest"]), "")
        return Release(version, release.digest, configuration(self._target, release, self._secret_versions()))

    def observe(self, wanted: Release | None) -> Observation:
        """Look at the services, the balancer's rules and what the schedules start."""
        share = self._traffic.share()
        release = wanted.configuration if wanted else ""
        found = self._services()
        colours = {}
        for colour in COLOURS:
            here = [one for one in found if one.colour == colour]
            stands = standing([service["name"] for service in self._running], here, release)
            serves = share == share_of_green(colour, 100)
            if stands is Standing.WHOLE and serves and not self._scaling.is_right(colour):
                stands = Standing.PART
            colours[colour] = Colour(stands, here[0].release if here else None)
        return Observation(colours, share, self._jobs.standing(release))

    def start(self, colour: str, release: Release) -> None:
        """Start the services of a colour, as many tasks as the other one has, and wait until ECS calls them steady.

        ECS counts a task of a web service only when its target group finds it healthy.
        """
        self._traffic.try_out()
        found = {(one.service, one.colour): one for one in self._services()}
        names = [service["name"] for service in self._running]
        self._delete([one for one in found.values() if one.colour == colour and one.service not in names])
        for service in self._running:
            before = found.get((service["name"], other(colour)))
            self._have(service, colour, release, found.get((service["name"], colour)), before.desired if before else 0)
        there = until(
            lambda: [one for one in self._services() if one.colour == colour],
            lambda seen: all(one.steady for one in seen) or any(one.failed for one in seen),
            self._target.ready_timeout_seconds,
        )
        if late := [one for one in there if not one.steady]:
            raise DriverError("; ".join(self._why(one) for one in late))
        share = self._traffic.share()
        if share is not None:
            self._scaling.follow(share)

    def shift(self, share: int) -> None:
        """Move the weights first: what scales can follow a moment later."""
        self._traffic.shift(share)
        self._scaling.follow(share)

    def stop(self, colour: str, stays: Release | None) -> None:
        """Delete the services of a colour: ECS drains their targets, sends SIGTERM, and waits for the stop timeout."""
        self._scaling.forget(colour)
        self._delete([one for one in self._services() if one.colour == colour])
        for service in self._running:
            self._definitions.retire(family(self._target, service["name"], colour))
        if not stays and not self._services():
            # Nothing serves any more: the listeners answer as they did before the first release, and no job runs.
            self._traffic.tidy([])
            self._jobs.forget()
        if stays:
            self._traffic.tidy([self._target.host(service) for service in self._target.of_kind("web")])
            self._jobs.renew(stays)

    def address(self, colour: str) -> TrialListener:
        """Return the test listener of the balancer."""
        target = self._target
        url = target.trial_url or f"https://{target.fact('ComputeOriginName')}:{TRIAL_PORT}"
        return TrialListener(url, colour, {service["name"]: target.host(service) for service in target.of_kind("web")})

    def run(self, name: str, command: Sequence[str], release: Release) -> str:
        """Run a task to its end. One that an interrupted run has left behind is waited for first."""
        record = {**ONE_OFF, "name": name, "command": list(command)}
        kind = family(self._target, name)
        for left in self._aws.every("ecs", "list_tasks", "taskArns", cluster=self._cluster, family=kind):
            self._ended(name, left)
        definition = self._definitions.register(task_definition(self._target, record, "", release))
        try:
            answer = self._aws.ask(
                "ecs",
                "run_task",
                cluster=self._cluster,
                taskDefinition=definition,
                count=1,
                capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
                networkConfiguration=network(self._target),
                startedBy=MANAGED_BY,
                propagateTags="TASK_DEFINITION",
            )
            if answer["failures"] or not answer["tasks"]:
                raise DriverError(f"{name} could not be started: {answer['failures'] or 'ECS does not say why'}")
            task = self._ended(name, answer["tasks"][0]["taskArn"])
        finally:
            self._definitions.retire(kind)
        lines = self._lines(name, task["taskArn"])
        (container,) = task["containers"]
        if (status := container.get("exitCode")) != 0:
            reason = container.get("reason") or task.get("stoppedReason") or ""
            ending = f"with exit code {status}" if status is not None else "before it began"
            raise DriverError(f"{' '.join([name, *command[1:]])} ended {ending}. {reason} {lines}".rstrip())
        return lines

    # --- services

    def _services(self) -> list[Running]:
        """Return the services of both colours that are there, those that are being deleted excepted."""
        return [self._running_of(one) for one in self._described("ACTIVE")]

    def _described(self, *status: str) -> list[Record]:
        arns = self._aws.every("ecs", "list_services", "serviceArns", cluster=self._cluster)
        found = []
        for start in range(0, len(arns), PAGE):
            page = arns[start : start + PAGE]
            answer = self._aws.ask("ecs", "describe_services", cluster=self._cluster, services=page, include=["TAGS"])
            found += answer["services"]
        return [one for one in found if one["status"] in status and _tags(one).get("managed-by") == MANAGED_BY]

    def _running_of(self, found: Record) -> Running:
        primary: Record = next((one for one in found["deployments"] if one["status"] == "PRIMARY"), {})
        return Running(
            name=found["serviceName"],
            service=_tags(found)["service"],
            colour=_tags(found)["colour"],
            # A service says what it was told to be; what its tasks are started from cannot be changed afterwards.
            release=self._definitions.release(found["taskDefinition"]),
            definition=found["taskDefinition"],
            desired=found["desiredCount"],
            running=found["runningCount"],
            rollout=primary.get("rolloutState", "IN_PROGRESS"),
            reason=primary.get("rolloutStateReason", ""),
        )

    def _have(self, service: Record, colour: str, release: Release, found: Running | None, as_many: int) -> None:
        if found and found.release == release and found.desired and not found.failed:
            return
        count = max(service["replicas"], as_many)
        definition = self._definitions.register(task_definition(self._target, service, colour, release))
        if found:
            wish = {"taskDefinition": definition, "desiredCount": count, "forceNewDeployment": True}
            self._aws.ask("ecs", "update_service", cluster=self._cluster, service=found.name, **wish)
            return
        record = service_record(self._target, service, colour, definition, count)
        # One of the same name that is not deleted yet is in the way.
        self._gone([record["serviceName"]])
        self._aws.ask("ecs", "create_service", **record)

    def _delete(self, found: Sequence[Running]) -> None:
        for one in found:
            self._aws.ask("ecs", "delete_service", cluster=self._cluster, service=one.name, force=True)
        self._gone([one.name for one in found])

    def _gone(self, names: Sequence[str]) -> None:
        left = until(
            lambda: [one["serviceName"] for one in self._described("DRAINING") if one["serviceName"] in names],
            lambda seen: not seen,
            2 * self._target.drain_timeout_seconds + STOP_MARGIN_SECONDS,
        )
        if left:
            raise DriverError(
                f"{', '.join(left)} should have ended and still drain: ECS carries on, repeat the run then"
            )

    def _why(self, late: Running) -> str:
        """Say what keeps a service from being ready: what ECS says, and why its last task ended."""
        text = f"{late.name} has {late.running} of {late.desired} tasks ready: {late.reason or 'ECS does not say why'}"
        request = {"cluster": self._cluster, "serviceName": late.name, "desiredStatus": "STOPPED"}
        stopped = self._aws.every("ecs", "list_tasks", "taskArns", **request)
        if not stopped:
            return text
        (task, *_) = self._aws.ask("ecs", "describe_tasks", cluster=self._cluster, tasks=stopped[:1])["tasks"]
        (container,) = task["containers"]
        code = f" with exit code {container['exitCode']}" if container.get("exitCode") is not None else ""
        reasons = filter(None, (task.get("stoppedReason"), container.get("reason")))
        return f"{text}; a task ended{code}: {'; '.join(reasons)}"

    # --- what runs once

    def _ended(self, name: str, task: str) -> Record:
        def ask() -> Record:
            found: Record = self._aws.ask("ecs", "describe_tasks", cluster=self._cluster, tasks=[task])["tasks"][0]
            return found

        found = until(ask, lambda seen: seen["lastStatus"] == "STOPPED", self._target.one_off_timeout_seconds)
        if found["lastStatus"] != "STOPPED":
            raise DriverError(
                f"{name} still runs after {self._target.one_off_timeout_seconds} seconds. It goes on, and the next run"
                " waits for it"
            )
        return found

    def _lines(self, name: str, task: str) -> str:
        """Return the last lines that a task has written."""
        group = self._target.fact("ComputeOneOffLogGroup")
        stream = f"{name}/{name}/{task.rpartition('/')[2]}"
        request = {"logGroupName": group, "logStreamName": stream, "limit": SHOWN_LINES, "startFromHead": False}

        def ask() -> list[Record]:
            try:
                return list(self._aws.ask("logs", "get_log_events", **request)["events"])
            except RefusedError as error:
                if error.code == "ResourceNotFoundException":
                    return []
                raise

        # What was written is there a moment after the task has ended.
        return "\n".join(event["message"] for event in until(ask, bool, LINES_SECONDS))

    # --- images and secrets

    def _newest(self, repository: str) -> str:
        images = self._aws.every("ecr", "describe_images", "imageDetails", repositoryName=repository)
        tagged = [image for image in images if image.get("imageTags")]
        newest = sorted(tagged, key=lambda image: image["imagePushedAt"], reverse=True)[:SHOWN_TAGS]
        return ", ".join(image["imageTags"][0] for image in newest) or "none"

    def _secret_versions(self) -> dict[str, str]:
        """Return the current version of each secret: tasks read a new password only when they start."""
        found = {}
        for name, output in self._target.secrets.items():
            answer = self._aws.ask("secretsmanager", "describe_secret", SecretId=self._target.fact(output))
            stages = answer.get("VersionIdsToStages", {})
            found[name] = next((version for version, those in stages.items() if "AWSCURRENT" in those), "")
        return found


def _tags(found: Record) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in found.get("tags", [])}


class EcsStore:
    """Does what release_driver.Store says, with an item of a table of DynamoDB."""

    def __init__(self, table: str, aws: Aws) -> None:
        """Remember where; nothing is read yet."""
        self._table, self._aws = table, aws

    def read(self) -> tuple[str, str]:
        """Read the item as it was written last."""
        request: dict[str, Any] = {"Key": {"name": {"S": DOCUMENT}}, "ConsistentRead": True}
        item = self._aws.ask("dynamodb", "get_item", TableName=self._table, **request).get("Item")
        return (item["document"]["S"], item["mark"]["S"]) if item else ("", "")

    def write(self, document: str, mark: str) -> str | None:
        """Replace the item on the condition that it is still the marked one."""
        new = uuid.uuid4().hex
        names = {"#n": "mark"} if mark else {"#n": "name"}
        request: dict[str, Any] = {
            "Item": {"name": {"S": DOCUMENT}, "document": {"S": document}, "mark": {"S": new}},
            "ConditionExpression": "#n = :mark" if mark else "attribute_not_exists(#n)",
            "ExpressionAttributeNames": names,
            **({"ExpressionAttributeValues": {":mark": {"S": mark}}} if mark else {}),
        }
        try:
            self._aws.ask("dynamodb", "put_item", TableName=self._table, **request)
        except RefusedError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            # An answer that was lost on its way is asked for again, and then the item is ours already.
            return new if self.read()[1] == new else None
        return new


def connect(options: Mapping[str, Any], _call: object = None) -> tuple[EcsDriver, EcsStore]:
    """Return driver and store for the options of the role release_ecs. Raises DriverError for bad ones."""
    stacks = options.get("facts", {})
    facts = {f"{logical_id(stack)}{name}": value for stack, known in stacks.items() for name, value in known.items()}
    try:
        target = Target(**{**options, "facts": facts})
    except TypeError as error:
        raise DriverError(f"the options of the target are not what they have to be: {error}") from error
    try:
        aws = Aws(clients(target.endpoint_url or None), target.region)
    except RequestError as error:
        raise DriverError(str(error)) from error
    return EcsDriver(target, aws), EcsStore(target.fact("ComputeReleasesTable"), aws)
