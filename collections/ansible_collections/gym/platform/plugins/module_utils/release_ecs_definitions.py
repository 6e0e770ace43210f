"""The task definitions of a release: what ECS starts, each telling by its tags of which release it is."""

from __future__ import annotations

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import Record, release_of


class Definitions:
    """The families of a release, which have a revision for each time that something of them was registered."""

    def __init__(self, aws: Aws) -> None:
        """Remember it; nothing is asked yet."""
        self._aws = aws

    def register(self, record: Record) -> str:
        """Make a new revision and return its ARN."""
        answer = self._aws.ask("ecs", "register_task_definition", **record)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def release(self, arn: str) -> Release:
        """Return the release of a revision; it cannot be changed afterwards."""
        answer = self._aws.ask("ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"])
        return release_of(answer.get("tags", []))

    def retire(self, family: str, *, but: str = "") -> None:
        """Let the revisions of a family start nothing any more, except for one."""
        request = {"familyPrefix": family, "status": "ACTIVE"}
        arns = self._aws.every("ecs", "list_task_definitions", "taskDefinitionArns", **request)
        # What is asked for is only how the name begins.
        own = [arn for arn in arns if arn.rpartition("/")[2].rpartition(":")[0] == family]
        for arn in own:
            if arn != but:
                self._aws.ask("ecs", "deregister_task_definition", taskDefinition=arn)
