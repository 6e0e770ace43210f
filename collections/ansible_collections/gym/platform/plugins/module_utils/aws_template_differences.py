"""How two templates differ, value by value, and what their expressions refer to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Property

ATTRIBUTES = ("Condition", "CreationPolicy", "DeletionPolicy", "DependsOn", "UpdatePolicy", "UpdateReplacePolicy")
# By these, records of a list are recognised when another one comes before them.
IDENTITIES = ("Key", "Name", "Id", "ID", "Sid", "ParameterName", "ContainerName", "RuleName", "DestinationPort")


def resolved(value: Any, parameters: Mapping[str, str]) -> Any:
    """Put in what is known of the parameters, and write other references as `${Name}` or `${Name.Attribute}`."""
    if isinstance(value, list):
        return [resolved(item, parameters) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "Ref":
            return parameters.get(inner, f"${{{inner}}}")
        if key == "Fn::GetAtt":
            return f"${{{inner if isinstance(inner, str) else '.'.join(map(str, inner))}}}"
        if key == "Fn::Sub" and isinstance(inner, str):
            return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), inner)
        if key == "Fn::Join" and isinstance(inner, list) and isinstance(inner[1], list):
            parts = resolved(inner[1], parameters)
            if all(isinstance(part, str) for part in parts):
                return str(inner[0]).join(parts)
    return {key: resolved(item, parameters) for key, item in value.items()}


def differences(before: Any, after: Any, path: str = "") -> Iterator[Property]:
    """Go through all values that are not the same, each at its deepest path."""
    if before == after:
        return
    left, right = _children(before), _children(after)
    # Lists are compared as a whole where their items cannot be told apart.
    if left is None or right is None or isinstance(before, list) != isinstance(after, list):
        yield Property(path, before, after)
        return
    for key in dict.fromkeys((*left, *right)):
        below = f"{path}{key}" if key.startswith("[") else f"{path}.{key}".lstrip(".")
        yield from differences(left.get(key), right.get(key), below)


def _children(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for identity in IDENTITIES:
            names = [item.get(identity) for item in value]
            if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
                return {f"[{name}]": item for name, item in zip(names, value, strict=True)}
        return {f"[{index}]": item for index, item in enumerate(value)}
    return None


def resource_differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, old: Mapping[str, str], new: Mapping[str, str]
) -> tuple[Property, ...]:
    """Compare a resource of two templates, each with the values of its parameters."""

    def flat(resource: Mapping[str, Any] | None, values: Mapping[str, str]) -> dict[str, Any]:
        resource = resource or {}
        own = {name: resource[name] for name in ATTRIBUTES if name in resource}
        return {**(resolved(resource.get("Properties") or {}, values)), **own}

    return tuple(differences(flat(before, old), flat(after, new)))


def mentions(value: Any) -> set[str]:
    """List the resources and parameters that an expression refers to."""
    if isinstance(value, list):
        return set().union(*map(mentions, value))
    if isinstance(value, Mapping):
        found: set[str] = set()
        for key, inner in value.items():
            if key == "Ref":
                found.add(str(inner))
            elif key == "Fn::GetAtt":
                found.add(inner.split(".")[0] if isinstance(inner, str) else str(inner[0]))
            elif key == "Fn::Sub":
                text, extra = (inner[0], inner[1]) if isinstance(inner, list) else (inner, {})
                found |= set(re.findall(r"\$\{(\w+)", text)) | mentions(extra)
            else:
                found |= mentions(inner)
        return found
    return set()
