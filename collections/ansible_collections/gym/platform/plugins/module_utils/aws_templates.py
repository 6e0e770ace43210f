"""CloudFormation templates as data: what each needs of the others, and how two of them differ. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Property

# What CreateChangeSet takes as text; more would have to go through a bucket, which is a stack itself.
MAXIMUM_BYTES = 51_200
# A resource of these holds what a new one would not have.
STATEFUL_TYPES = frozenset(
    {
        "AWS::Backup::BackupVault",
        "AWS::Backup::LogicallyAirGappedBackupVault",
        "AWS::DynamoDB::Table",
        "AWS::EFS::FileSystem",
        "AWS::ElastiCache::CacheCluster",
        "AWS::ElastiCache::ReplicationGroup",
        "AWS::ElastiCache::ServerlessCache",
        "AWS::KMS::Key",
        "AWS::KMS::ReplicaKey",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
    }
)
ATTRIBUTES = ("Condition", "CreationPolicy", "DeletionPolicy", "DependsOn", "UpdatePolicy", "UpdateReplacePolicy")
# By these, records of a list are recognised when another one comes before them.
IDENTITIES = ("Key", "Name", "Id", "ID", "Sid", "ParameterName", "ContainerName", "RuleName", "DestinationPort")
PROTECTIONS = ("DeletionProtection", "DeletionProtectionEnabled")
# Each may have been there before its stack, and is deleted only when it is empty.
CONTAINERS = ("AWS::Backup::BackupVault", "AWS::ECR::Repository", "AWS::S3::Bucket")


class TemplateError(ValueError):
    """Templates that cannot work; the message is for the person who wrote them."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms; a date stays the text that it is in policies."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the name is PyYAML's
        first: [(tag, expression) for tag, expression in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        text = str(loader.construct_scalar(node))
        return {name: text.split(".", 1) if name == "Fn::GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)  # noqa: S101  there are three kinds
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def parse(body: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read a template; boto3 gives those in JSON as data already."""
    if isinstance(body, Mapping):
        return json.loads(json.dumps(body))  # type: ignore[no-any-return]
    document = yaml.load(body, _Loader)  # noqa: S506  a subclass of the safe loader
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError("it has no Resources; a template is a record with that key.")
    return document


@dataclass(frozen=True)
class Template:
    """One stack: `network.yml` is `network`, and its outputs fill parameters that begin with `Network`."""

    stack: str
    body: str
    document: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Any]:
        """Its resources by logical id."""
        return self.document["Resources"]  # type: ignore[no-any-return]

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Its outputs by key."""
        return self.document.get("Outputs") or {}

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters by name."""
        return self.document.get("Parameters") or {}

    @property
    def defaults(self) -> dict[str, str]:
        """The parameters' defaults; what must not be echoed stays a reference, wherever it is used."""
        return {
            name: str(declared["Default"])
            for name, declared in self.parameters.items()
            if "Default" in declared and not declared.get("NoEcho")
        }

    @property
    def region(self) -> str | None:
        """The region that it asks for, if it is not the environment's."""
        return self._platform.get("Region")

    @property
    def stateful(self) -> frozenset[str]:
        """The logical ids of what holds data: by type, and those that the template itself lists."""
        typed = {name for name, resource in self.resources.items() if resource.get("Type") in STATEFUL_TYPES}
        return frozenset(typed | set(self._platform.get("Stateful", [])))

    @property
    def remembered(self) -> frozenset[str]:
        """The parameters whose values are given once: a stack keeps them until it is given others."""
        return frozenset(self._platform.get("Remembered", []))

    @property
    def follows_others(self) -> bool:
        """Whether it can mean something new without having changed: it reads a store, or is expanded by a macro."""
        text = json.dumps(self.document)
        return "{{resolve:ssm" in text or "AWS::SSM::Parameter::Value" in text or "Transform" in self.document

    @property
    def _platform(self) -> Mapping[str, Any]:
        return (self.document.get("Metadata") or {}).get("Platform") or {}


def retained(resource: Mapping[str, Any]) -> bool:
    """Whether a resource stays when its stack goes."""
    return "Retain" in str(resource.get("DeletionPolicy"))


def _literal(value: Any, known: Mapping[str, str]) -> Any:
    if not (isinstance(value, Mapping) and isinstance(text := value.get("Fn::Sub"), str)):
        return value
    filled = re.sub(r"\$\{(AWS::\w+)\}", lambda found: known.get(found[1], found[0]), text)
    return value if "${" in filled else filled


def with_literal_names(template: Template, known: Mapping[str, str]) -> Template:
    """Return the template with literal names for what it retains: CloudFormation adopts nothing by another name.

    `known` are the pseudo parameters, such as `AWS::AccountId`.
    """

    def named(resource: Mapping[str, Any]) -> Mapping[str, Any]:
        if not retained(resource):
            return resource
        properties = {key: _literal(value, known) for key, value in (resource.get("Properties") or {}).items()}
        return {**resource, "Properties": properties}

    resources = {key: named(resource) for key, resource in template.resources.items()}
    if resources == template.resources:
        return template
    document = {**template.document, "Resources": resources}
    return Template(template.stack, json.dumps(document, separators=(",", ":")), document)


def word(stack: str) -> str:
    """Return what parameters begin with that are filled from this stack: `backup_dr` is `BackupDr`."""
    return "".join(part.capitalize() for part in re.split(r"[-_]", stack))


def as_parameters(prefix: str, outputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return other stacks' outputs as parameters: `PrimaryCdnDomainName` of `cdn` and the prefix `primary`."""
    return {
        f"{word(prefix)}{word(stack)}{name}": value for stack, found in outputs.items() for name, value in found.items()
    }


def load(directory: Path) -> dict[str, Template]:
    """Read all templates of a directory. Raises TemplateError for one that is no template or too large."""
    templates = {}
    for path in sorted(directory.glob("*.yml")):
        body = path.read_text(encoding="utf-8")
        try:
            document = parse(body)
        except (yaml.YAMLError, TemplateError) as error:
            raise TemplateError(f"{path} is no template: {' '.join(str(error).split())}") from error
        if len(body.encode()) > MAXIMUM_BYTES:
            body = json.dumps(document, separators=(",", ":"))
        if (size := len(body.encode())) > MAXIMUM_BYTES:
            raise TemplateError(
                f"{path} has {size} bytes even without white space, and CloudFormation takes {MAXIMUM_BYTES}: "
                "divide it into two capabilities."
            )
        templates[path.stem] = Template(path.stem, body, document)
    if not templates:
        raise TemplateError(f"{directory} has no templates (*.yml): render them first by playbooks/declare.yml.")
    return templates


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


# --- what differs


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


# --- what protects


def policy(stateful: frozenset[str], confirmed: frozenset[str]) -> str:
    """Return the stack policy that keeps what holds data from being replaced or deleted, unless it is confirmed."""
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"},
    ]
    if kept := sorted(stateful - confirmed):
        statements.append(
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["Update:Replace", "Update:Delete"],
                "Resource": [f"LogicalResourceId/{name}" for name in kept],
            }
        )
    return json.dumps({"Statement": statements}, sort_keys=True)


def unprotected(document: Mapping[str, Any], names: Collection[str] | None = None) -> dict[str, Any] | None:
    """Return the template with the protection of these resources lifted, or of all; None when they have none."""

    def lift(value: Any) -> Any:
        if isinstance(value, list):
            return [lift(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("Key") == "deletion_protection.enabled":
            return {**value, "Value": "false"}
        return {key: False if key in PROTECTIONS else lift(item) for key, item in value.items()}

    resources = {
        name: lift(resource) if names is None or name in names else resource
        for name, resource in document["Resources"].items()
    }
    return None if resources == document["Resources"] else {**document, "Resources": resources}


def unkept(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template with all of it ending with its stack, but for containers; no last snapshot is made."""

    def ending(resource: Mapping[str, Any]) -> Mapping[str, Any]:
        if "DeletionPolicy" not in resource or resource["Type"] in CONTAINERS:
            return resource
        found = {**resource, "DeletionPolicy": "Delete"}
        if "DeleteAutomatedBackups" in (properties := resource.get("Properties", {})):
            found["Properties"] = {**properties, "DeleteAutomatedBackups": True}
        return found

    return {**document, "Resources": {name: ending(resource) for name, resource in document["Resources"].items()}}
