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
        self._env = Environment(Calls(settings, client, say), templates or {}, selected)
        self._planner = Planner(self._env)
        self._applier = Applier(self._env, self._planner)

    def read(self) -> None:
        """Read the stacks, and wait for those that are being worked on."""
        self._env.read()

    def read_templates(self) -> Mapping[str, Mapping[str, Any]]:
        """Read the stacks with their templates; one that never came to be has none."""
        self._env.read_templates()
        return self._env.before

    @property
    def before(self) -> Mapping[str, Mapping[str, Any]]:
        """The templates of the stacks as they were read, before anything is changed."""
        return self._env.before

    def outputs(self) -> dict[str, dict[str, str]]:
        """Return the outputs of all stacks."""
        return {name: dict(live.outputs) for name, live in sorted(self._env.live.items())}

    def resources(self) -> list[dict[str, str]]:
        """List everything that the stacks have made."""
        return self._env.resources()

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
        return drift(self._env)

    def destroy(self, selected: Collection[str] = ()) -> tuple[Plan, Callable[[], Outcome]]:
        """Return what would be deleted, and what deletes it. Raises RequestError for what another stack needs."""
        self._env.read()
        live = self._env.live
        names = sorted(name for name in live if not selected or name in selected)
        for name in sorted(set(live) - set(names)):
            if used := {need.stack for need in self._env.live_needs(live[name]).values()} & set(names):
                raise RequestError(f"{min(used)}: the stack {name} needs it, so delete that one as well.")
        plan = Plan(tuple(self._env.calls.each(names, lambda name, _: self._env.deletion(name)).values()))
        return plan, lambda: self._applier.destroy(names, plan.changes)
