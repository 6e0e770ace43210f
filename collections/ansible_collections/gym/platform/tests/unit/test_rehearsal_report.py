"""What a rehearsal is told as."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.action.rehearsal_report import posture, seconds, taken
from ansible_collections.gym.platform.plugins.module_utils.rehearsal_report import page, record

STEPS = [
    {"name": "Lint", "results": ["__lint"]},
    {"name": "Apply", "results": ["__applied", "__checked"]},
    {"name": "Destroy", "results": ["__destroyed"]},
]
LINT: dict[str, Any] = {"delta": "0:01:02.500000", "rc": 0}


def test_a_task_says_how_long_it_took() -> None:
    assert seconds({"elapsed": 1.5}) == 1.5
    assert seconds(LINT) == 62.5
    assert seconds({}) == 0


@pytest.mark.parametrize(
    ("variables", "passed", "message"),
    [
        ({"__lint": LINT, "__applied": {"elapsed": 2}, "__checked": {}, "__destroyed": {}}, [True, False], "why"),
        ({"__lint": {**LINT, "failed": True}}, [False], "why"),
        ({"__lint": LINT, "__applied": {"elapsed": 2}, "__checked": {"a": 1}, "__destroyed": {"b": 1}}, [True] * 3, ""),
    ],
)
def test_steps_are_told_up_to_the_first_that_failed(variables: Any, passed: list[bool], message: str) -> None:
    found = taken(STEPS, variables, "why")
    assert [step["passed"] for step in found] == passed
    assert found[-1].get("message", "") == message


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ("AWS::S3::Bucket.L*", "It would log itself."),
        ("AWS::S3::Bucket.* @storage", "It would log itself."),
        ("AWS::S3::Bucket.* @storage_dr", ""),
        ("AWS::S3::Bucket.Other", ""),
    ],
)
def test_checkov_is_read_with_the_reasons_for_what_it_may_find(resource: str, reason: str) -> None:
    failed = {
        "check_id": "CKV_1",
        "resource": "AWS::S3::Bucket.Logs",
        "check_name": "Log access",
        "file_path": "/storage.yml",
    }
    output = json.dumps({"summary": {"passed": 7}, "results": {"failed_checks": [failed]}})
    accepted = [{"check": "CKV_1", "resource": resource, "reason": "It would log itself."}]
    told = {"check": "CKV_1", "resource": "AWS::S3::Bucket.Logs", "name": "Log access", "reason": reason}
    assert posture(output, accepted) == {"passed": 7, "failed": [told]}


def test_what_is_no_output_of_checkov_is_an_error() -> None:
    assert posture("") == {}
    with pytest.raises(ValueError, match="Expecting value"):
        posture("no JSON")


def report(passed: bool = True) -> dict[str, Any]:
    resource = {"stack": "gym-queue", "logical_id": "Jobs", "type": "AWS::SQS::Queue", "physical_id": "<jobs>"}
    return record(
        "staging",
        "2026-01-01 00:00:00 UTC",
        12.34,
        [{"name": "Apply", "seconds": 1.0, "passed": passed, "message": "no"}],
        {
            "resources": [{**resource, "remembered": True, "properties": "digest"}],
            "edits": [{"name": "queue.Jobs", "type": "AWS::SQS::Queue", "path": "p", "before": 1, "after": 2}],
            "unreadable": ["AWS::EC2::Route"],
            "kept": {"queue": ["Jobs"]},
            "price": {"monthly": 5.5, "capabilities": {"queue": 5.5}},
            "posture": {
                "passed": 7,
                "failed": [{"check": "CKV_1", "resource": "Jobs", "name": "Encrypt", "reason": ""}],
            },
            "stack_seconds": {"gym-queue": 0.5},
        },
    )


def test_the_report_lists_resources_and_whether_it_passed() -> None:
    told = report()
    assert (told["passed"], report(passed=False)["passed"], record("x", "", 0, [], {})["passed"]) == (
        True,
        False,
        False,
    )
    assert told["resources"] == [
        {
            "stack": "gym-queue",
            "logical_id": "Jobs",
            "type": "AWS::SQS::Queue",
            "physical_id": "<jobs>",
            "remembered": True,
        }
    ]
    assert told["remembered"] == ["AWS::SQS::Queue"]
    json.dumps(told)


def test_the_page_needs_nothing_else_and_says_everything() -> None:
    html = page(report(passed=False))
    assert not re.search(r"src=|href=|<script|https?://", html)
    for text in (
        "failed",
        "&lt;jobs&gt;",
        "queue.Jobs",
        "AWS::EC2::Route",
        "CKV_1",
        "5.50",
        "12.3 s",
        "1 resources of",
    ):
        assert text in html, text
