"""What a run will change in an environment's stacks, in words that belong to no provider. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["add", "adopt", "modify", "replace", "delete"]
Operation = Literal["create", "update", "delete", "none"]

SIGNS: Mapping[Action, str] = {"add": "+", "adopt": ">", "modify": "~", "replace": "-/+", "delete": "-"}
DESTROYING: tuple[Action, ...] = ("replace", "delete")
WIDTH = 72


@dataclass(frozen=True)
class Property:
    """One value of a resource; `None` where there was none, or where there will be none."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """What happens to one resource.

    A change that is not `certain` depends on a value that exists only when another resource has been changed: it, or
    its replacement, can turn out to be needless. `stateful` resources hold data that a new one would not have.
    """

    stack: str
    logical_id: str
    type: str
    action: Action
    properties: tuple[Property, ...] = ()
    stateful: bool = False
    certain: bool = True

    @property
    def name(self) -> str:
        """The resource as people name it, also in `confirm_destroy`."""
        return f"{self.stack}.{self.logical_id}"


@dataclass(frozen=True)
class Ripple:
    """A stack that gets another value, because of what happens to a resource of another one."""

    stack: str
    parameter: str
    source: str


@dataclass(frozen=True)
class StackPlan:
    """What happens to one stack. An update without changes only gives out other outputs."""

    stack: str
    operation: Operation
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What happens to the environment."""

    stacks: tuple[StackPlan, ...] = ()
    ripples: tuple[Ripple, ...] = field(default=())

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, stack by stack."""
        return tuple(change for stack in self.stacks for change in stack.changes)

    @property
    def empty(self) -> bool:
        """Whether everything is as described."""
        return all(stack.operation == "none" for stack in self.stacks)

    @property
    def summary(self) -> dict[str, int]:
        """How many resources are added, adopted, modified, replaced and deleted."""
        counted = Counter(change.action for change in self.changes)
        return {action: counted[action] for action in SIGNS}

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for reports, prices and callers of the module."""
        return {
            "changes": [{"name": change.name, **asdict(change)} for change in self.changes],
            "ripples": [asdict(ripple) for ripple in self.ripples],
            "stacks": {stack.stack: stack.operation for stack in self.stacks},
            "summary": self.summary,
        }


def refused(changes: Collection[Change], confirmed: Collection[str]) -> list[Change]:
    """List the changes that destroy something stateful which nobody has named in `confirmed`."""
    return [
        change for change in changes if change.stateful and change.action in DESTROYING and change.name not in confirmed
    ]


def refusal(changes: Collection[Change]) -> str:
    """Say why a plan is not carried out, and what to do."""
    listed = ", ".join(f"{change.name} ({change.type}) would be {change.action}d" for change in changes)
    names = ", ".join(change.name for change in changes)
    return (
        f"{listed}, with what it holds: undo the change of its description, or, when that is really meant, "
        f"confirm_destroy: [{names}]."
    )


def rendered(plan: Plan) -> str:
    """Return the plan as text, to be read by the person who decides."""
    lines = [line for stack in plan.stacks if stack.operation != "none" for line in _stack(stack)]
    ripples = [f"  {item.stack} gets another {item.parameter}, because {item.source} changes" for item in plan.ripples]
    if ripples:
        ripples.append("")
    return "\n".join([*lines, *ripples, _totals(plan)]) + "\n"


def _stack(plan: StackPlan) -> Iterator[str]:
    yield f"{plan.stack}: {plan.operation}"
    for change in plan.changes:
        notes = [
            note
            for note, applies in (
                ("holds data", change.stateful and change.action in DESTROYING),
                ("perhaps", not change.certain),
            )
            if applies
        ]
        yield f"  {SIGNS[change.action]:>3} {change.logical_id}  {change.type}" + "".join(f"  ({n})" for n in notes)
        # A new stack's template says the same, and a deleted one's says it no longer matters.
        if plan.operation == "update" and change.action in ("add", "modify", "replace"):
            yield from (f"        {_property(item)}" for item in change.properties)
    if not plan.changes:
        yield "      outputs only"
    yield ""


def _property(item: Property) -> str:
    if item.before is None:
        return f"+ {item.path}: {_value(item.after)}"
    if item.after is None:
        return f"- {item.path}: {_value(item.before)}"
    return f"~ {item.path}: {_value(item.before)} -> {_value(item.after)}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _totals(plan: Plan) -> str:
    if plan.empty:
        return "Nothing to change: everything is as described."
    return "Plan: " + ", ".join(f"{plan.summary[action]} to {action}" for action in SIGNS) + "."
