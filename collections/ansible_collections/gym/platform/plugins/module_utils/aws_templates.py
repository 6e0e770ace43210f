"""CloudFormation templates as data: how they are read, and what each says of itself. Pure, but for `load`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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
