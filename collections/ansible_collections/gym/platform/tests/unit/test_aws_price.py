"""The price of an environment: every type by its formula, and nothing counted as nothing in silence."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_price import changes, refusal
from ansible_collections.gym.platform.plugins.module_utils.aws_price_resources import PRICED, PRICERS
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import Price, with_prices
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import Usage, UsageError, usage
from ansible_collections.gym.platform.tests.unit.aws_pricing import (
    FRANKFURT,
    IRELAND,
    PLATFORM,
    TABLE,
    lines,
    priced,
    template,
    usd,
)

HOURS = 730
DATABASE = """
Primary:
  Type: AWS::RDS::DBInstance
  Properties:
    Engine: postgres
    DBInstanceClass: db.r6g.2xlarge
    AllocatedStorage: "500"
    StorageType: gp3
    MultiAZ: true
    BackupRetentionPeriod: 30
    AutomaticBackupReplicationRegion: eu-central-1
    ManageMasterUserPassword: true
Replica:
  Type: AWS::RDS::DBInstance
  Properties: {SourceDBInstanceIdentifier: !Ref Primary, DBInstanceClass: db.r6g.large}
"""
TASK = """
Task: {Type: AWS::ECS::TaskDefinition, Properties: {Cpu: "1024", Memory: "2048"}}
"""
SERVICE = """
Service:
  Type: AWS::ECS::Service
  Properties:
    TaskDefinition: !Ref Task
    DesiredCount: 4
    CapacityProviderStrategy:
      - {CapacityProvider: FARGATE, Base: 1, Weight: 1}
      - {CapacityProvider: FARGATE_SPOT, Weight: 2}
"""


def only(resources: str, head: str = "", **assumed: Any) -> dict[str, float]:
    """Return what each line of a template costs."""
    found = priced(template(resources, head), **assumed)
    assert not found.unpriced()
    return {what: line.monthly for what, line in lines(found).items()}


# --- every type


def test_a_primary_is_priced_twice_for_its_standby_and_with_its_backups_in_both_regions() -> None:
    found = priced(template(DATABASE), database_change_per_day=0.01)
    primary, replica = found.resources
    assert [line.monthly for line in primary.lines] == pytest.approx(
        [
            2 * HOURS * 4 * usd("rds_instance_hour", "db.r6g"),
            2 * 500 * usd("rds_gp3_gb_month"),
            # 30 days of 1 % of 500 GB; as much as the storage is free in the region of the instance.
            150 * usd("rds_backup_gb_month"),
            (500 + 150) * usd("rds_backup_gb_month", region=FRANKFURT),
            HOURS / 24 * 5 * usd("cross_region_gb"),
            usd("secret_month"),
        ]
    )
    assert replica.monthly == pytest.approx(HOURS * usd("rds_instance_hour", "db.r6g") + 500 * usd("rds_gp3_gb_month"))


def test_iops_above_the_included_ones_are_charged() -> None:
    more = DATABASE.replace("StorageType: gp3\n", "StorageType: gp3\n    Iops: 13000\n", 1)
    assert lines(priced(template(more)))["IOPS with a standby"].quantity == 2 * 1000


def test_a_proxy_is_charged_by_the_vcpus_behind_it() -> None:
    found = lines(priced(template(DATABASE + "Proxy: {Type: AWS::RDS::DBProxy}")))
    assert found["8 vCPUs"].monthly == pytest.approx(8 * HOURS * usd("rds_proxy_vcpu_hour"))


def test_insights_are_charged_when_they_are_kept_for_longer_than_a_week() -> None:
    longer = DATABASE.replace("    MultiAZ", "    PerformanceInsightsRetentionPeriod: 731\n    MultiAZ")
    found = lines(priced(template(longer)))
    assert found["Performance Insights"].monthly == pytest.approx(2 * 8 * usd("rds_insights_vcpu_month"))
    assert "Performance Insights" not in lines(priced(template(DATABASE)))


def test_a_cache_has_nodes_by_shard_and_replica() -> None:
    group = "{Engine: valkey, CacheNodeType: cache.r7g.xlarge, NumNodeGroups: 2, ReplicasPerNodeGroup: 1"
    found = only(f"Group: {{Type: AWS::ElastiCache::ReplicationGroup, Properties: {group}}}}}")
    assert found == pytest.approx(
        {"4 x cache.r7g.xlarge, valkey": 4 * HOURS * 2 * usd("valkey_node_hour", "cache.r7g")}
    )


def test_a_service_is_split_between_demand_and_spot() -> None:
    found = only(TASK + SERVICE)
    # One by the base; of the other three, one of three parts on demand and two on Spot.
    assert found == pytest.approx(
        {
            "vCPU of tasks": 2 * HOURS * usd("fargate_vcpu_hour", "x86"),
            "vCPU of tasks on Spot": 2 * HOURS * usd("fargate_spot_vcpu_hour", "x86"),
            "memory of tasks": 2 * 2 * HOURS * usd("fargate_gb_hour", "x86"),
            "memory of tasks on Spot": 2 * 2 * HOURS * usd("fargate_spot_gb_hour", "x86"),
        }
    )


def test_a_service_is_priced_by_what_its_schedules_leave() -> None:
    target = """
Target:
  Type: AWS::ApplicationAutoScaling::ScalableTarget
  Properties:
    ResourceId: !Sub "service/gym/${Service.Name}"
    MinCapacity: 4
    MaxCapacity: 9
    ScheduledActions:
      - {Schedule: "cron(0 22 * * ? *)", ScalableTargetAction: {MinCapacity: 1}}
      - {Schedule: "cron(0 6 * * ? *)", ScalableTargetAction: {MinCapacity: 4}}
"""
    service = "Service: {Type: AWS::ECS::Service, Properties: {TaskDefinition: !Ref Task}}"
    found = priced(template(TASK + service + target))
    average = (16 * 4 + 8 * 1) / 24
    assert lines(found)["vCPU of tasks"].monthly == pytest.approx(average * HOURS * usd("fargate_vcpu_hour", "x86"))
    an_hour = usd("fargate_vcpu_hour", "x86") + 2 * usd("fargate_gb_hour", "x86")
    assert found.savings()["off_peak"] == pytest.approx(an_hour * 3 * 8 / 24 * HOURS)


NIGHTLY = """
Nightly:
  Type: AWS::Scheduler::Schedule
  Properties:
    ScheduleExpression: cron(30 2 * * ? *)
    Target: {Arn: x, EcsParameters: {TaskDefinitionArn: !Ref Task}}
"""


def test_a_scheduled_task_is_found_in_another_stack_by_its_family() -> None:
    family = TASK.replace("{Cpu", "{Family: gym-report, Cpu")
    named = NIGHTLY.replace("!Ref Task", '!Sub "arn:aws:ecs:${AWS::AccountId}:task-definition/gym-report"')
    found = priced(template(named, stack="queue"), template(family, stack="compute"))
    assert found.by_capability()["queue"] > 0
    other = priced(template(named.replace("gym-report", "gym-repor"), stack="queue"), template(family, stack="compute"))
    assert [item["reason"] for item in other.unpriced()] == ["its task definition is in no template"]


def test_what_a_release_starts_in_a_cluster_is_priced_as_if_a_stack_had_it() -> None:
    cluster = """
Cluster:
  Type: AWS::ECS::Cluster
  Metadata:
    Platform:
      Released:
        Task: {Type: AWS::ECS::TaskDefinition, Properties: {Family: gym-api, Cpu: "1024", Memory: "2048"}}
        Service: {Type: AWS::ECS::Service, Properties: {TaskDefinition: gym-api, DesiredCount: 4}}
"""
    plain = TASK + "Service: {Type: AWS::ECS::Service, Properties: {TaskDefinition: !Ref Task, DesiredCount: 4}}"
    assert priced(template(cluster)).monthly == pytest.approx(priced(template(plain)).monthly)
    assert priced(template(plain)).monthly > 0


def test_a_table_is_free_as_long_as_it_is_paid_by_the_request() -> None:
    assert priced(template("Table: {Type: AWS::DynamoDB::Table, Properties: {BillingMode: PAY_PER_REQUEST}}")).free()
    other = priced(template("Table: {Type: AWS::DynamoDB::Table, Properties: {BillingMode: PROVISIONED}}"))
    assert [item["reason"] for item in other.unpriced()] == ["no figure for the capacity of a table"]


def test_a_scheduled_task_is_priced_by_its_runs() -> None:
    found = only(TASK + NIGHTLY, job_minutes=20)
    assert found["vCPU of tasks"] == pytest.approx(HOURS / 24 * 20 / 60 * usd("fargate_vcpu_hour", "x86"))


GROUP = """
Template:
  Type: AWS::EC2::LaunchTemplate
  Properties:
    LaunchTemplateData:
      ImageId: !Ref Image
      InstanceType: m7g.large
      Monitoring: {Enabled: true}
      BlockDeviceMappings: [{DeviceName: /dev/xvda, Ebs: {VolumeType: gp3, VolumeSize: 50}}]
Hosts:
  Type: AWS::AutoScaling::AutoScalingGroup
  Properties:
    MinSize: "4"
    MixedInstancesPolicy:
      LaunchTemplate:
        LaunchTemplateSpecification: {LaunchTemplateId: !Ref Template, Version: "1"}
        Overrides: [{InstanceType: m7g.xlarge}]
      InstancesDistribution: {OnDemandBaseCapacity: 1, OnDemandPercentageAboveBaseCapacity: 0}
Night:
  Type: AWS::AutoScaling::ScheduledAction
  Properties: {AutoScalingGroupName: !Ref Hosts, Recurrence: "0 22 * * *", MinSize: 2}
Day:
  Type: AWS::AutoScaling::ScheduledAction
  Properties: {AutoScalingGroupName: !Ref Hosts, Recurrence: "0 10 * * *", MinSize: 4}
"""


def test_a_group_of_instances_has_disks_schedules_and_a_part_on_spot() -> None:
    demand = 2 * usd("ec2_instance_hour", "m7g")
    assert only(GROUP) == pytest.approx(
        {
            "m7g.xlarge": 3 / 4 * HOURS * demand,
            "m7g.xlarge on Spot": 9 / 4 * HOURS * demand * usd("ec2_spot"),
            "disks": 3 * 50 * usd("ebs_gp3_gb_month"),
            "detailed monitoring": 3 * 7 * usd("metric_month"),
        }
    )
    savings = priced(template(GROUP)).savings()
    assert savings["off_peak"] == pytest.approx(1 * HOURS * demand)
    assert savings["spot"] == pytest.approx(9 / 4 * HOURS * demand * (1 - usd("ec2_spot")))


def test_eks_has_a_control_plane_and_nodes() -> None:
    nodes = (
        "{ScalingConfig: {MinSize: 2, DesiredSize: 3}, InstanceTypes: [m7g.large], DiskSize: 40, CapacityType: SPOT}"
    )
    found = only(f"A: {{Type: AWS::EKS::Cluster}}\nB: {{Type: AWS::EKS::Nodegroup, Properties: {nodes}}}")
    assert found == pytest.approx(
        {
            "control plane": HOURS * usd("eks_cluster_hour"),
            "m7g.large on Spot": 3 * HOURS * usd("ec2_instance_hour", "m7g") * usd("ec2_spot"),
            "disks": 3 * 40 * usd("ebs_gp3_gb_month"),
        }
    )


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("EC2::NatGateway", "{}", {"nat_gateway_hour": HOURS, "nat_gateway_gb": 100}),
        ("EC2::EIP", "{}", {"public_ipv4_hour": HOURS}),
        (
            "EC2::VPCEndpoint",
            "{VpcEndpointType: Interface, SubnetIds: !Ref Elsewhere}",
            {"interface_endpoint_hour": 3 * HOURS, "interface_endpoint_gb": 200},
        ),
        ("EC2::FlowLog", "{}", {"flow_log_gb": 20}),
        (
            "ElasticLoadBalancingV2::LoadBalancer",
            "{Subnets: [a, b]}",
            {"balancer_hour": HOURS, "balancer_lcu_hour": 1.44 * HOURS, "public_ipv4_hour": 2 * HOURS},
        ),
        (
            "S3::Bucket",
            "{LifecycleConfiguration: {Rules: [{Transition: {StorageClass: GLACIER}}]}, ReplicationConfiguration: {}}",
            {
                "s3_standard_gb_month": 50,
                "s3_glacier_gb_month": 50,
                "s3_write_thousand": 200,
                "s3_read_thousand": 2000,
                "cross_region_gb": 10,
            },
        ),
        (
            "CloudFront::Distribution",
            "{}",
            # 20 requests of 20 KB a second come to 1,051.2 GB and 52.56 million.
            {"cloudfront_gb": 500 + 1051.2 - 1000, "cloudfront_ten_thousand": (20 + 52.56 - 10) * 100},
        ),
        (
            "WAFv2::WebACL",
            "{Scope: REGIONAL, Rules: [{}, {}]}",
            {"waf_acl_month": 1, "waf_rule_month": 2, "waf_million": 52.56},
        ),
        ("Route53::HostedZone", "{}", {"hosted_zone_month": 1}),
        ("Route53::HealthCheck", "{}", {"health_check_month": 1}),
        ("KMS::Key", "{}", {"kms_key_month": 1, "kms_ten_thousand": 100}),
        ("SecretsManager::Secret", "{ReplicaRegions: [{}]}", {"secret_month": 2, "secret_ten_thousand": 1}),
        ("SQS::Queue", "{}", {"sqs_million": 5}),
        ("SQS::Queue", "{FifoQueue: true}", {"sqs_fifo_million": 5}),
        ("SNS::Topic", "{}", {"sns_million": 0.01}),
        ("ECR::Repository", "{}", {"ecr_gb_month": 10}),
        ("Lambda::Function", "{MemorySize: 512}", {"lambda_million": 0.01, "lambda_gb_second": 5000}),
        ("Logs::LogGroup", "{RetentionInDays: 365}", {"log_ingest_gb": 10, "log_stored_gb_month": 18}),
        ("Logs::MetricFilter", "{MetricTransformations: [{}, {}]}", {"metric_month": 2}),
        ("CloudWatch::Alarm", "{}", {"alarm_month": 1}),
        ("CloudWatch::Alarm", "{Metrics: [{MetricStat: {}}, {MetricStat: {}}, {Expression: x}]}", {"alarm_month": 2}),
        ("CloudWatch::Alarm", "{ThresholdMetricId: x}", {"anomaly_alarm_month": 1}),
        ("CloudWatch::CompositeAlarm", "{}", {"composite_alarm_month": 1}),
        ("CloudWatch::Dashboard", "{}", {"dashboard_month": 1}),
        ("ApplicationAutoScaling::ScalingPolicy", "{PolicyType: TargetTrackingScaling}", {"alarm_month": 2}),
    ],
)
def test_a_type_is_priced_by_its_formula(kind: str, properties: str, expected: dict[str, float]) -> None:
    found = priced(template(f"Thing: {{Type: AWS::{kind}, Properties: {properties}}}"))
    assert not found.unpriced()
    assert {line.figure: line.quantity for line in lines(found).values()} == pytest.approx(expected)
    assert found.monthly == pytest.approx(sum(usd(figure) * quantity for figure, quantity in expected.items()))


def test_what_stacks_share_is_divided_between_gateways() -> None:
    two = "A: {Type: AWS::EC2::NatGateway}\nB: {Type: AWS::EC2::NatGateway}"
    found = priced(template(two), nat_gb=60)
    assert [line.quantity for r in found.resources for line in r.lines] == [HOURS, 30, HOURS, 30]


def test_dead_letters_and_gateway_endpoints_and_the_logs_of_flows_cost_nothing_of_their_own() -> None:
    found = priced(
        template("""
Dead: {Type: AWS::SQS::Queue}
Live: {Type: AWS::SQS::Queue, Properties: {RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn}}}
Gateway: {Type: AWS::EC2::VPCEndpoint}
Flows: {Type: AWS::EC2::FlowLog, Properties: {LogGroupName: !Ref Group}}
Group: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 30}}
""")
    )
    by_name = {resource.name: [line.figure for line in resource.lines] for resource in found.resources}
    assert by_name == {
        "Dead": [],
        "Live": ["sqs_million"],
        "Gateway": [],
        "Flows": ["flow_log_gb"],
        "Group": ["log_stored_gb_month"],
    }


def test_recovery_points_are_priced_by_the_database_of_another_stack() -> None:
    plan = """
Plan:
  Type: AWS::Backup::BackupPlan
  Properties:
    BackupPlan:
      BackupPlanRule:
        - RuleName: nightly
          ScheduleExpression: cron(0 2 * * ? *)
          TargetBackupVault: !Ref Vault
          Lifecycle: {DeleteAfterDays: 35}
          CopyActions: [{DestinationBackupVaultArn: !Ref Elsewhere, Lifecycle: {DeleteAfterDays: 10}}]
"""
    away = template("Vault: {Type: AWS::Backup::BackupVault}", f"Metadata: {{Platform: {{Region: {FRANKFURT}}}}}")
    found = lines(priced(template(DATABASE, stack="database"), template(plan, stack="backup"), away))
    assert found["database, nightly"].quantity == pytest.approx(500 + 35 * 5)
    assert found["copies of nightly"].quantity == pytest.approx(500 + 10 * 5)
    assert found["copies of nightly"].usd == usd("backup_rds_gb_month", region=FRANKFURT)


# --- nothing in silence


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ("{Type: AWS::Neptune::DBCluster}", "no formula for AWS::Neptune::DBCluster"),
        ("{Type: AWS::RDS::DBInstance, Properties: {Engine: mysql}}", "no figure for the engine 'mysql'"),
        (
            "{Type: AWS::ElastiCache::ReplicationGroup, Properties: {CacheNodeType: cache.x9.large}}",
            "no figure for redis_node_hour of cache.x9",
        ),
        ("{Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Elsewhere}}", "Elsewhere is not known"),
        ("{Type: AWS::Logs::LogGroup}", "kept for ever"),
        (
            "{Type: AWS::ECS::Service, Properties: {TaskDefinition: !Ref Elsewhere}}",
            "task definition is in no template",
        ),
        ("{Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {Type: network}}", "of the type 'network'"),
        ("{Type: AWS::Backup::RestoreTestingPlan}", "for as long as the test"),
    ],
)
def test_what_has_no_price_is_named_with_the_reason(resource: str, reason: str) -> None:
    (found,) = priced(template(f"Thing: {resource}")).unpriced()
    assert reason in found["reason"]
    assert found["resource"] == "Thing"


def test_what_was_known_stays_priced() -> None:
    found = priced(template("Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Elsewhere}}"))
    assert found.monthly == pytest.approx(10 * usd("log_ingest_gb"))
    assert len(found.unpriced()) == 1


def test_what_is_free_is_listed_with_the_reason() -> None:
    found = priced(template("A: {Type: AWS::EC2::VPC}\nB: {Type: AWS::EC2::VPC}\nC: {Type: AWS::IAM::Role}"))
    assert found.free() == [
        {"type": "AWS::EC2::VPC", "count": 2, "reason": "a part of the network"},
        {"type": "AWS::IAM::Role", "count": 1, "reason": "permissions"},
    ]


def test_no_type_is_both_free_and_priced() -> None:
    assert len(PRICERS) == len(PRICED) + sum(kind not in PRICED for kind in PRICERS)
    assert all(PRICERS[kind] is pricer for kind, pricer in PRICED.items())


# --- the whole


def test_regions_have_their_own_prices() -> None:
    head = f"Metadata: {{Platform: {{Region: {FRANKFURT}}}}}"
    gateway = "A: {Type: AWS::EC2::NatGateway}"
    home, away = priced(template(gateway)), priced(template(gateway, head))
    assert away.monthly == pytest.approx(
        home.monthly * usd("nat_gateway_hour", region=FRANKFURT) / usd("nat_gateway_hour")
    )


def test_reserving_saves_what_the_table_says() -> None:
    reserved = usd("rds_instance_hour_reserved_1y", "db.r6g")
    expected = HOURS * (2 * 4 + 1) * (usd("rds_instance_hour", "db.r6g") - reserved)
    assert priced(template(DATABASE)).savings()["reservable"] == pytest.approx(expected)


def test_a_figure_of_the_table_moves_the_price() -> None:
    dearer = with_prices(TABLE.figure("nat_gateway_hour"), [Price(IRELAND, 1.0, TABLE.oldest())])
    table = dataclasses.replace(TABLE, figures=tuple(dearer if f.name == dearer.name else f for f in TABLE.figures))
    gateway = template("A: {Type: AWS::EC2::NatGateway}")
    difference = priced(gateway, table=table).monthly - priced(gateway).monthly
    assert difference == pytest.approx(HOURS * (1.0 - usd("nat_gateway_hour")))


def test_the_report_adds_up_and_is_plain_data() -> None:
    found = priced(template(DATABASE, stack="database"), template(GROUP, stack="compute"))
    record: dict[str, Any] = json.loads(json.dumps(found.record()))
    assert record["monthly"] == pytest.approx(sum(record["capabilities"].values()), abs=0.02)
    assert record["monthly"] == pytest.approx(
        sum(line["monthly"] for r in record["resources"] for line in r["lines"]), abs=0.02
    )
    assert list(record["capabilities"]) == ["database", "compute"]


def test_a_plan_is_compared_resource_by_resource() -> None:
    before = priced(template("A: {Type: AWS::EC2::NatGateway}\nB: {Type: AWS::KMS::Key}\nC: {Type: AWS::EC2::EIP}"))
    after = priced(template(DATABASE + "B: {Type: AWS::KMS::Key}\nC: {Type: AWS::EC2::EIP}"))
    found = changes(before, after)
    assert [(change.name, change.before is None, change.after is None) for change in found] == [
        ("Primary", True, False),
        ("Replica", True, False),
        ("A", False, True),
    ]
    assert sum(change.difference for change in found) == pytest.approx(after.monthly - before.monthly)


@pytest.mark.parametrize(
    ("before", "after", "confirmed", "refused"),
    [
        (None, 101, False, True),
        (50, 101, False, True),
        (50, 100, False, False),
        (50, 101, True, False),
        # Cheaper than before, though still too dear; and as dear as before.
        (120, 101, False, False),
        (101, 101, False, False),
    ],
)
def test_a_plan_above_the_budget_needs_a_confirmation(
    before: float | None, after: float, confirmed: bool, refused: bool
) -> None:
    reason = refusal(before, after, 100, confirmed)
    assert (reason is not None) == refused
    if reason:
        assert "101.00 USD" in reason
        assert "confirm_over_budget" in reason


@pytest.mark.parametrize(
    ("found", "complaint"),
    [({"nat_gbs": 1}, "did you mean nat_gb"), ({"nat_gb": -1}, "at least 0"), ({"nat_gb": "x"}, "is 'x'")],
)
def test_assumptions_are_checked(found: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        usage(found)


def test_the_environment_s_assumptions_come_first() -> None:
    assert usage({"nat_gb": 7}) == dataclasses.replace(Usage(), nat_gb=7)


def test_the_page_about_cost_lists_every_assumption() -> None:
    text = (PLATFORM.parents[3] / "docs/cost.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", text, re.MULTILINE)
    assumed = dataclasses.asdict(Usage())
    assert [(name, float(value)) for name, value in listed] == list(assumed.items())
