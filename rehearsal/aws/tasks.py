"""What only a container agent could report: no container is started here, so whoever rehearses says how tasks end."""

from __future__ import annotations

from ministack.core.responses import request_scope
from ministack.services import ecs

# Far above the circuit breaker's threshold.
MOST_FAILURES = 1000


def end(arn: str, exit_code: int, reason: str) -> str:
    """End a task with an exit code, or the tasks of a service until its circuit breaker trips; say how it stands."""
    region, account = arn.split(":")[3:5]
    cluster, name = arn.split("/")[-2:]
    with request_scope(account, region):
        if ":service/" not in arn:
            ecs._mark_task_stopped(arn, ecs._tasks[arn], reason, "EssentialContainerExited", exit_code=exit_code)
            return str(ecs._tasks[arn]["lastStatus"])
        deployment = ecs._primary_deployment(ecs._services[f"{cluster}/{name}"])
        # Without containers MiniStack has called it completed at once.
        deployment["rolloutState"] = "IN_PROGRESS"
        for _ in range(MOST_FAILURES):
            running = [
                (key, task)
                for key, task in ecs._tasks.items()
                if task["group"] == f"service:{name}" and task["lastStatus"] == "RUNNING"
            ]
            if deployment["rolloutState"] == "FAILED" or not running:
                break
            ecs._mark_task_stopped(*running[0], reason, "EssentialContainerExited", exit_code=exit_code)
            if deployment["rolloutState"] == "COMPLETED":
                deployment["rolloutState"] = "IN_PROGRESS"
        return str(deployment["rolloutState"])


def stall(arn: str) -> str:
    """Leave a service's deployment unfinished, as ECS does while a target group finds no task healthy."""
    region, account = arn.split(":")[3:5]
    with request_scope(account, region):
        deployment = ecs._primary_deployment(ecs._services["/".join(arn.split("/")[-2:])])
        deployment["rolloutState"] = "IN_PROGRESS"
        return str(deployment["rolloutState"])
