"""The action around the stacks: what a run is told as, and the lookup of outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.action import aws_stacks
from ansible_collections.gym.platform.plugins.lookup.outputs import picked
from ansible_collections.gym.platform.plugins.module_utils import aws_stack_drift
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Outcome
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import Change


def test_a_failure_says_what_is_done_and_what_is_not() -> None:
    change = Change("network", "Vpc", "AWS::EC2::VPC", "add")
    outcome = Outcome({"network": (change,)}, {"database": "Primary failed: no. It is as it was."}, ["compute"])
    assert outcome.complaint() == (
        "database: Primary failed: no. It is as it was. "
        "Not touched, because they come after it: compute. Done: network."
    )
    told = outcome.as_dict()
    assert [item["name"] for item in told["applied"]] == ["network.Vpc"]
    assert told["failures"] == outcome.failed


def test_drift_reads_like_a_plan() -> None:
    drifted = {
        "stack": "queue",
        "logical_id": "Jobs",
        "type": "AWS::SQS::Queue",
        "status": "modified",
        "properties": [{"path": "VisibilityTimeout", "before": "30", "after": "60"}],
    }
    assert aws_stack_drift.rendered({"drifted": [drifted], "strangers": ["arn:aws:s3:::x"]}).splitlines() == [
        "queue.Jobs  AWS::SQS::Queue  modified",
        "  ~ VisibilityTimeout: 30 -> 60",
        "arn:aws:s3:::x  belongs to the environment by its tags, and to no stack",
    ]
    assert aws_stack_drift.rendered({"drifted": [], "strangers": []}) == "No drift: everything is as it was applied.\n"


def test_live_templates_are_written_over_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "build/live.json"
    for templates in ({"network": {"Resources": {}}, "queue": {"Resources": {}}}, {}):
        assert aws_stacks.write_live(templates, str(file)) == {"live": str(file)}
        assert json.loads(file.read_text()) == templates


def test_no_file_is_written_that_nobody_asks_for() -> None:
    assert aws_stacks.write_live({"network": {}}, None) == {}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"live is '{tmp_path}', which cannot be written: Is a directory"):
        aws_stacks.write_live({}, str(tmp_path))


def test_an_output_is_picked_by_its_name() -> None:
    outputs = {"network": {"VpcId": "vpc-1"}}
    assert picked("network.VpcId", outputs) == "vpc-1"
    assert picked("network", outputs) == {"VpcId": "vpc-1"}
    with pytest.raises(LookupError, match="There is no stack netwrok; there are network: provision it first"):
        picked("netwrok", outputs)
    with pytest.raises(LookupError, match="The stack network gives out no Vpc; it gives out VpcId"):
        picked("network.Vpc", outputs)
