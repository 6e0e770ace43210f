"""The stacks are what was last reviewed, and whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.aws_template_needs import as_parameters, needs, order
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import MAXIMUM_BYTES, Template, load

from tests.stacks.golden import ENVIRONMENTS, GOLDEN, STAND_IN, VARIANTS, kept

# What issue 3 asks of each capability, by the stack that has it.
WANTED = {
    "network": ["EC2::VPC", "EC2::Subnet", "EC2::NatGateway", "EC2::VPCEndpoint", "EC2::FlowLog", "EC2::SecurityGroup"],
    "secrets": ["KMS::Key", "SecretsManager::Secret", "SecretsManager::RotationSchedule"],
    "secrets_dr": ["KMS::Key"],
    "database": ["RDS::DBInstance", "RDS::DBParameterGroup", "RDS::DBSubnetGroup", "RDS::DBProxy"],
    "cache": ["ElastiCache::ReplicationGroup", "ElastiCache::User", "ElastiCache::UserGroup",
              "ElastiCache::ParameterGroup"],
    "queue": ["SQS::Queue", "SQS::QueuePolicy", "Scheduler::ScheduleGroup"],
    "storage": ["S3::Bucket", "S3::BucketPolicy"],
    "storage_dr": ["S3::Bucket"],
    "cdn": ["CloudFront::Distribution", "CloudFront::OriginAccessControl", "CloudFront::CachePolicy",
            "CloudFront::ResponseHeadersPolicy", "WAFv2::WebACL", "CertificateManager::Certificate",
            "Route53::RecordSet"],
    "registry": ["ECR::Repository", "ECR::ReplicationConfiguration"],
    "compute": ["ECS::Cluster", "DynamoDB::Table", "ElasticLoadBalancingV2::LoadBalancer", "IAM::Role",
                "ElasticLoadBalancingV2::TargetGroup", "ElasticLoadBalancingV2::Listener"],
    "monitoring": ["CloudWatch::Alarm", "CloudWatch::Dashboard", "Logs::MetricFilter", "SNS::Topic"],
    "backup": ["Backup::BackupVault", "Backup::BackupPlan", "Backup::BackupSelection", "Backup::RestoreTestingPlan",
               "Backup::RestoreTestingSelection"],
    "backup_dr": ["Backup::BackupVault"],
    "budget": ["Budgets::Budget", "CE::AnomalyMonitor", "CE::AnomalySubscription"],
}  # fmt: skip


# What issue 3 asks of the other kinds of compute.
WANTED_OF_VARIANTS = {
    "docker_hosts": ["EC2::LaunchTemplate", "AutoScaling::AutoScalingGroup", "AutoScaling::ScalingPolicy",
                     "AutoScaling::ScheduledAction", "ElasticLoadBalancingV2::TargetGroup"],
    "eks": ["EKS::Cluster", "EKS::Nodegroup", "EKS::Addon", "EKS::PodIdentityAssociation", "IAM::OIDCProvider",
            "EC2::LaunchTemplate", "ElasticLoadBalancingV2::TargetGroup"],
}  # fmt: skip


def templates(name: str) -> dict[str, Template]:
    """Read the stacks of an environment; a variant is production with some stacks of its own."""
    return {**load(GOLDEN / "production"), **load(GOLDEN / name)} if name in VARIANTS else load(GOLDEN / name)


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *VARIANTS])
def test_stacks_are_the_reviewed_ones(name: str) -> None:
    reviewed = {path.stem: path.read_text(encoding="utf-8") for path in (GOLDEN / name).glob("*.yml")}
    assert kept(name) == reviewed, "run `make golden` and look at what changed"


def test_everything_that_was_asked_for_is_in_production() -> None:
    found = {name.replace("-", "_"): template for name, template in templates("production").items()}
    assert found.keys() == WANTED.keys()
    for name, kinds in WANTED.items():
        types = {resource["Type"] for resource in found[name].resources.values()}
        assert not {f"AWS::{kind}" for kind in kinds} - types, name
    assert sum(len(template.resources) for template in found.values()) >= 100


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_that_was_asked_for_is_in_the_variants(name: str) -> None:
    types = {resource["Type"] for resource in templates(name)["compute"].resources.values()}
    assert not {f"AWS::{kind}" for kind in WANTED_OF_VARIANTS[name]} - types


@pytest.mark.parametrize("name", [*ENVIRONMENTS, *VARIANTS])
def test_stacks_give_each_other_what_they_need(name: str) -> None:
    found = templates(name)
    primary = templates("production") if name == STAND_IN else {}
    given = as_parameters("primary", {stack: dict.fromkeys(one.outputs, "") for stack, one in primary.items()})
    before = {stack: {need.stack for need in wanted.values()} for stack, wanted in needs(found, given).items()}
    sorter = order(before)
    placed = list(sorter.static_order())
    assert set(placed) == set(found)
    assert placed.index("secrets") < placed.index("network") < placed.index("compute") < placed.index("monitoring")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_stacks_are_small_enough(name: str) -> None:
    sizes = {path.name: len(path.read_bytes()) for path in (GOLDEN / name).glob("*.yml")}
    assert max(sizes.values()) < MAXIMUM_BYTES, sizes


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_nothing_of_this_machine_is_in_them(name: str) -> None:
    for path in (GOLDEN / name).glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert "placeholder-of" not in text
        assert yaml.compose(text, yaml.SafeLoader) is not None
