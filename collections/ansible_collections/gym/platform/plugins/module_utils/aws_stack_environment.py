"""An environment's stacks as they are described, beside the same stacks as they are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Calls, Live
from ansible_collections.gym.platform.plugins.module_utils.aws_template_needs import Need, needs, owner_of
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import (
    Template,
    TemplateError,
    with_literal_names,
)
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Change, StackPlan

PLACEHOLDER = "known-after-apply"


class Environment:
    """The described templates and the live stacks; everything that both plans and applies are made of."""

    def __init__(self, calls: Calls, templates: Mapping[str, Template], selected: Collection[str]) -> None:
        """Look at the selected stacks, or at all. Raises TemplateError for what cannot work, before any call."""
        self.calls, self.settings = calls, calls.settings
        self.templates = dict(templates)
        self.needs = needs(self.templates, self.settings.parameters)
        if unknown := sorted(set(selected) - set(self.templates)) if self.templates else []:
            raise TemplateError(f"There is no stack {unknown[0]}; there are {', '.join(self.templates)}.")
        self.selected = [name for name in self.templates if not selected or name in selected]
        self._all = not selected
        self.live: dict[str, Live] = {}
        self.before: Mapping[str, Mapping[str, Any]] = {}

    # --- as it is

    def read(self) -> None:
        """Read the stacks in all of the environment's regions."""
        asked = [template.region for template in self.templates.values() if template.region]
        self.live = self.calls.lives((self.settings.region, *self.settings.regions, *asked))

    def read_templates(self) -> Mapping[str, Mapping[str, Any]]:
        """Read the stacks with their templates, and return these; one that never came to be has none."""
        self.read()
        self.before = self.calls.each(self.established(), lambda _, live: self.calls.body(live))
        return self.before

    def established(self) -> dict[str, Live]:
        """Return the stacks that came to be."""
        return {name: live for name, live in self.live.items() if not live.void}

    def outputs(self) -> dict[str, dict[str, str]]:
        """Return the outputs of all stacks."""
        return {name: dict(live.outputs) for name, live in sorted(self.live.items())}

    def resources(self) -> list[dict[str, str]]:
        """List everything that the stacks have made."""
        return [item for items in self.calls.each(self.live, self.calls.resources).values() for item in items]

    def live_needs(self, live: Live) -> dict[str, Need]:
        """Say which parameters a live stack was given from other stacks' outputs."""
        others = {name: other.outputs for name, other in self.live.items() if name != live.stack}
        found = {parameter: owner_of(parameter, others) for parameter in live.parameters}
        return {key: need for key, need in found.items() if need and need.output in others[need.stack]}

    def undescribed(self) -> list[str]:
        """List the stacks that are there and no longer described."""
        return sorted(set(self.live) - set(self.templates)) if self.settings.prune and self._all else []

    def deletion(self, name: str) -> StackPlan:
        """Return what deleting a stack does."""
        template = Template(name, "", self.before.get(name) or self.calls.body(self.live[name]))
        changes = [
            Change(name, key, resource["Type"], "delete", (), key in template.stateful)
            for key, resource in sorted(template.resources.items())
        ]
        return StackPlan(name, "delete", tuple(changes))

    # --- as it is described

    def name_literally(self) -> None:
        """Put the account and the region into the names of what is retained."""
        if not any("${AWS::AccountId}" in template.body for template in self.templates.values()):
            return
        identity = self.calls.client(self.settings.region, "sts").get_caller_identity()["Arn"]
        _, partition, _, _, account, _ = identity.split(":", 5)
        for name, template in self.templates.items():
            known = {"AWS::AccountId": account, "AWS::Partition": partition, "AWS::Region": self.region(name)}
            self.templates[name] = with_literal_names(template, known)

    def region(self, name: str) -> str:
        """Return the region of a stack; of one that is no longer described, that of the environment."""
        template = self.templates.get(name)
        return (template and template.region) or self.settings.region

    def values(self, name: str, moving: Collection[Need] = ()) -> dict[str, str]:
        """Return a stack's parameters; what is not there yet, or will be another, has a placeholder."""
        given = self.settings.parameters
        template, live = self.templates[name], self.live.get(name)
        values = {key: str(given[key]) for key in template.parameters if key in given}
        kept = live.parameters if live and not live.void else {}
        values |= {key: kept.get(key, PLACEHOLDER) for key in sorted(template.remembered) if key not in given}
        for parameter, need in self.needs[name].items():
            giver = self.live.get(need.stack)
            known = giver is not None and need not in moving
            values[parameter] = giver.outputs.get(need.output, PLACEHOLDER) if giver and known else PLACEHOLDER
        return values
