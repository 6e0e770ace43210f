"""An environment's stacks in CloudFormation: read, plan, apply, find drift, delete; all stacks at the same time."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from ansible_collections.gym.platform.plugins.module_utils import aws_templates as templates_
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain, hint
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Need, Template, TemplateError
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import (
    DESTROYING,
    Action,
    Change,
    Plan,
    Property,
    Ripple,
    StackPlan,
    refusal,
    refused,
)
from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")

NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# A stack that never came to be: it holds nothing, and only another creation can follow.
VOID = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
PLACEHOLDER = "known-after-apply"
ACTIONS: Mapping[str, Action] = {"Add": "add", "Import": "adopt", "Remove": "delete", "Modify": "modify"}
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
STAYING = re.compile(r"\.\w*(Arn|Id|Name|Url|Uri|Address|Port)$", re.IGNORECASE)
# What services make by themselves with the tags of what they make it for.
BY_SERVICES = (":snapshot:rds:", ":snapshot:awsbackup", ":recovery-point:", ":task/", ":network-interface/", ":volume/")


class StackError(Exception):
    """What stops a stack, in words for the person who runs this."""


@dataclass(frozen=True)
class Settings:
    """What all stacks of an environment have in common. `tags` tell them from every other stack of the account."""

    prefix: str
    region: str
    regions: tuple[str, ...]
    tags: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    confirmed: frozenset[str] = frozenset()
    prune: bool = False
    workers: int = 8
    timeout: float = 7200

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


@dataclass
class Outcome:
    """What a run did: the changes of each stack that was worked on, and what went wrong, stack by stack."""

    done: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    untouched: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, later: Outcome) -> None:
        """Take in what was done after this."""
        for key in ("done", "failed", "kept", "seconds"):
            getattr(self, key).update(getattr(later, key))
        self.untouched += later.untouched


@dataclass(frozen=True)
class ChangeSet:
    """Changes that CloudFormation has worked out, and would carry out."""

    id: str
    raw: list[dict[str, Any]]


class Stacks:
    """The stacks of one environment. `client` makes a client of a service in a region; `say` tells of progress."""

    def __init__(
        self,
        settings: Settings,
        client: Callable[[str, str], Any],
        templates: Mapping[str, Template] | None = None,
        selected: Collection[str] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Work on the selected stacks, or on all. Raises TemplateError for what cannot work, before any call."""
        self._settings, self._client_of, self._say = settings, client, say
        self._templates = dict(templates or {})
        self._needs = templates_.needs(self._templates, settings.parameters)
        if unknown := sorted(set(selected) - set(self._templates)) if self._templates else []:
            raise TemplateError(f"There is no stack {unknown[0]}; there are {', '.join(self._templates)}.")
        self._selected = [name for name in self._templates if not selected or name in selected]
        self._all = not selected
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._before: dict[str, Mapping[str, Any]] = {}

    # --- read

    def read(self) -> dict[str, Live]:
        """Read the environment's stacks in all of its regions, and wait for those that are being worked on."""
        regions = dict.fromkeys(
            (self._settings.region, *self._settings.regions, *(t.region for t in self._templates.values() if t.region))
        )
        found = [live for lives in self._each(regions, self._read_region).values() for live in lives]
        self._live = self._each({live.stack: live for live in found}, lambda name, live: self._settled(live))
        return self._live

    def _read_region(self, region: str, _: object) -> list[Live]:
        pages = self._client(region).get_paginator("describe_stacks").paginate()
        found = [self._lived(stack, region) for page in pages for stack in page["Stacks"]]
        ours = self._settings.tags.items()
        return [live for live in found if live.stack and ours <= live.tags.items() and live.status != "DELETE_COMPLETE"]

    @staticmethod
    def _lived(stack: Mapping[str, Any], region: str) -> Live:
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        return Live(
            tags.get("capability", ""),
            stack["StackName"],
            stack["StackId"],
            region,
            stack["StackStatus"],
            bool(stack.get("EnableTerminationProtection")),
            {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
            {given["ParameterKey"]: given.get("ParameterValue", "") for given in stack.get("Parameters", [])},
            tags,
        )

    def _settled(self, live: Live) -> Live:
        if live.status.endswith("_IN_PROGRESS") and live.status != "REVIEW_IN_PROGRESS":
            self._say(f"{live.stack}: {live.status}, begun by another run; waiting for its end")
            live = self._wait(live)
        if live.status == "UPDATE_ROLLBACK_FAILED":
            reasons = self._failures(live, 0) or "see its events"
            raise StackError(
                f"{live.stack}: the stack {live.name} could neither be changed nor brought back: {reasons}. Put that "
                f"right, then `aws cloudformation continue-update-rollback --region {live.region} --stack-name "
                f"{live.name}` (--resources-to-skip for what cannot be put right), and repeat the run."
            )
        return live

    def read_templates(self) -> Mapping[str, Mapping[str, Any]]:
        """Read the stacks with their templates; one that never came to be has none."""
        lives = {name: live for name, live in self.read().items() if live.status not in VOID}
        self._before = self._each(lives, lambda _, live: self._body(live))
        return self._before

    @property
    def before(self) -> Mapping[str, Mapping[str, Any]]:
        """The templates of the stacks as they were read, before anything is changed."""
        return self._before

    def outputs(self) -> dict[str, dict[str, str]]:
        """Return the outputs of all stacks."""
        return {name: dict(live.outputs) for name, live in sorted(self._live.items())}

    def resources(self) -> list[dict[str, str]]:
        """List everything that the stacks have made."""

        def one(name: str, live: Live) -> list[dict[str, str]]:
            pages = self._client(live.region).get_paginator("list_stack_resources").paginate(StackName=live.name)
            return [
                {
                    "stack": name,
                    "logical_id": item["LogicalResourceId"],
                    "type": item["ResourceType"],
                    "physical_id": item.get("PhysicalResourceId", ""),
                }
                for page in pages
                for item in page["StackResourceSummaries"]
                if item["ResourceStatus"] != "DELETE_COMPLETE"
            ]

        return [item for items in self._each(self._live, one).values() for item in items]

    # --- plan

    def plan(self) -> Plan:
        """Work out what apply would change. Raises StackError when an output would go that another stack needs."""
        lives = self.read_templates()
        self._name_literally()
        self._refuse_missing_outputs()
        plans: dict[str, StackPlan] = {}
        moving: set[Need] = set()
        todo = self._selected
        # A change set ends at its stack. Who gets a value from what moves is planned again, until nothing more moves.
        while todo:
            plans |= self._each(todo, lambda name, _: self._planned(name, moving))  # noqa: B023  called at once
            more = {need for name in todo for need in self._moved(plans[name], moving)} - moving
            moving |= more
            todo = [name for name in self._selected if more & set(self._needs[name].values())]
        ripples = tuple(
            Ripple(name, parameter, f"{need.stack}.{need.output}")
            for name in self._selected
            for parameter, need in self._needs[name].items()
            if need in moving and name in lives and need.stack in lives
        )
        ordered = [*plans.values(), *map(self._deleted, self._strangers())]
        return Plan(tuple(ordered), ripples)

    def _name_literally(self) -> None:
        if not any("${AWS::AccountId}" in template.body for template in self._templates.values()):
            return
        _, partition, _, _, account, _ = (
            self._client(self._settings.region, "sts").get_caller_identity()["Arn"].split(":", 5)
        )
        for name, template in self._templates.items():
            region = template.region or self._settings.region
            known = {"AWS::AccountId": account, "AWS::Partition": partition, "AWS::Region": region}
            self._templates[name] = templates_.with_literal_names(template, known)

    def _planned(self, name: str, moving: Collection[Need]) -> StackPlan:
        live, template = self._live.get(name), self._templates[name]
        values = self._values(name, moving)
        if live is None or live.status in VOID:
            return StackPlan(name, "create", self._created(name, values))
        same = template.document == self._before[name] and values == self._same_values(live, values)
        if same and self._tags(name) == live.tags and not template.follows_others:
            lacking = template.stateful and not live.protected
            return StackPlan(name, "update" if lacking else "none")
        try:
            found = self._change_set(name, values, "UPDATE")
        except StackError:
            # A placeholder can be what CloudFormation refuses; then the templates alone say what differs.
            if PLACEHOLDER not in values.values():
                raise
            return StackPlan(name, "update", self._compared(name, live, values))
        if found is None:
            return StackPlan(name, "none")
        self._drop(name, found, "UPDATE")
        return StackPlan(name, "update", self._changes(name, found, values))

    def _created(self, name: str, values: Mapping[str, str]) -> tuple[Change, ...]:
        """A new stack's resources; CloudFormation is only asked when it could adopt one that an earlier stack left."""
        template = self._templates[name]
        kept = any("Retain" in str(resource.get("DeletionPolicy")) for resource in template.resources.values())
        if kept and name not in self._live and PLACEHOLDER not in values.values():
            found = self._change_set(name, values, "CREATE")
            if found is not None:
                self._drop(name, found, "CREATE")
                return self._changes(name, found, values)
        return self._compared(name, None, values)

    def _compared(self, name: str, live: Live | None, values: Mapping[str, str]) -> tuple[Change, ...]:
        before = self._before[name]["Resources"] if live else {}
        after = self._templates[name].resources
        raw = [
            {
                "Action": "Add" if key not in before else "Remove" if key not in after else "Modify",
                "LogicalResourceId": key,
                "ResourceType": after.get(key, before.get(key))["Type"],
            }
            for key in dict.fromkeys((*before, *after))
        ]
        changes = self._changes(name, ChangeSet("", raw), values)
        return tuple(change for change in changes if change.properties or change.action != "modify")

    def _changes(self, name: str, found: ChangeSet, values: Mapping[str, str]) -> tuple[Change, ...]:
        live, template = self._live.get(name), self._templates[name]
        before = self._before.get(name, {}).get("Resources", {})
        old = live.parameters if live else {}
        new = {**self._defaults(template), **values}
        changes = []
        for raw in found.raw:
            key, replacement = raw["LogicalResourceId"], raw.get("Replacement", "False")
            properties = templates_.resource_differences(before.get(key), template.resources.get(key), old, new)
            details = raw.get("Details", [])
            # Not by our own doing, but by another resource's attribute, which may well stay as it is.
            indirect = bool(details) and not properties and all(map(_indirect, details))
            if indirect and all(map(_stays, details)):
                continue
            changes.append(
                Change(
                    name,
                    key,
                    raw["ResourceType"],
                    "replace" if replacement in ("True", "Conditional") else ACTIONS[raw["Action"]],
                    # A new stack's template says the same.
                    (properties or tuple(_told(details))) if before else (),
                    key in template.stateful or raw["ResourceType"] in templates_.STATEFUL_TYPES,
                    replacement != "Conditional" and not indirect,
                )
            )
        return tuple(sorted(changes, key=lambda change: change.logical_id))

    def _moved(self, plan: StackPlan, moving: Collection[Need]) -> set[Need]:
        """List the outputs of a stack that will have another value than now, or that are not there yet."""
        name = plan.stack
        live, template = self._live.get(name), self._templates[name]
        new = {change.logical_id for change in plan.changes if change.action in ("add", "adopt", "replace")}
        old_outputs = self._before.get(name, {}).get("Outputs", {})
        values = {**self._defaults(template), **self._values(name, moving)}

        def moves(key: str, output: Mapping[str, Any]) -> bool:
            if live is None or key not in live.outputs or templates_.mentions(output["Value"]) & new:
                return True
            before = templates_.resolved(old_outputs.get(key, {}).get("Value"), live.parameters)
            return bool(before != templates_.resolved(output["Value"], values))

        return {Need(name, key) for key, output in template.outputs.items() if moves(key, output)}

    def _values(self, name: str, moving: Collection[Need] = ()) -> dict[str, str]:
        values = {key: str(self._settings.parameters[key]) for key in self._templates[name].parameters if key in
                  self._settings.parameters}  # fmt: skip
        for parameter, need in self._needs[name].items():
            live = self._live.get(need.stack)
            known = live is not None and need not in moving and need.output in live.outputs
            values[parameter] = live.outputs[need.output] if live and known else PLACEHOLDER
        return values

    @staticmethod
    def _defaults(template: Template) -> dict[str, str]:
        # What must not be echoed stays a reference, wherever it is used.
        return {
            name: str(declared["Default"])
            for name, declared in template.parameters.items()
            if "Default" in declared and not declared.get("NoEcho")
        }

    @staticmethod
    def _same_values(live: Live, values: Mapping[str, str]) -> dict[str, str | None]:
        return {name: live.parameters.get(name) for name in values}

    def _tags(self, name: str) -> dict[str, str]:
        return {**self._settings.tags, "capability": name}

    def _refuse_missing_outputs(self) -> None:
        """Refuse to take away what a stack that stays as it is was given."""
        gone = self._strangers()
        for name, live in sorted(self._live.items()):
            if name in self._selected or name in gone:
                continue
            for parameter, need in self._live_needs(live).items():
                kept = self._templates[need.stack].outputs if need.stack in self._selected else None
                if need.stack in gone or (kept is not None and need.output not in kept):
                    raise StackError(
                        f"{need.stack}: the output {need.output} would go, and the stack {name} was given it as "
                        f"{parameter}: keep it, or apply {name} in the same run without that parameter."
                    )

    def _live_needs(self, live: Live) -> dict[str, Need]:
        others = {name: other.outputs for name, other in self._live.items() if name != live.stack}
        found = {parameter: templates_.owner_of(parameter, others) for parameter in live.parameters}
        return {key: need for key, need in found.items() if need and need.output in others[need.stack]}

    def _strangers(self) -> list[str]:
        """List the stacks that are there and no longer described."""
        return sorted(set(self._live) - set(self._templates)) if self._settings.prune and self._all else []

    def _deleted(self, name: str) -> StackPlan:
        document = self._before.get(name) or self._body(self._live[name])
        template = Template(name, "", document)
        return StackPlan(
            name,
            "delete",
            tuple(
                Change(name, key, resource["Type"], "delete", (), key in template.stateful)
                for key, resource in sorted(template.resources.items())
            ),
        )

    # --- apply

    def apply(self, plan: Plan) -> Outcome:
        """Carry a plan out: every stack as soon as those that it needs are done. Raises StackError if it is refused."""
        self._refuse(plan.changes)
        moving = {stack.stack for stack in plan.stacks if stack.operation in ("create", "update")}
        before = {name: {need.stack for need in self._needs[name].values()} for name in moving}
        # Who no longer uses a thing lets go of it before it is removed, where the order allows that.
        for consumer in sorted(moving & set(self._live)):
            for need in self._live_needs(self._live[consumer]).values():
                if need.stack in moving and need not in self._needs[consumer].values():
                    trial = {**before, need.stack: before[need.stack] | {consumer}}
                    try:
                        templates_.order(trial).prepare()
                    except TemplateError:
                        continue
                    before = trial
        outcome = self._in_order(before, self._apply_one)
        deleted = [stack.stack for stack in plan.stacks if stack.operation == "delete"]
        if deleted and not outcome.failed:
            outcome.add(self._destroy(deleted))
        elif deleted:
            outcome.untouched += deleted
        return outcome

    def _apply_one(self, name: str, outcome: Outcome) -> tuple[Change, ...]:
        live = self._live.get(name)
        if live and live.status in VOID and live.status != "REVIEW_IN_PROGRESS":
            self._say(f"{name}: removing what an earlier creation left ({live.status})")
            self._delete_one(live, outcome)
            self._live.pop(name)
            live = None
        kind = "UPDATE" if live and live.status not in VOID else "CREATE"
        template, values, begun = self._templates[name], self._values(name), time.time()
        region = template.region or self._settings.region
        ours = self._confirmed_in(name)
        found = self._change_set(name, values, kind)
        changes = self._changes(name, found, values) if found else ()
        doomed = {change.logical_id for change in changes if change.action in DESTROYING}
        if found:
            if self.refused(changes):
                self._drop(name, found, kind)
            self._refuse(changes)
            if live and doomed:
                if ours:
                    self._protect(region, name, template.stateful, ours)
                if templates_.unprotected(self._before[name], doomed):
                    self._drop(name, found, kind)
                    self._lift(live, self._before[name], doomed)
                    found = self._change_set(name, values, kind) or found
            self._client(region).execute_change_set(ChangeSetName=found.id, RetainExceptOnCreate=True)
        after = self._wait(self._describe(region, self._settings.name(name)), len(changes))
        # Protected before anything else is looked at: also a stack whose change was rolled back holds data.
        if after.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"):
            self._protect(region, name, template.stateful, frozenset())
        self._live[name] = after
        if found and after.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
            raise StackError(f"{self._failures(after, begun)}. {_remains(after.status)}")
        events = self._events(after, begun) if doomed else []
        if left := [event for event in events if event["ResourceStatus"] == "DELETE_FAILED"]:
            # CloudFormation calls this a success, and forgets them.
            raise StackError(f"{self._words(left)}. The stack is changed, and that is left outside of it.")
        return changes

    def _protect(self, region: str, name: str, stateful: frozenset[str], confirmed: frozenset[str]) -> None:
        if stateful:
            client, stack = self._client(region), self._settings.name(name)
            client.update_termination_protection(StackName=stack, EnableTerminationProtection=True)
            client.set_stack_policy(StackName=stack, StackPolicyBody=templates_.policy(stateful, confirmed))

    def refused(self, changes: Iterable[Change]) -> list[Change]:
        """List what would be destroyed without having been confirmed, by its name or with the whole environment."""
        whole = self._settings.prefix in self._settings.confirmed
        return [] if whole else refused(list(changes), self._settings.confirmed)

    def _confirmed_in(self, name: str) -> frozenset[str]:
        confirmed = self._settings.confirmed
        if self._settings.prefix in confirmed:
            return self._templates[name].stateful
        return frozenset(item.removeprefix(f"{name}.") for item in confirmed if item.startswith(f"{name}."))

    def _refuse(self, changes: Iterable[Change]) -> None:
        if found := self.refused(changes):
            raise StackError(refusal(found))

    # --- drift

    def drift(self) -> dict[str, Any]:
        """Compare what is there with what was applied: `drifted`, `unchecked` types, and `strangers` by their ARN."""
        self.read()
        self._name_literally()
        lives = {name: live for name, live in self._live.items() if live.status not in VOID}
        found = [drift for drifts in self._each(lives, self._drifts).values() for drift in drifts]
        drifted = [
            {
                "name": f"{name}.{drift['LogicalResourceId']}",
                "stack": name,
                "logical_id": drift["LogicalResourceId"],
                "type": drift["ResourceType"],
                "status": drift["StackResourceDriftStatus"].lower(),
                "properties": [
                    {
                        "path": item["PropertyPath"].strip("/").replace("/", "."),
                        "before": item["ExpectedValue"],
                        "after": item["ActualValue"],
                    }
                    for item in drift.get("PropertyDifferences", [])
                ],
            }
            for name, drift in found
            if drift["StackResourceDriftStatus"] in ("MODIFIED", "DELETED")
        ]
        checked = {drift["ResourceType"] for _, drift in found if drift["StackResourceDriftStatus"] != "NOT_CHECKED"}
        resources = self.resources()
        return {
            "drifted": drifted,
            "unchecked": sorted({item["type"] for item in resources} - checked),
            "strangers": self._undeclared({item["physical_id"] for item in resources} - {""}),
            "resources": resources,
        }

    def _drifts(self, name: str, live: Live) -> list[tuple[str, dict[str, Any]]]:
        client = self._client(live.region)
        identity = client.detect_stack_drift(StackName=live.name)["StackDriftDetectionId"]
        answer = self._until(
            lambda: client.describe_stack_drift_detection_status(StackDriftDetectionId=identity),
            lambda found: found["DetectionStatus"] != "DETECTION_IN_PROGRESS",
            f"{name}: the search for drift",
        )
        # Some types fail on some resources; what was read is still worth having.
        if answer["DetectionStatus"] == "DETECTION_FAILED":
            self._say(f"{name}: the search for drift was not complete: {answer.get('DetectionStatusReason', '')}")
        drifts: list[tuple[str, dict[str, Any]]] = []
        token: dict[str, str] = {}
        while True:
            page = client.describe_stack_resource_drifts(StackName=live.name, **token)
            drifts += [(name, drift) for drift in page["StackResourceDrifts"]]
            if not page.get("NextToken"):
                return drifts
            token = {"NextToken": page["NextToken"]}

    def _undeclared(self, physical: Collection[str]) -> list[str]:
        """List what carries the environment's tags and belongs to no stack."""
        filters = [{"Key": key, "Values": [value]} for key, value in self._settings.tags.items()]
        ids = {live.id for live in self._live.values()}

        def one(region: str, _: object) -> list[str]:
            client = self._client(region, "resourcegroupstaggingapi")
            pages = client.get_paginator("get_resources").paginate(TagFilters=filters)
            found = [item for page in pages for item in page["ResourceTagMappingList"]]
            return [
                item["ResourceARN"]
                for item in found
                if not any(tag["Value"] in ids for tag in item["Tags"] if tag["Key"] == "aws:cloudformation:stack-id")
                and not any(part in item["ResourceARN"] for part in BY_SERVICES)
                and not _names(item["ResourceARN"], physical)
            ]

        regions = {live.region for live in self._live.values()} | {self._settings.region}
        return sorted({arn for arns in self._each(regions, one).values() for arn in arns})

    # --- delete

    def destroy(self, selected: Collection[str] = ()) -> tuple[Plan, Callable[[], Outcome]]:
        """Return what would be deleted, and what deletes it: those first that nobody needs any more."""
        self.read()
        names = sorted(name for name in self._live if not selected or name in selected)
        for name, live in self._live.items():
            if name not in names and (used := {need.stack for need in self._live_needs(live).values()} & set(names)):
                raise StackError(f"{min(used)}: the stack {name} needs it, so delete that one as well.")
        plan = Plan(tuple(self._each(names, lambda name, _: self._deleted(name)).values()))
        return plan, lambda: self._destroy(names, plan.changes)

    def _destroy(self, names: Collection[str], changes: Iterable[Change] = ()) -> Outcome:
        self._refuse(changes)
        before: dict[str, set[str]] = {name: set() for name in names}
        for name in names:
            for need in self._live_needs(self._live[name]).values():
                before.get(need.stack, set()).add(name)

        def delete(name: str, outcome: Outcome) -> tuple[Change, ...]:
            plan = self._deleted(name)
            self._delete_one(self._live[name], outcome)
            self._live.pop(name)
            return plan.changes

        return self._in_order(before, delete)

    def _delete_one(self, live: Live, outcome: Outcome) -> None:
        client, begun = self._client(live.region), time.time()
        if live.protected:
            client.update_termination_protection(StackName=live.name, EnableTerminationProtection=False)
        if live.status not in VOID:
            self._lift(live, self._body(live), None)
        client.delete_stack(StackName=live.name)
        after = self._wait(live)
        events = self._events(live, begun)
        if kept := [event["LogicalResourceId"] for event in events if event["ResourceStatus"] == "DELETE_SKIPPED"]:
            outcome.kept[live.stack] = sorted(set(kept))
        if after.status != "DELETE_COMPLETE":
            raise StackError(f"{self._failures(after, begun)}. {_remains(after.status)}")

    def _lift(self, live: Live, document: Mapping[str, Any], names: Collection[str] | None) -> None:
        """Lift the protection of resources that will be deleted, by an update of the stack as it is."""
        if not (lifted := templates_.unprotected(document, names)):
            return
        self._say(f"{live.stack}: lifting the protection of what will be deleted")
        previous = [{"ParameterKey": key, "UsePreviousValue": True} for key in live.parameters]
        body, begun = json.dumps(lifted, separators=(",", ":")), time.time()
        if found := self._ask(live.stack, live.region, "UPDATE", TemplateBody=body, Parameters=previous):
            self._client(live.region).execute_change_set(ChangeSetName=found.id)
            if (after := self._wait(live, len(found.raw))).status != "UPDATE_COMPLETE":
                raise StackError(
                    f"its protection cannot be lifted: {self._failures(after, begun)}. {_remains(after.status)}"
                )

    # --- what the above stands on

    def _client(self, region: str, service: str = "cloudformation") -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._client_of(service, region)
            return self._clients[service, region]

    def _each(self, names: Iterable[str], call: Callable[[str, Any], T]) -> dict[str, T]:
        """Call for every name at the same time; a mapping's value is passed along."""
        values = names if isinstance(names, Mapping) else dict.fromkeys(names)
        with ThreadPoolExecutor(self._settings.workers) as pool:
            futures = {name: pool.submit(call, name, value) for name, value in values.items()}
        return {name: future.result() for name, future in futures.items()}

    def _in_order(self, before: Mapping[str, set[str]], work: Callable[[str, Outcome], tuple[Change, ...]]) -> Outcome:
        """Work on every stack once those before it are done; what comes after a failed one is not touched."""
        outcome, order = Outcome(), templates_.order(before)
        order.prepare()
        running: dict[Future[tuple[Change, ...]], tuple[str, float]] = {}
        with ThreadPoolExecutor(self._settings.workers) as pool:
            while True:
                for name in order.get_ready():
                    running[pool.submit(work, name, outcome)] = (name, time.monotonic())
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name, begun = running.pop(future)
                    outcome.seconds[name] = round(time.monotonic() - begun, 2)
                    try:
                        outcome.done[name] = future.result()
                    except (StackError, BotoCoreError, ClientError) as error:
                        outcome.failed[name] = self._explained(name, error)
                    else:
                        order.done(name)
        outcome.untouched = sorted(set(before) - set(outcome.done) - set(outcome.failed))
        return outcome

    def _explained(self, name: str, error: Exception) -> str:
        if isinstance(error, (BotoCoreError, ClientError)):
            template = self._templates.get(name)
            return explain(error, (template and template.region) or self._settings.region)
        return str(error)

    def _body(self, live: Live) -> dict[str, Any]:
        answer = self._client(live.region).get_template(StackName=live.name, TemplateStage="Original")
        return templates_.parse(answer["TemplateBody"] or '{"Resources": {}}')

    def _change_set(self, name: str, values: Mapping[str, str], kind: str) -> ChangeSet | None:
        template = self._templates[name]
        if missing := [key for key, value in values.items() if value == PLACEHOLDER and kind == "CREATE"]:
            raise StackError(f"{name}: {self._needs[name][missing[0]].stack} has given no value for {missing[0]}.")
        return self._ask(
            name,
            template.region or self._settings.region,
            kind,
            TemplateBody=template.body,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
            ImportExistingResources=True,
        )

    def _ask(self, name: str, region: str, kind: str, **request: Any) -> ChangeSet | None:
        """Have CloudFormation work out the changes; None when there are none."""
        client = self._client(region)
        identity = client.create_change_set(
            StackName=self._settings.name(name),
            ChangeSetName=f"plan-{uuid.uuid4().hex[:12]}",
            ChangeSetType=kind,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in self._tags(name).items()],
            **request,
        )["Id"]
        first = self._until(
            lambda: client.describe_change_set(ChangeSetName=identity),
            lambda found: found["Status"] in ("CREATE_COMPLETE", "FAILED"),
            f"{name}: its change set",
        )
        if first["Status"] == "FAILED":
            reason = first.get("StatusReason", "")
            self._drop(name, ChangeSet(identity, []), kind)
            if any(text in reason for text in NO_CHANGES):
                return None
            raise StackError(f"{name}: CloudFormation refuses the template: {_one_line(reason)}{hint(reason)}.")
        pages = client.get_paginator("describe_change_set").paginate(ChangeSetName=identity, IncludePropertyValues=True)
        changes = [change["ResourceChange"] for page in pages for change in page.get("Changes", [])]
        return ChangeSet(identity, changes)

    def _drop(self, name: str, found: ChangeSet, kind: str) -> None:
        template = self._templates.get(name)
        client = self._client((template and template.region) or self._settings.region)
        client.delete_change_set(ChangeSetName=found.id)
        # A change set that creates has a stack without anything for a placeholder.
        if kind == "CREATE":
            client.delete_stack(StackName=self._settings.name(name))

    def _describe(self, region: str, name_or_id: str) -> Live:
        return self._lived(self._client(region).describe_stacks(StackName=name_or_id)["Stacks"][0], region)

    def _wait(self, live: Live, expected: int = 0) -> Live:
        """Wait until nothing is being done to the stack any more; tell how far it is whenever that changes."""
        begun, told = time.time(), ""

        def ended(now: Live) -> bool:
            nonlocal told
            done = now.status == "REVIEW_IN_PROGRESS" or not now.status.endswith("_IN_PROGRESS")
            if not done:
                events = self._events(now, begun)
                ready = {
                    event["LogicalResourceId"] for event in events if event["ResourceStatus"].endswith("_COMPLETE")
                }
                of = f" of {expected}" if expected else ""
                if (text := f"{live.stack}: {now.status}, {len(ready)}{of} resources") != told:
                    self._say(told := text)
            return done

        # By its id: a stack that is deleted has no name any more.
        return self._until(lambda: self._describe(live.region, live.id), ended, f"{live.stack}: the stack {live.name}")

    def _until(self, ask: Callable[[], T], ended: Callable[[T], bool], what: str) -> T:
        """Ask again and again, ever less often."""
        end, delay = time.monotonic() + self._settings.timeout, FIRST_DELAY
        while not ended(answer := ask()):
            if time.monotonic() > end:
                raise StackError(
                    f"{what} is still being worked on after {self._settings.timeout:.0f} s: AWS carries on; repeat the "
                    "run, which waits for it."
                )
            time.sleep(delay)
            delay = min(delay * 1.5, LONGEST_DELAY)
        return answer

    def _events(self, live: Live, since: float) -> list[dict[str, Any]]:
        """The events of its resources since then, the oldest first. Two seconds allow for another clock."""
        return [event for event in self._all_events(live, since) if event.get("PhysicalResourceId") != live.id]

    def _all_events(self, live: Live, since: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in self._client(live.region).get_paginator("describe_stack_events").paginate(StackName=live.id):
            events = [event for event in page["StackEvents"] if _at(event["Timestamp"]) >= since - 2]
            found += events
            if len(events) < len(page["StackEvents"]):
                break
        return found[::-1]

    def _failures(self, live: Live, since: float) -> str:
        failed = [event for event in self._events(live, since) if event["ResourceStatus"].endswith("_FAILED")]
        # What was cancelled only stood beside the one that failed.
        causes = [event for event in failed if "cancelled" not in event.get("ResourceStatusReason", "")] or failed
        words = self._words(causes or self._validation_errors(live, since))
        if words:
            return words
        own = [event.get("ResourceStatusReason") for event in self._all_events(live, since)]
        reason = next((_one_line(text) for text in own if text and text != "User Initiated"), "no reason was given")
        return f"the stack {live.name} ended as {live.status}: {reason}"

    @staticmethod
    def _words(events: Iterable[Mapping[str, Any]]) -> str:
        told = [
            (event, event.get("ResourceStatusReason") or event.get("ValidationStatusReason") or "no reason was given")
            for event in events
        ]
        words = [
            f"{event['LogicalResourceId']} ({event['ResourceType']}) failed: {_one_line(reason)}{hint(reason)}"
            for event, reason in told
        ]
        return "; ".join(dict.fromkeys(words))

    def _validation_errors(self, live: Live, since: float) -> list[dict[str, Any]]:
        """What CloudFormation found wrong before it touched any resource; these are events of another kind."""
        pages = self._client(live.region).get_paginator("describe_events").paginate(StackName=live.id)
        return [
            event
            for page in pages
            for event in page["OperationEvents"]
            if event["EventType"] == "VALIDATION_ERROR" and _at(event["Timestamp"]) >= since - 2
        ]


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _at(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _indirect(detail: Mapping[str, Any]) -> bool:
    return detail.get("Evaluation") == "Dynamic" and detail.get("ChangeSource") != "DirectModification"


def _stays(detail: Mapping[str, Any]) -> bool:
    """Whether it is an attribute that a resource keeps for as long as it is not replaced."""
    return STAYING.search(detail.get("CausingEntity", "")) is not None


def _told(details: Iterable[Mapping[str, Any]]) -> Iterable[Property]:
    """What CloudFormation itself says of a change that no template shows: what caused it."""
    for detail in details:
        target = detail["Target"]
        path = target.get("Name") or target.get("Attribute", "")
        cause = f"${{{detail['CausingEntity']}}}" if detail.get("CausingEntity") else PLACEHOLDER
        yield Property(path, target.get("BeforeValue", ""), target.get("AfterValue", cause))


def _names(arn: str, physical: Collection[str]) -> bool:
    """Whether an ARN is one of these resources, some of which are known by their name or address alone."""
    return arn in physical or arn.split(":")[-1].split("/")[-1] in physical or any(
        item.split("/")[-1] in (arn.split(":")[-1], arn.split("/")[-1], arn.split(":", 5)[-1]) for item in physical
    )  # fmt: skip


def _remains(status: str) -> str:
    return {
        "ROLLBACK_COMPLETE": "What was made of the new stack is removed again; the next run makes it from the start",
        "UPDATE_ROLLBACK_COMPLETE": "The stack is rolled back to what it was before",
        "IMPORT_ROLLBACK_COMPLETE": "The stack is rolled back to what it was before",
        "ROLLBACK_FAILED": "Its resources could not all be removed; the next run removes them and starts again",
        "DELETE_FAILED": "Its other resources are gone; put that right, and the next run deletes the rest",
    }.get(status, f"The stack is now {status}") + "."
