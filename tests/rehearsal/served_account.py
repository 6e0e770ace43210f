"""Staging in the embedded cloud, with what only a real account has: tasks that end, and requests that are counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.gym.platform.plugins.filter.aws import logical_id
from ansible_collections.gym.platform.plugins.module_utils.aws_client import GLOBAL_REGION, clients
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Settings, Stacks
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, GREEN
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import MANAGED_BY
from ansible_collections.gym.platform.tests.unit.release_ecs_account import EcsAccount

PLATFORM, REGION, DR_REGION = "gym", "eu-west-1", "eu-central-1"
TICK_SECONDS = 0.3
# CloudWatch is asked for whole minutes that have passed, and takes numbers that come late.
LATE = timedelta(minutes=2)


class ServedAccount(EcsAccount):
    """An account in which somebody serves: one-offs come to their end, and the balancer counts."""

    def __init__(self, endpoint: str, environment: str, host: str, region: str = REGION) -> None:
        super().__init__(endpoint, "rehearsal", region, f"{PLATFORM}-{environment}")
        stacks = Stacks(Settings(PLATFORM, environment, region, (DR_REGION, GLOBAL_REGION)), clients(endpoint))
        stacks.read()
        self.facts = {
            f"{logical_id(stack)}{name}": value
            for stack, outputs in stacks.outputs().items()
            for name, value in outputs.items()
        }
        self.hosts[host] = self
        # What has run once, in its order.
        self.finished: list[str] = []
        # How many requests come at each tick, and the share of them that each version fails; others fail none.
        self.requests = 0
        self.counted = 0
        self.error_rates: dict[str, float] = {}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve meanwhile."""
        ended = threading.Event()

        def serve() -> None:
            while not ended.wait(TICK_SECONDS):
                self._finish_one_offs()
                if self.requests:
                    self._count()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _finish_one_offs(self) -> None:
        ecs = self.client("ecs")
        arns = ecs.list_tasks(cluster=self.name, startedBy=MANAGED_BY)["taskArns"]
        for task in ecs.describe_tasks(cluster=self.name, tasks=arns)["tasks"] if arns else []:
            self.finished.append(self.finish(task))

    def _count(self) -> None:
        """Count the requests of a tick by target group, as the live rule sends them."""
        (green,), versions = self.shares(), self.versions()
        data: list[dict[str, Any]] = []
        for colour, share in {BLUE: 100 - green, GREEN: green}.items():
            requests = self.requests * share // 100
            rate = max((self.error_rates.get(version, 0) for version in versions.get(colour, ())), default=0)
            metrics = {"RequestCount": requests, "HTTPCode_Target_5XX_Count": round(requests * rate)}
            group = self.facts[f"ComputeGymApi{colour.capitalize()}TargetsName"]
            dimensions = {"LoadBalancer": self.facts["ComputeBalancerName"], "TargetGroup": group}
            data += [
                {
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                    "Timestamp": datetime.now(UTC) - LATE,
                    "Value": value,
                }
                for metric, value in metrics.items()
            ]
        self.client("cloudwatch").put_metric_data(Namespace="AWS/ApplicationELB", MetricData=data)
        self.counted += self.requests
