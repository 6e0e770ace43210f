"""The resource types that MiniStack lacks: some as calls of its own EC2 service, all others remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudcontrol, ec2
from ministack.services.cloudformation import provisioners

from rehearsal.aws import schemas

Handlers = dict[str, Callable[..., Any]]
Properties = Mapping[str, Any]


def answered(rtype: str, physical_id: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a resource."""
    return schemas.attributes(rtype, physical_id.split("|")[0], known, get_region(), get_account_id())


def remembered(rtype: str) -> Handlers:
    """Return what creates, updates and deletes in the store of Cloud Control, which reads and changes it as well."""

    def key(physical_id: str) -> Any:
        return cloudcontrol._resource_key(rtype, physical_id)

    def store(physical_id: str, properties: Properties) -> None:
        text = json.dumps(properties, default=str)
        cloudcontrol._resources[key(physical_id)] = {"TypeName": rtype, "Identifier": physical_id, "Properties": text}

    def create(logical_id: str, properties: Properties, stack_name: str) -> tuple[str, dict[str, Any]]:
        name = provisioners._physical_name(stack_name, logical_id)
        known = answered(rtype, name, {})
        identifiers = schemas.names(schemas.schema(rtype, get_region()), "primaryIdentifier")
        identity = {part: str(known.get(part) or properties.get(part) or name) for part in identifiers}
        physical_id = "|".join(identity.values())
        if key(physical_id) in cloudcontrol._resources:
            raise ValueError(f"Resource of type '{rtype}' with identifier '{physical_id}' already exists.")
        store(physical_id, {**properties, **identity})
        return physical_id, known

    def update(physical_id: str, _old: Properties, new: Properties, *_stack: str) -> tuple[str, dict[str, Any]]:
        if key(physical_id) not in cloudcontrol._resources:
            raise ValueError(f"Resource of type '{rtype}' with identifier '{physical_id}' was not found.")
        store(physical_id, new)
        return physical_id, answered(rtype, physical_id, {})

    def delete(physical_id: str, _properties: Properties) -> None:
        cloudcontrol._resources.pop(key(physical_id), None)

    return {"create": create, "update": update, "delete": delete}


def remembered_properties(rtype: str, physical_id: str) -> str | None:
    """Return the properties of a resource that no service keeps, as JSON, or None when a service does."""
    held = cloudcontrol._resources.get(cloudcontrol._resource_key(rtype, physical_id))
    return str(held["Properties"]) if held else None


def is_remembered(rtype: str, physical_id: str) -> bool:
    """Whether no service keeps a resource."""
    return cloudcontrol._resource_key(rtype, physical_id) in cloudcontrol._resources


def completed(rtype: str, own: Handlers) -> Handlers:
    """Return a type of MiniStack's, which remembers a resource that asks for what its service does not know."""
    other = remembered(rtype)

    def create(logical_id: str, properties: Properties, stack_name: str) -> tuple[str, dict[str, Any]]:
        try:
            answer: tuple[str, dict[str, Any]] = own["create"](logical_id, properties, stack_name)
        except ValueError as error:
            if "is not supported" not in str(error):
                raise
            answer = other["create"](logical_id, properties, stack_name)
        return answer

    def chosen(action: str) -> Callable[..., Any]:
        return lambda physical_id, *rest: (other if is_remembered(rtype, physical_id) else own)[action](
            physical_id, *rest
        )

    return {**own, "create": create, **{action: chosen(action) for action in ("update", "delete") if action in own}}


class Answer:
    """An answer of the EC2 service."""

    def __init__(self, operation: str, given: Mapping[str, Any]) -> None:
        """Call it. Raises ValueError with its complaint."""
        arguments = {key: [str(value)] for key, value in given.items() if value is not None}
        status, _, body = ec2._ACTION_MAP[operation](arguments)
        self._body = body.decode()
        if status >= 400:
            raise ValueError(" ".join(re.sub(r"<[^>]+>", " ", self._body).split()))

    def __getitem__(self, element: str) -> str:
        """Return the text of the first such element."""
        found = re.search(rf"<{element}>([^<]*)</{element}>", self._body)
        assert found, self._body  # noqa: S101  the operations below always answer with it
        return found[1]


def ec2_type(
    create: str,
    identity: str,
    delete: str,
    given: Callable[[Properties], dict[str, Any]],
    removed: Callable[[str, Properties], dict[str, Any]],
    known: Callable[[Answer], dict[str, Any]] = lambda answer: {},
) -> Handlers:
    """Return a type as two calls; every property of these can only be given at creation."""

    def make(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, dict[str, Any]]:
        tags = {
            f"TagSpecification.1.Tag.{number}.{part}": tag[part]
            for number, tag in enumerate(properties.get("Tags", []), 1)
            for part in ("Key", "Value")
        }
        answer = Answer(create, {**given(properties), **tags})
        return answer[identity], known(answer)

    return {
        "create": make,
        "update": lambda physical_id, _old, _new, _stack: (physical_id, {}),
        "delete": lambda physical_id, properties: Answer(delete, removed(physical_id, properties)),
    }


def _rule(properties: Properties) -> dict[str, Any]:
    prefix = "IpPermissions.1."
    return {
        "GroupId": properties["GroupId"],
        f"{prefix}IpProtocol": properties["IpProtocol"],
        f"{prefix}FromPort": properties.get("FromPort"),
        f"{prefix}ToPort": properties.get("ToPort"),
        f"{prefix}IpRanges.1.CidrIp": properties.get("CidrIp"),
        f"{prefix}IpRanges.1.Description": properties.get("CidrIp") and properties.get("Description"),
        f"{prefix}Groups.1.GroupId": properties.get("SourceSecurityGroupId")
        or properties.get("DestinationSecurityGroupId"),
    }


def _picked(*keys: str) -> Callable[[Properties], dict[str, Any]]:
    return lambda properties: {key: properties.get(key) for key in keys}


def _allocation(physical_id: str, _properties: Properties) -> dict[str, Any]:
    found = (key for key, record in ec2._addresses.items() if record["PublicIp"] == physical_id)
    return {"AllocationId": next(found, None)}


def _flow_log(properties: Properties) -> dict[str, Any]:
    picked = _picked("ResourceType", "TrafficType", "LogDestinationType", "LogDestination", "LogGroupName")
    return {"ResourceId.1": properties["ResourceId"], **picked(properties)}


EC2_TYPES: dict[str, Handlers] = {
    "AWS::EC2::EIP": ec2_type(
        "AllocateAddress",
        "publicIp",
        "ReleaseAddress",
        lambda _: {"Domain": "vpc", "TagSpecification.1.ResourceType": "elastic-ip"},
        _allocation,
        lambda answer: {"PublicIp": answer["publicIp"], "AllocationId": answer["allocationId"]},
    ),
    "AWS::EC2::NatGateway": ec2_type(
        "CreateNatGateway",
        "natGatewayId",
        "DeleteNatGateway",
        _picked("SubnetId", "AllocationId", "ConnectivityType"),
        lambda physical_id, _: {"NatGatewayId": physical_id},
        lambda answer: {"NatGatewayId": answer["natGatewayId"]},
    ),
    "AWS::EC2::FlowLog": ec2_type(
        "CreateFlowLogs", "item", "DeleteFlowLogs", _flow_log, lambda physical_id, _: {"FlowLogId.1": physical_id}
    ),
    **{
        f"AWS::EC2::SecurityGroup{direction}": ec2_type(
            f"AuthorizeSecurityGroup{direction}",
            "securityGroupRuleId",
            f"RevokeSecurityGroup{direction}",
            _rule,
            lambda _, properties: _rule(properties),
        )
        for direction in ("Ingress", "Egress")
    },
}
