"""What a run would change in an environment's stacks: CloudFormation's change sets, and what these do not say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import aws_stack_adoption as adoption
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import ChangeSet, Live
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_environment import PLACEHOLDER, Environment
from ansible_collections.gym.platform.plugins.module_utils.aws_template_differences import (
    mentions,
    resolved,
    resource_differences,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_template_needs import Need
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import STATEFUL_TYPES, retained
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import (
    Action,
    Change,
    Plan,
    Property,
    Ripple,
    StackPlan,
)

ACTIONS: Mapping[str, Action] = {"Add": "add", "Import": "adopt", "Remove": "delete", "Modify": "modify"}
STAYING = re.compile(r"\.\w*(Arn|Id|Name|Url|Uri|Address|Port)$", re.IGNORECASE)
# What a stack begins with that adopts before it creates; no change of the environment.
BEGINNING = "AWS::CloudFormation::WaitConditionHandle"


class Planner:
    """Plans of one environment."""

    def __init__(self, environment: Environment) -> None:
        """Plan for these stacks."""
        self._env, self._calls = environment, environment.calls

    def plan(self) -> Plan:
        """Work out what apply would change. Raises RequestError when an output would go that another stack needs."""
        env = self._env
        env.read_templates()
        env.name_literally()
        self._refuse_missing_outputs()
        plans: dict[str, StackPlan] = {}
        moving: set[Need] = set()
        todo = env.selected
        # A change set ends at its stack. Who gets a value from what moves is planned again, until nothing more moves.
        while todo:
            plans |= self._calls.each(todo, lambda name, _: self._planned(name, moving))  # noqa: B023  called at once
            more = {need for name in todo for need in self._moved(plans[name], moving)} - moving
            moving |= more
            todo = [name for name in env.selected if more & set(env.needs[name].values())]
        ripples = tuple(
            Ripple(name, parameter, f"{need.stack}.{need.output}")
            for name in env.selected
            for parameter, need in env.needs[name].items()
            if need in moving and name in env.live and need.stack in env.live
        )
        return Plan((*plans.values(), *map(env.deletion, env.undescribed())), ripples)

    def _planned(self, name: str, moving: Collection[Need]) -> StackPlan:
        live, template = self._env.live.get(name), self._env.templates[name]
        values = self._env.values(name, moving)
        if live is None or live.void:
            return StackPlan(name, "create", self._creation(name, values))
        given = {key: live.parameters.get(key) for key in values}
        same = template.document == self._env.before[name] and values == given
        if same and self._env.settings.tags_of(name) == live.tags and not template.follows_others:
            lacking = template.stateful and not live.protected
            return StackPlan(name, "update" if lacking else "none")
        adopted = self.adoptable(name)
        try:
            found = self.change_set(name, values, "UPDATE", adopted)
        except RequestError:
            # A placeholder can be what CloudFormation refuses; then the templates alone say what differs.
            if PLACEHOLDER not in values.values():
                raise
            return StackPlan(name, "update", self._compared(name, live, values, adopted))
        if found is None:
            return StackPlan(name, "none")
        self._calls.drop(found)
        return StackPlan(name, "update", self.changes(name, found, values, adopted))

    def _creation(self, name: str, values: Mapping[str, str]) -> tuple[Change, ...]:
        """A new stack's resources; CloudFormation is only asked when it could adopt one that an earlier stack left."""
        adopted = self.adoptable(name)
        kept = any(map(retained, self._env.templates[name].resources.values()))
        if kept and name not in self._env.live and PLACEHOLDER not in values.values():
            found = self.change_set(name, values, "CREATE", adopted)
            if found is not None:
                self._calls.drop(found)
                return self.changes(name, found, values, adopted)
        return self._compared(name, None, values, adopted)

    def adoptable(self, name: str) -> adoption.Adopted:
        """Find what is kept of the resources that a stack is going to get."""
        env = self._env
        present = env.before.get(name, {}).get("Resources", {})
        return adoption.adoptable(self._calls, env.templates[name], env.region(name), env.live.get(name), present)

    def change_set(
        self, name: str, values: Mapping[str, str], kind: str, adopted: Collection[str] = ()
    ) -> ChangeSet | None:
        """Have a stack's changes worked out, or None; with something `adopted` they can only be looked at."""
        template = self._env.templates[name]
        if missing := [key for key, value in values.items() if value == PLACEHOLDER and kind == "CREATE"]:
            if missing[0] in template.remembered:
                raise RequestError(
                    f"{name}: nothing says {missing[0]}, which has to be given once, in `parameters`: for a stand-in,"
                    " playbooks/evacuate_region.yml does."
                )
            giver = self._env.needs[name][missing[0]].stack
            raise RequestError(f"{name}: {giver} has given no value for {missing[0]}.")
        return self._calls.change_set(
            name,
            self._env.region(name),
            kind,
            TemplateBody=adoption.unnamed(template, adopted) if adopted else template.body,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
            Tags=[{"Key": key, "Value": value} for key, value in self._env.settings.tags_of(name).items()],
            ImportExistingResources=True,
        )

    def _compared(
        self, name: str, live: Live | None, values: Mapping[str, str], adopted: Collection[str]
    ) -> tuple[Change, ...]:
        before = self._env.before[name]["Resources"] if live else {}
        after = self._env.templates[name].resources
        raw = [
            {
                "Action": "Add" if key not in before else "Remove" if key not in after else "Modify",
                "LogicalResourceId": key,
                "ResourceType": after.get(key, before.get(key))["Type"],
            }
            for key in dict.fromkeys((*before, *after))
        ]
        changes = self.changes(name, ChangeSet("", "", "", "", raw), values, adopted)
        return tuple(change for change in changes if change.properties or change.action != "modify")

    def changes(
        self, name: str, found: ChangeSet, values: Mapping[str, str], adopted: Collection[str] = ()
    ) -> tuple[Change, ...]:
        """Say field by field what a change set does, in the order of the logical ids."""
        live, template = self._env.live.get(name), self._env.templates[name]
        before = self._env.before.get(name, {}).get("Resources", {})
        old = live.parameters if live else {}
        new = {**template.defaults, **values}
        changes = []
        for raw in found.raw:
            key, kind, replacement = raw["LogicalResourceId"], raw["ResourceType"], raw.get("Replacement", "False")
            properties = resource_differences(before.get(key), template.resources.get(key), old, new)
            details = raw.get("Details", [])
            # Not by our own doing, but by another resource's attribute, which may well stay as it is.
            indirect = bool(details) and not properties and all(map(_indirect, details))
            if kind == BEGINNING or (indirect and all(map(_stays, details))):
                continue
            action = "adopt" if key in adopted else ACTIONS[raw["Action"]]
            changes.append(
                Change(
                    name,
                    key,
                    kind,
                    "replace" if replacement in ("True", "Conditional") else action,
                    # A new stack's template says the same.
                    (properties or tuple(_told(details))) if before else (),
                    key in template.stateful or kind in STATEFUL_TYPES,
                    replacement != "Conditional" and not indirect,
                )
            )
        return tuple(sorted(changes, key=lambda change: change.logical_id))

    def _moved(self, plan: StackPlan, moving: Collection[Need]) -> set[Need]:
        """List the outputs of a stack that will have another value than now, or that are not there yet."""
        name = plan.stack
        live, template = self._env.live.get(name), self._env.templates[name]
        new = {change.logical_id for change in plan.changes if change.action in ("add", "adopt", "replace")}
        old_outputs = self._env.before.get(name, {}).get("Outputs", {})
        values = {**template.defaults, **self._env.values(name, moving)}

        def moves(key: str, output: Mapping[str, Any]) -> bool:
            if live is None or key not in live.outputs or mentions(output["Value"]) & new:
                return True
            before = resolved(old_outputs.get(key, {}).get("Value"), live.parameters)
            return bool(before != resolved(output["Value"], values))

        return {Need(name, key) for key, output in template.outputs.items() if moves(key, output)}

    def _refuse_missing_outputs(self) -> None:
        """Refuse to take away what a stack that stays as it is was given."""
        env, gone = self._env, self._env.undescribed()
        for name, live in sorted(env.live.items()):
            if name in env.selected or name in gone:
                continue
            for parameter, need in env.live_needs(live).items():
                kept = env.templates[need.stack].outputs if need.stack in env.selected else None
                if need.stack in gone or (kept is not None and need.output not in kept):
                    raise RequestError(
                        f"{need.stack}: the output {need.output} would go, and the stack {name} was given it as "
                        f"{parameter}: keep it, or apply {name} in the same run without that parameter."
                    )


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
