"""Which disasters can be practised where, and which of them by themselves. Pure."""

from __future__ import annotations

# By provider: on machines what the role dr_drill has, on AWS playbooks/tasks/dr_drill_aws/.
SCENARIOS = {
    "docker": ("failover", "cache", "restore", "corruption", "object_store", "region"),
    "aws": ("restore", "region"),
    "gcp": (),
}
# The platform is away while these last, so a person says when, by drill_confirm.
CONFIRMED = ("region",)


def unattended(provider: str) -> tuple[str, ...]:
    """Return what may be practised on a provider without a person; nothing where the provider is not known."""
    return tuple(scenario for scenario in SCENARIOS.get(provider, ()) if scenario not in CONFIRMED)
