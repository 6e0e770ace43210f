"""An environment's stacks in CloudFormation: read, plan, apply, find drift, delete; all stacks at the same time.

The one way in. `aws_stack_environment` has the stacks as described and as they are, `aws_stack_calls` asks AWS,
`aws_stack_planning`, `aws_stack_applying` and `aws_stack_drift` do what they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_applying import Applier, Outcome
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Calls, Settings
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_drift import drift
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_environment import Environment
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_planning import Planner
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Change, Plan

__all__ = ["Outcome", "Settings", "Stacks"]


class Stacks(Environment):
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
        super().__init__(Calls(settings, client, say), templates or {}, selected)
        self._planner = Planner(self)
        self._applier = Applier(self, self._planner)

    def plan(self) -> Plan:
        """Work out what apply would change. Raises RequestError when an output would go that another stack needs."""
        return self._planner.plan()

    def refused(self, plan: Plan) -> list[Change]:
        """List what a plan would destroy without that being confirmed."""
        return self._applier.refused(plan.changes)

    def apply(self, plan: Plan) -> Outcome:
        """Carry a plan out: every stack as soon as those that it needs are done. Raises RequestError if refused."""
        return self._applier.apply(plan)

    def drift(self) -> dict[str, Any]:
        """Compare what is there with what was applied: `drifted`, `unchecked` types, and `strangers` by their ARN."""
        return drift(self)

    def destroy(self, selected: Collection[str] = ()) -> tuple[Plan, Callable[[], Outcome]]:
        """Return what would be deleted, and what deletes it. Raises RequestError for what another stack needs."""
        self.read()
        names = sorted(name for name in self.live if not selected or name in selected)
        for name in sorted(set(self.live) - set(names)):
            if used := {need.stack for need in self.live_needs(self.live[name]).values()} & set(names):
                raise RequestError(f"{min(used)}: the stack {name} needs it, so delete that one as well.")
        plan = Plan(tuple(self.calls.each(names, lambda name, _: self.deletion(name)).values()))
        return plan, lambda: self._applier.destroy(names, plan.changes)
