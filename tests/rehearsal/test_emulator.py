"""The embedded cloud keeps what the rehearsal stands on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud, CloudError, ask

from tests.embedded import PYTHON
from tests.project import ROOT
from tests.rehearsal.conftest import Account


def inside(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([str(PYTHON), "-c", program], env=environment, capture_output=True, text=True, check=True)
    return run.stdout


def test_this_version_of_ministack_has_every_name_that_we_use() -> None:
    assert inside("from rehearsal.aws import private; print(private.missing())").split() == ["[]"]


def test_a_name_that_moved_is_told() -> None:
    moved = "import ministack.services.ec2 as ec2; del ec2._ACTION_MAP; from rehearsal.aws import private; "
    assert inside(moved + "print(*private.missing())").split() == ["ministack.services.ec2._ACTION_MAP"]


def test_it_serves_this_machine_only(endpoint: str) -> None:
    port = urlsplit(endpoint).port
    assert port
    others = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
    for address in others - {"127.0.0.1", "127.0.1.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=2)
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        pass


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ("{Type: AWS::SQS::Queue, Properties: {VisibilityTimeot: 3}}", "VisibilityTimeot"),
        ("{Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-0, CidrBlock: 10.0.0.0/24}}", "vpc-0 does not exist"),
        ("{Type: AWS::Budgets::Budget, Properties: {Budget: {BudgetType: COST}}}", "TimeUnit"),
    ],
)
def test_it_refuses_what_aws_refuses(account: Account, resource: str, reason: str) -> None:
    stacks = account.stacks({"network": f"Resources: {{Wrong: {resource}}}\n"})
    outcome = stacks.apply(stacks.plan())
    assert reason in outcome.failed["network"]


def test_outputs_alone_are_a_change(account: Account) -> None:
    body = "Resources: {Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}}\n"
    stacks = account.stacks({"network": body})
    stacks.apply(stacks.plan())
    stacks = account.stacks({"network": body + 'Outputs: {Cidr: {Value: !Sub "10.0.0.0/16 ${Vpc}"}}\n'})
    plan = stacks.plan()
    assert [(stack.operation, stack.changes) for stack in plan.stacks] == [("update", ())]
    stacks.apply(plan)
    assert stacks.outputs()["network"]["Cidr"].startswith("10.0.0.0/16 vpc-")


def test_an_output_that_cannot_be_had_is_told(account: Account) -> None:
    body = "Resources: {Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}}\n"
    stacks = account.stacks({"network": body + "Outputs: {Cidr: {Value: !GetAtt Vpc.Nothing}}\n"})
    assert "Nothing" in stacks.apply(stacks.plan()).failed["network"]


def test_only_the_process_that_was_started_is_ended(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    record = {"pid": other.pid, "endpoint": "http://127.0.0.1:1", "started_at": "1"}
    (tmp_path / "cloud.json").write_text(json.dumps(record))
    assert not Cloud(tmp_path).stop(1)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_cloud_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"its last words: .*no such region"):
        Cloud(tmp_path).start([str(PYTHON), "-c", "raise SystemExit('no such region')"], {}, 20)
    with pytest.raises(CloudError, match="does not answer"):
        ask("http://127.0.0.1:1", "resources")
