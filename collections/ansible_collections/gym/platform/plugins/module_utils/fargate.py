"""What a record of the noun `services` is on Fargate: how large, on which capacity, how many at what time. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# Units of processor, and the megabytes of memory that may go with them.
SIZES: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
# Spot costs a third, and may be taken away within two minutes: a worker hands its work back, requests do not.
CAPACITY: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "web": [{"CapacityProvider": "FARGATE", "Base": 2, "Weight": 1}],
    "worker": [
        {"CapacityProvider": "FARGATE", "Base": 1, "Weight": 0},
        {"CapacityProvider": "FARGATE_SPOT", "Weight": 1},
    ],
    "job": [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}],
}
# Per cent of use that the scaling keeps a service at.
SCALING_TARGETS = {"CPU": 60, "Memory": 75}


def size(service: Mapping[str, Any]) -> dict[str, int]:
    """Return the least `cpu` (units) and `memory` (MB) that a service has room in. Raises ValueError."""
    for cpu, memories in SIZES.items():
        if cpu >= service["cpu"] * 1024 and max(memories) >= service["memory_mb"]:
            return {"cpu": cpu, "memory": next(memory for memory in memories if memory >= service["memory_mb"])}
    raise ValueError(
        f"services: {service['name']} asks for {service['cpu']} processors and {service['memory_mb']} MB, and Fargate"
        f" has at most {max(SIZES) // 1024} and {max(SIZES[max(SIZES)])} MB: choose less, or another compute."
    )


def off_peak_actions(service: Mapping[str, Any], off_peak: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the two scheduled actions of a service: fewer replicas when the off-peak hours begin, all when they end.

    Two stay in any case where there are two, so that the loss of one is no outage.
    """
    replicas = service["replicas"]
    fewer = max(min(2, replicas), math.ceil(replicas * off_peak["percent"] / 100))
    found = []
    for name, time, minimum in (("begins", off_peak["begins"], fewer), ("ends", off_peak["ends"], replicas)):
        hour, minute = (int(part) for part in time.split(":"))
        found.append(
            {
                "name": f"off-peak-{name}",
                "schedule": f"cron({minute} {hour} * * ? *)",
                "minimum": minimum,
                "maximum": service.get("maximum_replicas", replicas),
            }
        )
    return found
