"""What is otherwise than it was applied, and what belongs to the environment but to no stack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_stack_adoption import going
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Calls, Live
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_environment import Environment

# What services make by themselves with the tags of what they make it for.
BY_SERVICES = (":snapshot:rds:", ":snapshot:awsbackup", ":recovery-point:", ":task/", ":network-interface/", ":volume/")


def drift(environment: Environment) -> dict[str, Any]:
    """Compare what is there with what was applied: `drifted`, `unchecked` types, and `strangers` by their ARN."""
    calls = environment.calls
    environment.read()
    found = calls.each(environment.established(), lambda _, live: _drifts(calls, live))
    drifted = [
        _told(name, record)
        for name, records in found.items()
        for record in records
        if record["StackResourceDriftStatus"] in ("MODIFIED", "DELETED")
    ]
    everything = [record for records in found.values() for record in records]
    checked = {item["ResourceType"] for item in everything if item["StackResourceDriftStatus"] != "NOT_CHECKED"}
    resources = environment.resources()
    return {
        "drifted": drifted,
        "unchecked": sorted({item["type"] for item in resources} - checked),
        "strangers": _undeclared(environment, {item["physical_id"] for item in resources} - {""}),
        "resources": resources,
    }


def rendered(found: Mapping[str, Any]) -> str:
    """Return what is not as it was applied, one line for each property."""
    lines = []
    for item in found["drifted"]:
        lines.append(f"{item['stack']}.{item['logical_id']}  {item['type']}  {item['status']}")
        lines += [f"  ~ {one['path']}: {one['before']} -> {one['after']}" for one in item["properties"]]
    lines += [f"{arn}  belongs to the environment by its tags, and to no stack" for arn in found["strangers"]]
    return "\n".join(lines or ["No drift: everything is as it was applied."]) + "\n"


def _told(stack: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{stack}.{record['LogicalResourceId']}",
        "stack": stack,
        "logical_id": record["LogicalResourceId"],
        "type": record["ResourceType"],
        "status": record["StackResourceDriftStatus"].lower(),
        "properties": [
            {
                "path": item["PropertyPath"].strip("/").replace("/", "."),
                "before": item["ExpectedValue"],
                "after": item["ActualValue"],
            }
            for item in record.get("PropertyDifferences", [])
        ],
    }


def _drifts(calls: Calls, live: Live) -> list[dict[str, Any]]:
    client = calls.client(live.region)
    identity = client.detect_stack_drift(StackName=live.name)["StackDriftDetectionId"]
    answer = calls.until(
        lambda: client.describe_stack_drift_detection_status(StackDriftDetectionId=identity),
        lambda found: found["DetectionStatus"] != "DETECTION_IN_PROGRESS",
        f"{live.stack}: the search for drift",
    )
    # Some types fail on some resources; what was read is still worth having.
    if answer["DetectionStatus"] == "DETECTION_FAILED":
        calls.say(f"{live.stack}: the search for drift was not complete: {answer.get('DetectionStatusReason', '')}")
    drifts: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = client.describe_stack_resource_drifts(StackName=live.name, **token)
        drifts += page["StackResourceDrifts"]
        if not page.get("NextToken"):
            return drifts
        token = {"NextToken": page["NextToken"]}


def _undeclared(environment: Environment, physical: Collection[str]) -> list[str]:
    """List what carries the environment's tags and belongs to no stack."""
    calls = environment.calls
    ids = {live.id for live in environment.live.values()}

    def strange(item: Mapping[str, Any]) -> bool:
        arn, tags = item["ResourceARN"], {tag["Key"]: tag["Value"] for tag in item["Tags"]}
        ours = tags.get("aws:cloudformation:stack-id") in ids or any(part in arn for part in BY_SERVICES)
        return not ours and not _names(arn, physical)

    regions = dict.fromkeys((environment.settings.region, *(live.region for live in environment.live.values())))

    def strangers(region: str, _: Any) -> list[str]:
        arns = [item["ResourceARN"] for item in calls.tagged(region, environment.settings.tags) if strange(item)]
        return [arn for arn in arns if not going(calls, region, arn)]

    return sorted({arn for arns in calls.each(regions, strangers).values() for arn in arns})


def _names(arn: str, physical: Collection[str]) -> bool:
    """Whether an ARN is one of these resources, some of which are known by their name or address alone."""
    return arn in physical or arn.split(":")[-1].split("/")[-1] in physical or any(
        item.split("/")[-1] in (arn.split(":")[-1], arn.split("/")[-1], arn.split(":", 5)[-1]) for item in physical
    )  # fmt: skip
