"""What CloudFormation is asked about an environment's stacks, and how its answers are waited for."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.gym.platform.plugins.module_utils import aws_stack_events as events
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import hint, sentence
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse

T = TypeVar("T")

NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# A stack that never came to be: it holds nothing, and only another creation can follow.
VOID = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")


@dataclass(frozen=True)
class Settings:
    """What all stacks of an environment have in common; `timeout` is how many seconds one of them may take."""

    platform: str
    environment: str
    region: str
    regions: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    confirmed: frozenset[str] = frozenset()
    prune: bool = False
    # Whether what the templates keep stays when all of a stack is deleted.
    keep: bool = True
    workers: int = 8
    timeout: float = 7200

    @property
    def prefix(self) -> str:
        """What the names of its stacks begin with; in `confirmed` it is everything in the environment."""
        return f"{self.platform}-{self.environment}"

    @property
    def tags(self) -> dict[str, str]:
        """What tells its stacks, and what they make, from everything else in the account."""
        return {"platform": self.platform, "environment": self.environment, "managed-by": "gym.platform.aws_stacks"}

    def tags_of(self, stack: str) -> dict[str, str]:
        """Return the tags of one stack."""
        return {**self.tags, "capability": stack}

    def name(self, stack: str) -> str:
        """Return the stack's name in CloudFormation, which knows no underscores."""
        return f"{self.prefix}-{stack.replace('_', '-')}"


@dataclass(frozen=True)
class Live:
    """A stack as it is there."""

    stack: str
    name: str
    id: str
    region: str
    status: str
    protected: bool
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, answer: Mapping[str, Any], region: str) -> Live:
        """Read CloudFormation's description of it."""
        tags = {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
        return cls(
            tags.get("capability", ""),
            answer["StackName"],
            answer["StackId"],
            region,
            answer["StackStatus"],
            bool(answer.get("EnableTerminationProtection")),
            {output["OutputKey"]: output["OutputValue"] for output in answer.get("Outputs", [])},
            {given["ParameterKey"]: given.get("ParameterValue", "") for given in answer.get("Parameters", [])},
            tags,
        )

    @property
    def void(self) -> bool:
        """Whether it never came to be."""
        return self.status in VOID


@dataclass(frozen=True)
class ChangeSet:
    """Changes that CloudFormation has worked out, and would carry out."""

    id: str
    name: str
    region: str
    kind: str
    raw: list[dict[str, Any]] = field(default_factory=list)


class Calls:
    """CloudFormation. `client` makes a client of a service in a region; `say` tells of progress."""

    def __init__(self, settings: Settings, client: Callable[[str, str], Any], say: Callable[[str], None]) -> None:
        """Make no call yet."""
        self.settings, self.say = settings, say
        self._client_of, self._lock = client, threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, region: str, service: str = "cloudformation") -> Any:
        """Return the one client of a service in a region, for all threads."""
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._client_of(service, region)
            return self._clients[service, region]

    def each(self, values: Mapping[str, Any] | Iterable[str], call: Callable[[str, Any], T]) -> dict[str, T]:
        """Call for every name at the same time; a mapping's value is passed along."""
        named = values if isinstance(values, Mapping) else dict.fromkeys(values)
        with ThreadPoolExecutor(self.settings.workers) as pool:
            return dict(zip(named, pool.map(call, named, named.values()), strict=True))

    # --- read

    def lives(self, regions: Iterable[str]) -> dict[str, Live]:
        """Read the environment's stacks in these regions, and wait for those that are being worked on."""

        def one(region: str, _: object) -> list[Live]:
            pages = self.client(region).get_paginator("describe_stacks").paginate()
            return [Live.of(stack, region) for page in pages for stack in page["Stacks"]]

        found = [live for lives in self.each(dict.fromkeys(regions), one).values() for live in lives]
        ours = {
            live.stack: live
            for live in found
            if live.stack and self.settings.tags.items() <= live.tags.items() and live.status != "DELETE_COMPLETE"
        }
        return self.each(ours, self._settled)

    def _settled(self, stack: str, live: Live) -> Live:
        if live.status.endswith("_IN_PROGRESS") and live.status != "REVIEW_IN_PROGRESS":
            self.say(f"{stack}: {live.status}, begun by another run; waiting for its end")
            live = self.wait(live)
        if live.status == "UPDATE_ROLLBACK_FAILED":
            raise RequestError(
                f"{stack}: the stack {live.name} could neither be changed nor brought back: "
                f"{self.failures(live, 0)}. Put that right, then `aws cloudformation continue-update-rollback --region "
                f"{live.region} --stack-name {live.name}` (--resources-to-skip for what cannot be put right), and "
                "repeat the run."
            )
        return live

    def describe(self, region: str, name_or_id: str) -> Live:
        """Read one stack."""
        return Live.of(self.client(region).describe_stacks(StackName=name_or_id)["Stacks"][0], region)

    def body(self, live: Live) -> dict[str, Any]:
        """Read a stack's template; one without resources has none."""
        answer = self.client(live.region).get_template(StackName=live.name, TemplateStage="Original")
        return parse(answer["TemplateBody"] or '{"Resources": {}}')

    def resources(self, stack: str, live: Live) -> list[dict[str, str]]:
        """List what a stack has made."""
        pages = self.client(live.region).get_paginator("list_stack_resources").paginate(StackName=live.name)
        return [
            {
                "stack": stack,
                "logical_id": item["LogicalResourceId"],
                "type": item["ResourceType"],
                "physical_id": item.get("PhysicalResourceId", ""),
            }
            for page in pages
            for item in page["StackResourceSummaries"]
            if item["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def tagged(self, region: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """List what carries these tags in a region: records with `ResourceARN` and `Tags`."""
        filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
        pages = self.client(region, "resourcegroupstaggingapi").get_paginator("get_resources")
        return [item for page in pages.paginate(TagFilters=filters) for item in page["ResourceTagMappingList"]]

    # --- change sets

    def change_set(self, stack: str, region: str, kind: str, **request: Any) -> ChangeSet | None:
        """Have CloudFormation work out the changes; None when there are none. Raises RequestError when it refuses."""
        client, name = self.client(region), self.settings.name(stack)
        identity = client.create_change_set(
            StackName=name,
            ChangeSetName=f"plan-{uuid.uuid4().hex[:12]}",
            ChangeSetType=kind,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            **request,
        )["Id"]
        first = self.until(
            lambda: client.describe_change_set(ChangeSetName=identity),
            lambda found: found["Status"] in ("CREATE_COMPLETE", "FAILED"),
            f"{stack}: its change set",
        )
        if first["Status"] == "FAILED":
            reason = first.get("StatusReason", "")
            self.drop(ChangeSet(identity, name, region, kind))
            if any(text in reason for text in NO_CHANGES):
                return None
            raise RequestError(f"{stack}: CloudFormation refuses the template: {sentence(reason)}{hint(reason)}.")
        pages = client.get_paginator("describe_change_set").paginate(ChangeSetName=identity, IncludePropertyValues=True)
        changes = [change["ResourceChange"] for page in pages for change in page.get("Changes", [])]
        return ChangeSet(identity, name, region, kind, changes)

    def drop(self, found: ChangeSet) -> None:
        """Delete a change set that is not carried out."""
        client = self.client(found.region)
        client.delete_change_set(ChangeSetName=found.id)
        # A change set that creates has a stack without anything for a placeholder.
        if found.kind == "CREATE":
            client.delete_stack(StackName=found.name)

    def execute(self, found: ChangeSet, **options: Any) -> None:
        """Begin to carry a change set out."""
        self.client(found.region).execute_change_set(ChangeSetName=found.id, **options)

    # --- wait

    def until(self, ask: Callable[[], T], ended: Callable[[T], bool], what: str) -> T:
        """Wait for an answer. Raises RequestError when that takes too long."""
        return wait_until(ask, ended, what, self.settings.timeout)

    def wait(self, live: Live, expected: int = 0) -> Live:
        """Wait until nothing is being done to the stack any more; tell how far it is whenever that changes."""
        begun, told = time.time(), ""

        def ended(now: Live) -> bool:
            nonlocal told
            done = now.status == "REVIEW_IN_PROGRESS" or not now.status.endswith("_IN_PROGRESS")
            if not done:
                happened = self.events(now, begun)
                ready = {item["LogicalResourceId"] for item in happened if item["ResourceStatus"].endswith("_COMPLETE")}
                of = f" of {expected}" if expected else ""
                if (text := f"{live.stack}: {now.status}, {len(ready)}{of} resources") != told:
                    self.say(told := text)
            return done

        # By its id: a stack that is deleted has no name any more.
        return self.until(lambda: self.describe(live.region, live.id), ended, f"{live.stack}: the stack {live.name}")

    def events(self, live: Live, since: float) -> list[dict[str, Any]]:
        """Return the events of its resources since then, in seconds since the epoch, the oldest first."""
        return events.of_resources(self.client(live.region), live.id, since)

    def failures(self, live: Live, since: float) -> str:
        """Say which resources failed since then, and why."""
        return events.failures(self.client(live.region), live.id, since)
