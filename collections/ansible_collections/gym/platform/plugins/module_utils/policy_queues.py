# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What waits to be done, and what could not be done. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding


def queue_has_dead_letter(described: Description) -> Iterator[Finding]:
    """A message that can never be delivered comes back for ever, or is lost without a trace."""
    for index, queue in described.records("queues"):
        if "dead_letter" not in queue:
            yield Finding(
                ("queues", index, "dead_letter"),
                "is missing: what cannot be delivered has no place to go",
                "a dead-letter queue",
                f"add `dead_letter: {{name: {queue['name']}-dead, ...}}`",
            )


def dead_letters_outlive_messages(described: Description) -> Iterator[Finding]:
    """The age of a message counts from its first day: dead letters kept no longer would vanish before they are read."""
    for index, queue in described.records("queues"):
        dead = queue.get("dead_letter", {"retention_days": queue["retention_days"] + 1})
        if dead["retention_days"] <= queue["retention_days"]:
            yield Finding(
                ("queues", index, "dead_letter", "retention_days"),
                f"{dead['retention_days']} is not longer than the queue's own {queue['retention_days']}",
                f"more than {queue['retention_days']}, at most 14",
            )


def backoff_grows(described: Description) -> Iterator[Finding]:
    """The wait doubles from the first attempt on, up to the maximum."""
    for index, queue in described.records("queues"):
        first, last = queue["backoff"]["initial_seconds"], queue["backoff"]["maximum_seconds"]
        if last < first:
            yield Finding(
                ("queues", index, "backoff", "maximum_seconds"),
                f"{last} is less than the first, {first}",
                f"at least {first}",
            )
