"""Alarms and dashboards of CloudWatch, from the nouns `alerts` and `dashboards`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.module_utils.cloudwatch import Sources, alarm, dashboard
from ansible_collections.gym.platform.plugins.module_utils.metrics import MetricError


def cloudwatch_alarm(record: Mapping[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of an alarm, as far as a record of the noun `alerts` says them."""
    try:
        return alarm(record, Sources(**sources))
    except MetricError as error:
        raise AnsibleFilterError(f"alerts: {error}") from None


def cloudwatch_dashboard(record: Mapping[str, Any], sources: Mapping[str, Any], region: str) -> str:
    """Return the body of a dashboard as JSON on several lines, with references for `Fn::Sub`."""
    try:
        return json.dumps(dashboard(record, Sources(**sources), region), indent=1)
    except MetricError as error:
        raise AnsibleFilterError(f"dashboards: {error}") from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {"cloudwatch_alarm": cloudwatch_alarm, "cloudwatch_dashboard": cloudwatch_dashboard}
