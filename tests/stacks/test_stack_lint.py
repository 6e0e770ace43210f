"""What reads templates as AWS would finds nothing in them: AWS's own schemas, and a catalogue of what is unsafe."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stacks.golden import ENVIRONMENTS, GOLDEN

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".cache/lint_stacks/bin"
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1")
SKIPS = yaml.safe_load((Path(__file__).parent / "checkov_skips.yml").read_text(encoding="utf-8"))


def run(program: str, *arguments: str) -> Any:
    """Run a linter that answers in JSON, on the golden stacks."""
    assert (PROGRAMS / program).exists(), "run `make lint-stacks`, which installs it"
    command = [str(PROGRAMS / program), *arguments]
    # Neither has to ask anybody.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BC_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=GOLDEN, env=clean, check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def files() -> list[str]:
    return [path.relative_to(GOLDEN).as_posix() for path in sorted(GOLDEN.rglob("*.yml"))]


@functools.cache
def failures() -> list[tuple[str, str]]:
    """List what checkov refuses: the check, and the resource with its stack."""
    answer = run("checkov", "--directory", ".", "--framework", "cloudformation", "--output", "json", "--skip-download")
    assert answer["summary"]["parsing_errors"] == 0
    assert answer["summary"]["passed"] > 200 * len(ENVIRONMENTS)
    found = answer["results"]["failed_checks"]
    return [(one["check_id"], f"{one['resource']} @{Path(one['file_path']).stem}") for one in found]


def skipped(check: str, resource: str) -> Sequence[str]:
    """Return the reasons for which a failure is accepted."""
    return [skip["reason"] for skip in SKIPS if skip["check"] == check and matches(skip["resource"], resource)]


def matches(pattern: str, resource: str) -> bool:
    return fnmatchcase(resource, pattern if " @" in pattern else f"{pattern} @*")


def test_aws_would_take_every_template() -> None:
    found = run("cfn-lint", "--format", "json", "--regions", *REGIONS, "--template", *files())
    assert not [f"{one['Filename']}: {one['Rule']['Id']} {one['Message']}" for one in found]


def test_nothing_is_unsafe_without_a_reason() -> None:
    assert not [(check, resource) for check, resource in failures() if not skipped(check, resource)]


def test_every_reason_is_needed_and_there_are_few() -> None:
    assert len(SKIPS) <= 10
    for skip in SKIPS:
        assert "\n" not in skip["reason"]
        needed = [
            check for check, resource in failures() if check == skip["check"] and matches(skip["resource"], resource)
        ]
        assert needed, f"nothing fails {skip['check']} on {skip['resource']} any more: remove it"


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("AWS::S3::Bucket.LogsBucket", "AWS::S3::Bucket.LogsBucket @storage", True),
        ("AWS::S3::Bucket.LogsBucket", "AWS::S3::Bucket.AssetsBucket @storage", False),
        ("AWS::S3::Bucket.*Bucket @storage_dr", "AWS::S3::Bucket.AssetsBucket @storage_dr", True),
        ("AWS::S3::Bucket.*Bucket @storage_dr", "AWS::S3::Bucket.AssetsBucket @storage", False),
    ],
)
def test_a_reason_is_for_its_resource_alone(pattern: str, resource: str, expected: bool) -> None:
    assert matches(pattern, resource) is expected
