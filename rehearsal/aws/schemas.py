"""Resource types as AWS publishes them: what a type takes, answers and cannot change in place."""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema

# Found without being imported: cfn-lint itself takes longer to load than everything else here.
DIRECTORY = Path(str(find_spec("cfnlint").origin)).parent / "data" / "schemas"  # type: ignore[union-attr]
MOST_FAULTS = 5
# A reference that a schema gives a format: whether such a resource is there is asked of the cloud.
Exists = Callable[[str, str], bool]


@functools.cache
def index(region: str) -> Mapping[str, str]:
    """Return the types of a region, each with the file of its schema."""
    found: dict[str, str] = json.loads((DIRECTORY / "providers" / f"{region}.json").read_text(encoding="utf-8"))
    return found


@functools.cache
def schema(rtype: str, region: str) -> Mapping[str, Any]:
    """Return a type's schema, or nothing for a type that AWS does not publish there."""
    if not (digest := index(region).get(rtype)):
        return {}
    found: dict[str, Any] = json.loads((DIRECTORY / "resources" / f"{digest}.json").read_text(encoding="utf-8"))
    return found


def names(found: Mapping[str, Any], pointers: str, nested: bool = False) -> list[str]:
    """List the properties that one of a schema's lists of pointers names, those within others on demand."""
    paths = [re.sub(r"/(properties/)?", ".", path.removeprefix("/properties/")) for path in found.get(pointers) or []]
    return [path for path in paths if nested or "." not in path]


def _scalar(kind: str) -> Callable[[Any, Any], bool]:
    """CloudFormation converts scalars: `true`, "true" and 1, "1" are the same to it."""

    def check(_: Any, value: Any) -> bool:
        if kind == "string":
            return isinstance(value, (str, int, float))
        if kind == "boolean":
            return isinstance(value, bool) or value in ("true", "false")
        expression = r"-?\d+" if kind == "integer" else r"-?\d+(\.\d+)?"
        return not isinstance(value, bool) and re.fullmatch(expression, str(value)) is not None

    return check


def _pattern(_: Any, expression: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    try:
        matches = not isinstance(value, str) or re.search(expression, value)
    except re.error:
        # ECMAScript's; what Python cannot read is passed over.
        return
    if not matches:
        yield jsonschema.ValidationError(f"{value!r} does not match {expression!r}")


def _validator(exists: Exists) -> Any:
    def reference(_: Any, kind: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
        rtype, _dot, attribute = kind.partition(".")
        if attribute and isinstance(value, str) and not exists(rtype, value):
            yield jsonschema.ValidationError(f"{rtype} {value} does not exist")

    kinds = {kind: _scalar(kind) for kind in ("string", "boolean", "integer", "number")}
    extend: Any = jsonschema.validators.extend
    return extend(
        jsonschema.Draft7Validator,
        {"pattern": _pattern, "format": reference},
        type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many(kinds),
    )


def faults(rtype: str, properties: Mapping[str, Any], region: str, exists: Exists) -> list[str]:
    """List what is wrong with a resource's properties, by its published schema."""
    found = schema(rtype, region)
    # Stack tags are among them, with keys that only AWS may use.
    own = {key: value for key, value in properties.items() if key != "Tags"}
    errors = [
        f"{'/'.join(map(str, error.absolute_path)) or '.'}: {error.message[:200]}"
        for error in _validator(exists)(found).iter_errors(own)
        if not (error.validator == "required" and "'Tags'" in error.message)
        # A resource that names itself is not there yet.
        and not str(error.validator_value).startswith(rtype + ".")
    ]
    errors += [f"{key}: read-only" for key in names(found, "readOnlyProperties") if key in own]
    return errors[:MOST_FAULTS]


def attributes(rtype: str, name: str, known: Mapping[str, Any], region: str, account: str) -> dict[str, Any]:
    """Return what GetAtt answers: what is known, and something of the right form for everything else."""
    _, service, kind = rtype.split("::")
    answer = dict(known)
    for attribute in names(schema(rtype, region), "readOnlyProperties", nested=True):
        leaf = attribute.rsplit(".", 1)[-1]
        owner, thing = (
            ("secretsmanager", "secret:") if leaf.startswith("Secret") else (service.lower(), f"{kind.lower()}/")
        )
        if leaf.lower().endswith("arn"):
            made = f"arn:aws:{owner}:{region}:{account}:{thing}{name}"
        elif leaf.endswith("Id"):
            made = f"{kind.lower()}-{secrets.token_hex(8)}"
        else:
            made = f"{name}.{leaf.lower()}"
        answer.setdefault(attribute, made)
    return answer
