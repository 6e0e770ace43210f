"""How tasks, instances and clusters are priced, with their schedules and their part on Spot. Pure.

The least that autoscaling keeps is what is priced: more load costs more.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import aws_price_schedule as schedule
from ansible_collections.gym.platform.plugins.module_utils.aws_price import At, Found, Free, Line, Unpriced, is_true
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import size_factor
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Resource
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import HOURS_PER_MONTH, WEEKS_PER_MONTH

FARGATE_INCLUDED_STORAGE_GB = 20
# What detailed monitoring measures of an instance.
DETAILED_METRICS = 7


def service(at: At) -> Found:
    """The tasks of a service on Fargate, by its definition, its schedules and its part on Spot."""
    definition = _definition(at, at.resource.properties.get("TaskDefinition"))
    if definition is None:
        yield Unpriced("its task definition is in no template")
        return
    full = float(at.get("DesiredCount", 1))
    schedules: list[tuple[str, float]] = []
    target = _scalable_target(at)
    if target:
        full = float(at.value(target, "MinCapacity", full))
        for action in at.value(target, "ScheduledActions", []):
            capacity = action.get("ScalableTargetAction", {})
            if "MinCapacity" in capacity:
                schedules.append((action["Schedule"], float(capacity["MinCapacity"])))
    peak = max([full, *(count for _, count in schedules)])
    yield from _tasks(definition, schedule.average(schedules, full), peak, _spot_part(at, full))


def scheduled(at: At) -> Found:
    """A schedule: free, but for the tasks that it starts."""
    parameters = at.resource.properties.get("Target", {}).get("EcsParameters")
    if not parameters:
        yield Free("14 million invocations a month are free")
    elif (definition := _definition(at, parameters.get("TaskDefinitionArn"))) is None:
        yield Unpriced("its task definition is in no template")
    else:
        runs = len(schedule.times(str(at.get("ScheduleExpression")))) * WEEKS_PER_MONTH
        part = runs * at.usage.job_minutes / 60 / HOURS_PER_MONTH
        spot = _share(at.template.known(parameters.get("CapacityProviderStrategy") or []), 1)
        yield from _tasks(definition, part, part, spot)


def _definition(at: At, named: Any) -> At | None:
    """Return the task definition that is referred to, or whose family is named, whatever stack it is in."""
    if found := at.template.target(named):
        return dataclasses.replace(at, resource=found)
    ending = json.dumps(at.template.known(named)).rpartition("task-definition/")[2].removeprefix('"')
    for template in at.templates:
        for definition in template.of_type("AWS::ECS::TaskDefinition"):
            family = template.known(definition.properties.get("Family", ""))
            if re.fullmatch(rf'{re.escape(str(family))}(:\d+)?["}}\]]*', ending):
                return dataclasses.replace(at, resource=definition, template=template)
    return None


def _scalable_target(at: At) -> Resource | None:
    """Return what scales this service: the target whose ResourceId names it."""
    name = at.resource.name
    marks = (f'"{name}"', f"${{{name}}}", f"${{{name}.", f'"{name}.')
    for target in at.template.of_type("AWS::ApplicationAutoScaling::ScalableTarget"):
        text = json.dumps(target.properties.get("ResourceId"))
        own = at.resource.properties.get("ServiceName")
        if any(mark in text for mark in marks) or (isinstance(own, str) and text.endswith(f'/{own}"')):
            return target
    return None


def _spot_part(at: At, count: float) -> float:
    strategy = at.get("CapacityProviderStrategy")
    if strategy is None and "LaunchType" not in at.resource.properties:
        for association in at.template.of_type("AWS::ECS::ClusterCapacityProviderAssociations"):
            strategy = at.value(association, "DefaultCapacityProviderStrategy")
    return _share(strategy or [], count)


def _share(strategy: list[Mapping[str, Any]], count: float) -> float:
    """Return the part of `count` tasks that a strategy puts on Spot: its bases first, the rest by weight."""
    bases = {item["CapacityProvider"]: float(item.get("Base", 0)) for item in strategy}
    weights = {item["CapacityProvider"]: float(item.get("Weight", 0)) for item in strategy}
    if count <= 0 or not sum(weights.values()):
        return 0.0
    spot = "FARGATE_SPOT"
    based = min(count, sum(bases.values()))
    on_spot = min(count, bases.get(spot, 0.0)) + (count - based) * weights.get(spot, 0.0) / sum(weights.values())
    return on_spot / count


def _tasks(at: At, average: float, peak: float, spot: float) -> Found:
    """Price tasks of a definition: `average` of them over the month, `peak` at full size, the part `spot` on Spot."""
    platform = at.get("RuntimePlatform", {})
    kind = "arm" if platform.get("CpuArchitecture") == "ARM64" else "x86"
    storage = float(at.get("EphemeralStorage", {}).get("SizeInGiB", FARGATE_INCLUDED_STORAGE_GB))
    parts = {"vcpu": float(at.get("Cpu")) / 1024, "gb": float(at.get("Memory")) / 1024}
    commitment = 1 - at.table.find("savings_plan_1y", at.template.region).usd
    for unit, size in parts.items():
        title = "vCPU" if unit == "vcpu" else "memory"
        demand = at.table.find(f"fargate_{unit}_hour", at.template.region, kind).usd
        saved = (peak - average) * size * HOURS_PER_MONTH * demand
        if spot < 1:
            line = at.hours(f"{title} of tasks", average * (1 - spot) * size, f"fargate_{unit}_hour", kind)
            yield dataclasses.replace(line, off_peak=saved * (1 - spot), reservable=line.monthly * commitment)
        if spot > 0:
            line = at.hours(f"{title} of tasks on Spot", average * spot * size, f"fargate_spot_{unit}_hour", kind)
            yield dataclasses.replace(line, off_peak=saved * spot, spot=line.quantity * demand - line.monthly)
    if storage > FARGATE_INCLUDED_STORAGE_GB:
        more = storage - FARGATE_INCLUDED_STORAGE_GB
        yield at.hours("ephemeral storage", average * more, "fargate_storage_gb_hour")


def instance_group(at: At) -> Found:
    """An Auto Scaling group of EC2: instances, their disks, their part on Spot and their schedules."""
    mixed = at.resource.properties.get("MixedInstancesPolicy") or {}
    specification = mixed.get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    named = (specification or at.resource.properties.get("LaunchTemplate") or {}).get("LaunchTemplateId")
    template = at.template.target(named)
    if template is None:
        yield Unpriced("its launch template is not in the template")
        return
    data = at.template.known(template.properties["LaunchTemplateData"])
    overrides = at.template.known(mixed.get("LaunchTemplate", {}).get("Overrides") or [])
    kind = str((overrides[0] if overrides else data)["InstanceType"])
    full = float(at.get("DesiredCapacity") or at.get("MinSize"))
    schedules = [
        (str(at.value(action, "Recurrence")), float(at.value(action, "DesiredCapacity", at.value(action, "MinSize"))))
        for action in at.template.of_type("AWS::AutoScaling::ScheduledAction")
        if at.template.target(action.properties.get("AutoScalingGroupName")) == at.resource
    ]
    distribution = at.template.value(mixed.get("InstancesDistribution") or {})
    base = float(distribution.get("OnDemandBaseCapacity", 0))
    above = float(distribution.get("OnDemandPercentageAboveBaseCapacity", 100)) / 100
    spot = max(0.0, full - base) * (1 - above) / full if full else 0.0
    average = schedule.average(schedules, full)
    yield from _instances(at, kind, average, max([full, *(count for _, count in schedules)]), spot)
    for mapping in data.get("BlockDeviceMappings") or []:
        yield _disk(at, average, mapping.get("Ebs") or {})
    if is_true((data.get("Monitoring") or {}).get("Enabled")):
        yield at.line("detailed monitoring", average * DETAILED_METRICS, "metric_month")


def node_group(at: At) -> Found:
    """A managed node group of EKS."""
    scaling = at.get("ScalingConfig", {})
    count = float(scaling.get("DesiredSize", scaling.get("MinSize", 2)))
    types = at.get("InstanceTypes", [])
    if not types:
        yield Unpriced("its instance types are not in the node group")
        return
    yield from _instances(at, str(types[0]), count, count, float(at.get("CapacityType", "ON_DEMAND") == "SPOT"))
    yield _disk(at, count, {"VolumeType": "gp3", "VolumeSize": at.get("DiskSize", 20)})


def _instances(at: At, kind: str, average: float, peak: float, spot: float) -> Found:
    """Price instances of EC2, like tasks."""
    family, _, size = kind.rpartition(".")
    demand = at.table.find("ec2_instance_hour", at.template.region, family).usd * size_factor(size)
    saved = (peak - average) * HOURS_PER_MONTH * demand
    commitment = 1 - at.table.find("savings_plan_1y", at.template.region).usd
    if spot < 1:
        line = Line(kind, average * (1 - spot) * HOURS_PER_MONTH, "hour", demand, "ec2_instance_hour")
        yield dataclasses.replace(line, off_peak=saved * (1 - spot), reservable=line.monthly * commitment)
    if spot > 0:
        usd = demand * at.table.find("ec2_spot", at.template.region).usd
        line = Line(f"{kind} on Spot", average * spot * HOURS_PER_MONTH, "hour", usd, "ec2_spot")
        yield dataclasses.replace(line, off_peak=saved * spot, spot=line.quantity * demand - line.monthly)


def _disk(at: At, count: float, disk: Mapping[str, Any]) -> Line | Unpriced:
    if disk.get("VolumeType") != "gp3":
        return Unpriced(f"no figure for disks of the type '{disk.get('VolumeType', 'gp2')}'")
    return at.line("disks", count * float(disk["VolumeSize"]), "ebs_gp3_gb_month")


def kubernetes_cluster(at: At) -> Found:
    """The control plane of EKS."""
    yield at.hours("control plane", 1, "eks_cluster_hour")


def container_cluster(at: At) -> Found:
    """A cluster of ECS: free, but for what it measures."""
    settings = at.get("ClusterSettings", [])
    if any(item.get("Name") == "containerInsights" and item.get("Value") != "disabled" for item in settings):
        yield Unpriced("container insights are billed by the metrics that running tasks make")
    else:
        yield Free("tasks are charged, not their cluster")
