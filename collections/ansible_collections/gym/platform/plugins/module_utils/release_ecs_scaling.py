"""How many tasks a colour has: only the one that serves is scaled, and while both serve none gets fewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import fargate
from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS, GREEN
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import Record, Target

SERVICE = "application-autoscaling"
DIMENSION = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
# While requests move to the other colour, the one that they leave must still be able to take them all back.
FREE = {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False}
HELD = {**FREE, "DynamicScalingInSuspended": True, "ScheduledScalingSuspended": True}
OUT_SECONDS, IN_SECONDS = 60, 300


class Scaling:
    """Application Auto Scaling of the services of both colours."""

    def __init__(self, target: Target, aws: Aws) -> None:
        """Remember both; nothing is asked yet."""
        self._target, self._aws = target, aws
        self._scaled = target.of_kind("web", "worker")

    def resource(self, service: Record, colour: str) -> str:
        """Return what a service is called here."""
        return f"service/{self._target.fact('ComputeClusterName')}/{service['name']}-{colour}"

    def is_right(self, colour: str) -> bool:
        """Tell whether all services of a colour are scaled as they are described."""
        found = self._found()
        return all(found.get(self.resource(service, colour)) == self._wanted(service) for service in self._scaled)

    def follow(self, share: int) -> None:
        """Scale the colour that has all requests; while both have some, only let nobody shrink."""
        found = self._found()
        for service in self._scaled:
            for colour in COLOURS:
                resource, part = self.resource(service, colour), share if colour == GREEN else 100 - share
                if part == 100 and found.get(resource) != self._wanted(service):
                    self._register(service, resource)
                elif part == 0 and resource in found:
                    self._forget(resource)
                elif 0 < part < 100 and resource in found and found[resource]["held"] is False:
                    self._ask("register_scalable_target", resource, SuspendedState=HELD)

    def forget(self, colour: str) -> None:
        """Leave the services of a colour as they are."""
        found = self._found()
        for resource in (self.resource(service, colour) for service in self._scaled):
            if resource in found:
                self._forget(resource)

    def _ask(self, operation: str, resource: str, **request: Any) -> None:
        self._aws.ask(SERVICE, operation, ResourceId=resource, **DIMENSION, **request)

    def _forget(self, resource: str) -> None:
        # Its policies and scheduled actions go with it.
        self._ask("deregister_scalable_target", resource)

    def _register(self, service: Record, resource: str) -> None:
        wanted = self._wanted(service)
        bounds = {"MinCapacity": service["replicas"], "MaxCapacity": wanted["maximum"]}
        self._ask("register_scalable_target", resource, **bounds, SuspendedState=FREE)
        for metric, value in wanted["policies"].items():
            self._ask(
                "put_scaling_policy",
                resource,
                PolicyName=metric,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": value,
                    "ScaleOutCooldown": OUT_SECONDS,
                    "ScaleInCooldown": IN_SECONDS,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": f"ECSServiceAverage{metric}Utilization"},
                },
            )
        for name, (schedule, timezone, minimum, maximum) in wanted["actions"].items():
            self._ask(
                "put_scheduled_action",
                resource,
                ScheduledActionName=name,
                Schedule=schedule,
                Timezone=timezone,
                ScalableTargetAction={"MinCapacity": minimum, "MaxCapacity": maximum},
            )

    def _wanted(self, service: Record) -> dict[str, Any]:
        """Return what is compared of a service. Its least number is not: it changes with the hours."""
        actions = fargate.off_peak_actions(service, self._target.off_peak)
        zone = self._target.off_peak["timezone"]
        return {
            "maximum": service.get("maximum_replicas", service["replicas"]),
            "held": False,
            "policies": {metric: float(value) for metric, value in fargate.SCALING_TARGETS.items()},
            "actions": {one["name"]: (one["schedule"], zone, one["minimum"], one["maximum"]) for one in actions},
        }

    def _found(self) -> dict[str, dict[str, Any]]:
        """Return what is scaled, by its name here."""
        namespace = {"ServiceNamespace": "ecs"}
        found: dict[str, dict[str, Any]] = {
            one["ResourceId"]: {
                "maximum": one["MaxCapacity"],
                "held": any(_suspended(one).values()),
                "policies": {},
                "actions": {},
            }
            for one in self._aws.every(SERVICE, "describe_scalable_targets", "ScalableTargets", **namespace)
        }
        for one in self._aws.every(SERVICE, "describe_scaling_policies", "ScalingPolicies", **namespace):
            if one["ResourceId"] in found:
                value = one.get("TargetTrackingScalingPolicyConfiguration", {}).get("TargetValue")
                found[one["ResourceId"]]["policies"][one["PolicyName"]] = value
        for one in self._aws.every(SERVICE, "describe_scheduled_actions", "ScheduledActions", **namespace):
            if one["ResourceId"] in found:
                action = one["ScalableTargetAction"]
                row = (one["Schedule"], one.get("Timezone"), action["MinCapacity"], action["MaxCapacity"])
                found[one["ResourceId"]]["actions"][one["ScheduledActionName"]] = row
        return found


def _suspended(scaled: Record) -> Mapping[str, bool]:
    state: Mapping[str, bool] = scaled.get("SuspendedState") or {}
    return state
