"""What a CloudFormation template says, as far as it is known before its stack exists."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_templates import load

# A template of AWS refers to these without declaring them.
PSEUDO = {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": None}
REFERENCE = re.compile(r"\$\{([^!}][^}]*)\}")


class Unknown(LookupError):  # noqa: N818  not a fault: a value that only the stack itself will have
    """A value that is not known before the stack exists."""


@dataclasses.dataclass(frozen=True)
class Resource:
    """One resource of a template; `properties` still has its intrinsic functions."""

    name: str
    type: str
    properties: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Template:
    """One stack's template, with the values of its parameters."""

    stack: str
    body: Mapping[str, Any]
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, stack: str, body: Mapping[str, Any], given: Mapping[str, Any], region: str) -> Template:
        """Take a parsed template. A parameter has the value `given` for its name, or else its default.

        `region` is the environment's: that of the stack unless its `Metadata.Platform.Region` says otherwise.
        """
        known = {
            name: given.get(name, declared.get("Default"))
            for name, declared in (body.get("Parameters") or {}).items()
            if name in given or "Default" in declared
        }
        own = _platform(body).get("Region")
        return cls(stack, body, {**PSEUDO, **known, "AWS::Region": own or region})

    @property
    def region(self) -> str:
        """The region that the stack is made in."""
        return str(self.parameters["AWS::Region"])

    @functools.cached_property
    def resources(self) -> dict[str, Resource]:
        """The resources by logical name, without those whose condition is known to be false.

        What a release makes is among them: a resource tells of it in its `Metadata.Platform.Released`. So does one of
        what it has without being given it, such as the disk of what it is restored from: `Metadata.Platform.Has`.
        """
        own = self.body["Resources"]
        released = {name: one for found in own.values() for name, one in _platform(found).get("Released", {}).items()}
        return {
            name: Resource(
                name, str(found["Type"]), {**_platform(found).get("Has", {}), **(found.get("Properties") or {})}
            )
            for name, found in {**own, **released}.items()
            if self._wanted(found.get("Condition"))
        }

    def of_type(self, kind: str) -> Iterator[Resource]:
        """Go through the resources of one type."""
        return (resource for resource in self.resources.values() if resource.type == kind)

    def _wanted(self, condition: str | None) -> bool:
        try:
            return condition is None or bool(self.value({"Condition": condition}))
        except Unknown:
            return True

    def value(self, found: Any) -> Any:
        """Return a value with its intrinsic functions worked out. Raises Unknown."""
        if isinstance(found, list):
            return [self.value(item) for item in found]
        if not isinstance(found, dict):
            return found
        if len(found) == 1:
            ((name, argument),) = found.items()
            if name in FUNCTIONS:
                return FUNCTIONS[name](self, argument)
            if name.startswith("Fn::"):
                raise Unknown(name)
        return {key: self.value(item) for key, item in found.items()}

    def known(self, found: Any) -> Any:
        """Return a record with everything worked out that can be; the rest stays as the template says it."""
        try:
            return self.value(found)
        except Unknown:
            pass
        if isinstance(found, list):
            return [self.known(item) for item in found]
        if len(found) == 1 and next(iter(found)) in (*FUNCTIONS, "Fn::GetAtt"):
            return found
        return {key: self.known(item) for key, item in found.items()}

    def target(self, found: Any) -> Resource | None:
        """Return the resource of this template that a `Ref` or `Fn::GetAtt` names."""
        if not isinstance(found, dict) or len(found) != 1:
            return None
        name = found.get("Ref") or (found.get("Fn::GetAtt") or [None])[0]
        return self.resources.get(str(name))


def _platform(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a template or a resource tells this project alone."""
    return (found.get("Metadata") or {}).get("Platform") or {}


def _ref(template: Template, name: str) -> Any:
    if name not in template.parameters:
        raise Unknown(name)
    return template.parameters[name]


def _condition(template: Template, name: str) -> bool:
    conditions = template.body.get("Conditions") or {}
    if name not in conditions:
        raise Unknown(name)
    return bool(template.value(conditions[name]))


def _if(template: Template, argument: list[Any]) -> Any:
    name, yes, no = argument
    return template.value(yes if _condition(template, name) else no)


def _equals(template: Template, argument: list[Any]) -> bool:
    left, right = template.value(argument)
    return str(left) == str(right)


def _sub(template: Template, argument: Any) -> str:
    text, own = argument if isinstance(argument, list) else (argument, {})
    values = {name: template.value(value) for name, value in own.items()}
    return REFERENCE.sub(lambda m: str(values[m[1]] if m[1] in values else _ref(template, m[1])), text)


def _join(template: Template, argument: list[Any]) -> str:
    separator, items = template.value(argument)
    return str(separator).join(map(str, items))


def _select(template: Template, argument: list[Any]) -> Any:
    index, items = template.value(argument)
    return items[int(index)]


def _split(template: Template, argument: list[Any]) -> list[str]:
    separator, text = template.value(argument)
    return str(text).split(str(separator))


def _find_in_map(template: Template, argument: list[Any]) -> Any:
    name, first, second = template.value(argument[:3])
    try:
        return template.body["Mappings"][name][first][second]
    except KeyError as error:
        raise Unknown(name) from error


FUNCTIONS: dict[str, Callable[[Template, Any], Any]] = {
    "Ref": _ref,
    "Condition": _condition,
    "Fn::If": _if,
    "Fn::Equals": _equals,
    "Fn::And": lambda template, argument: all(template.value(argument)),
    "Fn::Or": lambda template, argument: any(template.value(argument)),
    "Fn::Not": lambda template, argument: not template.value(argument)[0],
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::FindInMap": _find_in_map,
}


def read_directory(directory: Path, given: Mapping[str, Any], region: str) -> list[Template]:
    """Read the templates of a directory, such as `build/production/aws`. Raises TemplateError of aws_templates."""
    return [Template.of(name, found.document, given, region) for name, found in load(directory).items()]
