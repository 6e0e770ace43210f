"""What stacks need of each other: parameters that are named after the outputs which fill them, and an order. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, TemplateError


def word(stack: str) -> str:
    """Return what parameters begin with that are filled from this stack: `backup_dr` is `BackupDr`."""
    return "".join(part.capitalize() for part in re.split(r"[-_]", stack))


def as_parameters(prefix: str, outputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return other stacks' outputs as parameters: `PrimaryCdnDomainName` of `cdn` and the prefix `primary`."""
    return {
        f"{word(prefix)}{word(stack)}{name}": value for stack, found in outputs.items() for name, value in found.items()
    }


@dataclass(frozen=True)
class Need:
    """The output of another stack that fills a parameter."""

    stack: str
    output: str


def owner_of(parameter: str, outputs: Mapping[str, Any]) -> Need | None:
    """Find the stack and the output that a parameter is named after; the longest name of a stack wins."""
    for stack in sorted(outputs, key=lambda name: -len(word(name))):
        if parameter.startswith(word(stack)) and parameter != word(stack):
            return Need(stack, parameter[len(word(stack)) :])
    return None


def needs(templates: Mapping[str, Template], given: Mapping[str, Any]) -> dict[str, dict[str, Need]]:
    """Say for each stack which of its parameters are filled from where.

    Raises TemplateError for a parameter that nothing fills, and for stacks that need each other.
    """
    outputs = {name: template.outputs for name, template in templates.items()}
    found: dict[str, dict[str, Need]] = {name: {} for name in templates}
    for name, template in templates.items():
        for parameter, declared in template.parameters.items():
            if parameter in given or "Default" in declared or parameter in template.remembered:
                continue
            need = owner_of(parameter, {other: keys for other, keys in outputs.items() if other != name})
            if need is None:
                raise TemplateError(f"{name}: {_nothing_fills(parameter, outputs)}")
            if need.output not in outputs[need.stack]:
                raise TemplateError(f"{name}: {_no_such_output(parameter, need, outputs[need.stack])}")
            found[name][parameter] = need
    order({name: {need.stack for need in fills.values()} for name, fills in found.items()}).prepare()
    return found


def _nothing_fills(parameter: str, outputs: Mapping[str, Any]) -> str:
    return (
        f"nothing fills the parameter {parameter}: name it after a stack and its output, such as "
        f"{word(next(iter(outputs)))}Id, give it a default, or pass it in `parameters`."
    )


def _no_such_output(parameter: str, need: Need, outputs: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(need.output, outputs, 1)
    listed = ", ".join(sorted(outputs)) or "none"
    hint = f"did you mean {word(need.stack)}{near[0]}?" if near else f"its outputs are {listed}."
    return (
        f"the parameter {parameter} needs the output {need.output} of {need.stack}, which has none of that name; {hint}"
    )


class Order(TopologicalSorter[str]):
    """Stacks after those that they need; a circle is an error in words."""

    def prepare(self) -> None:
        """Raise TemplateError when stacks need each other."""
        try:
            super().prepare()
        except CycleError as error:
            circle = " needs ".join(reversed(error.args[1]))
            raise TemplateError(
                f"No stack can be the first: {circle}. Take one of these parameters out of its template."
            ) from error


def order(before: Mapping[str, set[str]]) -> Order:
    """Return the order in which stacks are worked on, given what each has to wait for."""
    return Order({name: {other for other in others if other in before} for name, others in before.items()})
