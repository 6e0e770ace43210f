# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The front door. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding


def drain_outlasts_requests(described: Description) -> Iterator[Finding]:
    """A colour that is stopped before its longest request has ended cuts that request off."""
    drain, request = described["edge"]["drain_timeout_seconds"], described["edge"]["request_timeout_seconds"]
    if drain < request:
        yield Finding(
            ("edge", "drain_timeout_seconds"),
            f"{drain} is less than the request timeout, {request}",
            f"at least {request}",
        )


def burst_covers_rate(described: Description) -> Iterator[Finding]:
    """A burst below the rate would refuse clients that stay within the rate."""
    limit = described["edge"]["rate_limit"]
    if limit["burst"] < limit["requests_per_second"]:
        yield Finding(
            ("edge", "rate_limit", "burst"),
            f"{limit['burst']} is less than the rate of one second",
            f"at least {limit['requests_per_second']}",
        )
