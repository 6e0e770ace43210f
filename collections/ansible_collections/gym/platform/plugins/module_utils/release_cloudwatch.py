"""The counters of a release's two colours from CloudWatch."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import SourceError
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import Counters
from botocore.exceptions import BotoCoreError, ClientError


class CloudWatchSource:
    """Reads CloudWatch: what the load balancer counted for each colour's target group.

    Answers are there by the minute and some minutes late, so a reading more often than that brings nothing new. What
    the balancer answers for want of a target (HTTPCode_ELB_5XX_Count) is counted by balancer and not by target group:
    it is in no colour's errors. Latency comes from percentile ranks: the share of answers up to each bound.
    """

    PERIOD = 60
    BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(
        self,
        client: Any,
        balancer: str,
        target_groups: Mapping[str, str],
        history_seconds: float = 600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember a client of CloudWatch, and balancer and groups (by colour) as its dimensions name them.

        Counting begins `history_seconds` ago.
        """
        if set(target_groups) != set(COLOURS):
            raise SourceError(f"target_groups has {', '.join(sorted(target_groups)) or 'none'}; it has blue and green.")
        self._client, self._balancer, self._groups, self._clock = client, balancer, dict(target_groups), clock
        self._since = self._minute(clock() - history_seconds)

    def read(self, ago: float = 0) -> dict[str, Counters]:
        """Return the counters of both colours as they were some seconds ago. Raises SourceError."""
        until = self._minute(self._clock() - ago)
        values = self._values(until) if until > self._since else {}
        found = {colour: self._counters(colour, values) for colour in COLOURS}
        if until > self._since and not any(counters.requests for counters in found.values()):
            since = datetime.datetime.fromtimestamp(self._since, datetime.UTC)
            raise SourceError(
                f"CloudWatch has no requests of {' and '.join(self._groups.values())} since {since:%H:%M} UTC: are"
                f" these target groups of {self._balancer}, and is there traffic?"
            )
        return found

    def _minute(self, at: float) -> int:
        return int(at) // self.PERIOD * self.PERIOD

    def _series(self) -> dict[str, tuple[str, str]]:
        """Return what is asked of each target group: an identifier, the metric and the statistic."""
        return {
            "requests": ("RequestCount", "Sum"),
            "errors": ("HTTPCode_Target_5XX_Count", "Sum"),
            "timed": ("TargetResponseTime", "SampleCount"),
            **{f"upto{i}": ("TargetResponseTime", f"PR(:{bound:g})") for i, bound in enumerate(self.BOUNDS)},
        }

    def _values(self, until: int) -> dict[str, dict[datetime.datetime, float]]:
        queries = [
            {
                "Id": f"{colour}_{name}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/ApplicationELB",
                        "MetricName": metric,
                        "Dimensions": [
                            {"Name": "LoadBalancer", "Value": self._balancer},
                            {"Name": "TargetGroup", "Value": group},
                        ],
                    },
                    "Period": self.PERIOD,
                    "Stat": statistic,
                },
            }
            for colour, group in self._groups.items()
            for name, (metric, statistic) in self._series().items()
        ]
        pages = self._client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=datetime.datetime.fromtimestamp(self._since, datetime.UTC),
            EndTime=datetime.datetime.fromtimestamp(until, datetime.UTC),
        )
        found: dict[str, dict[datetime.datetime, float]] = {}
        try:
            for page in pages:
                for result in page["MetricDataResults"]:
                    found.setdefault(result["Id"], {}).update(zip(result["Timestamps"], result["Values"], strict=True))
        except (BotoCoreError, ClientError) as error:
            raise SourceError(
                f"CloudWatch does not answer: {explain(error, self._client.meta.region_name)}."
            ) from error
        return found

    def _counters(self, colour: str, values: Mapping[str, Mapping[datetime.datetime, float]]) -> Counters:
        timed = values.get(f"{colour}_timed", {})
        up_to = [
            (
                bound,
                round(
                    sum(
                        timed.get(minute, 0) * share / 100
                        for minute, share in values.get(f"{colour}_upto{i}", {}).items()
                    )
                ),
            )
            for i, bound in enumerate(self.BOUNDS)
        ]
        return Counters(
            round(sum(values.get(f"{colour}_requests", {}).values())),
            round(sum(values.get(f"{colour}_errors", {}).values())),
            (*up_to, (math.inf, round(sum(timed.values())))),
        )
