"""What stands in the stacks is what the nouns of the environment say, and what no environment may do without."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_adoption import KINDS
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import (
    STATEFUL_TYPES,
    Template,
    load,
    retained,
    with_literal_names,
)
from ansible_collections.gym.platform.plugins.module_utils.environment import leaves

from tests.ecs import golden as tasks
from tests.project import described
from tests.stacks.golden import ENVIRONMENTS, GOLDEN, STAND_IN, VARIANTS

SETS = (*ENVIRONMENTS, *VARIANTS)
# Actions that name no resource.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "secretsmanager:GetRandomPassword", "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords"}  # fmt: skip

# By these CloudFormation finds by itself what it is to adopt.
NAMES = {
    "AWS::Backup::BackupVault": "BackupVaultName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
}
SECRET_KEYS = {"Password", "Passwords", "MasterUserPassword", "SecretString", "AuthToken"}

everywhere = pytest.mark.parametrize("name", SETS)
in_environments = pytest.mark.parametrize("name", ENVIRONMENTS)
# A stand-in has another beginning, copies for buckets, and no budget of its own: test_stack_stand_in.py.
in_primaries = pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if name != STAND_IN])


@functools.cache
def templates(name: str) -> dict[str, Template]:
    """Read the stacks of an environment; a variant is production with some stacks of its own."""
    return {**load(GOLDEN / "production"), **load(GOLDEN / name)} if name in VARIANTS else load(GOLDEN / name)


def resources(name: str, kind: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through the resources of all stacks of a kind, each with its place."""
    for stack, template in templates(name).items():
        for identifier, resource in template.resources.items():
            if resource["Type"].startswith(f"AWS::{kind}"):
                yield f"{stack}.{identifier}", dict(resource)


def properties(name: str, kind: str) -> dict[str, Any]:
    found = {place: resource["Properties"] for place, resource in resources(name, kind) if resource["Type"][5:] == kind}
    assert found, f"{name} has no {kind}"
    return found


# --- what no environment may do without


@everywhere
def test_what_holds_data_outlives_its_stack(name: str) -> None:
    for place, resource in resources(name):
        if resource["Type"] in STATEFUL_TYPES and "SourceDBInstanceIdentifier" not in resource["Properties"]:
            policies = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
            assert set(policies) <= {"Snapshot", "Retain"}, place


@everywhere
def test_what_stays_when_its_stack_goes_can_be_adopted_again(name: str) -> None:
    known = {"AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::Region": "eu-west-1"}
    for stack, template in templates(name).items():
        kept = [
            (kind, resource["Properties"].get(KINDS[kind].name if kind in KINDS else NAMES[kind]))
            for resource in with_literal_names(template, known).resources.values()
            if retained(resource) and (kind := resource["Type"])
        ]
        assert all(isinstance(called, str) for _, called in kept), (stack, kept)
        assert len(set(kept)) == len(kept), stack


@everywhere
def test_keys_are_replaced(name: str) -> None:
    assert all(key["EnableKeyRotation"] is True for key in properties(name, "KMS::Key").values())


@everywhere
def test_buckets_are_closed_and_encrypted(name: str) -> None:
    buckets = properties(name, "S3::Bucket")
    for place, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, place
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        kind = rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        assert kind == ("AES256" if place.endswith("LogsBucket") else "aws:kms"), place
    assert guarded(name, "S3::BucketPolicy", "Bucket") == set(buckets)


@everywhere
def test_queues_are_encrypted_and_heard_over_tls_only(name: str) -> None:
    queues = properties(name, "SQS::Queue")
    assert all("KmsMasterKeyId" in queue for queue in queues.values())
    assert guarded(name, "SQS::QueuePolicy", "Queues") == set(queues)


def guarded(name: str, kind: str, key: str) -> set[str]:
    """List the resources whose policy refuses whoever asks without TLS."""
    found = set()
    for place, policy in properties(name, kind).items():
        statement = policy["PolicyDocument"]["Statement"][0]
        refuses = (statement["Effect"], statement["Principal"], statement["Condition"])
        assert refuses == ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}}), place
        of = policy[key] if isinstance(policy[key], list) else [policy[key]]
        found |= {f"{place.partition('.')[0]}.{reference['Ref']}" for reference in of}
    return found


@everywhere
def test_nothing_is_open_to_the_world(name: str) -> None:
    for place, group in properties(name, "EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", []):
            assert rule.get("CidrIp") != "0.0.0.0/0", place
    for place, subnet in properties(name, "EC2::Subnet").items():
        assert not subnet.get("MapPublicIpOnLaunch"), place


@everywhere
def test_the_balancer_speaks_tls_only(name: str) -> None:
    for place, listener in properties(name, "ElasticLoadBalancingV2::Listener").items():
        assert (listener["Protocol"], listener["SslPolicy"]) == ("HTTPS", "ELBSecurityPolicy-TLS13-1-2-2021-06"), place


@everywhere
def test_nobody_may_do_everything(name: str) -> None:
    for place, role in properties(name, "IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not [action for action in actions if action.endswith(":*") or action == "*"], place
                if statement["Resource"] == "*":
                    assert set(actions) <= WITHOUT_RESOURCE, place


@everywhere
def test_no_value_of_a_secret_is_in_a_template(name: str) -> None:
    for place, resource in resources(name):
        for path, value in leaves(resource["Properties"]):
            if SECRET_KEYS & set(path):
                assert str(value).startswith("{{resolve:secretsmanager:"), f"{place}: {path}"
    for place, secret_ in properties(name, "SecretsManager::Secret").items():
        assert ("GenerateSecretString" in secret_) != ("SecretString" in secret_), place


@everywhere
def test_logs_are_encrypted_and_end(name: str) -> None:
    for place, group in properties(name, "Logs::LogGroup").items():
        assert "KmsKeyId" in group, place
        assert group["RetentionInDays"] > 0, place


@pytest.mark.parametrize("name", VARIANTS)
def test_machines_keep_their_role_to_themselves(name: str) -> None:
    for place, template in properties(name, "EC2::LaunchTemplate").items():
        data = template["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required", place
        assert all(device["Ebs"]["Encrypted"] for device in data["BlockDeviceMappings"]), place


# --- what the nouns say


def test_machines_are_partly_spot() -> None:
    (group,) = properties("docker_hosts", "AutoScaling::AutoScalingGroup").values()
    assert group["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] < 100
    tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
    assert (tags["Group"], tags["Environment"], tags["Platform"]) == ("app", "production", "gym")
    assert {node["CapacityType"] for node in properties("eks", "EKS::Nodegroup").values()} == {"SPOT", "ON_DEMAND"}


def released(name: str, kind: str) -> list[dict[str, Any]]:
    """List what the stacks tell of a release, of one type."""
    platforms = [resource.get("Metadata", {}).get("Platform", {}) for _, resource in resources(name)]
    told = [one for platform in platforms for one in platform.get("Released", {}).values()]
    return [one["Properties"] for one in told if one["Type"] == f"AWS::{kind}"]


def test_workers_and_jobs_are_on_spot() -> None:
    services = {one["ServiceName"]: one for one in released("production", "ECS::Service")}
    capacity = {name: {one["CapacityProvider"] for one in service["CapacityProviderStrategy"]}
                for name, service in services.items()}  # fmt: skip
    assert capacity == {"gym-api": {"FARGATE"}, "gym-worker": {"FARGATE", "FARGATE_SPOT"}}
    (schedule,) = released("production", "Scheduler::Schedule")
    assert schedule["Target"]["EcsParameters"]["CapacityProviderStrategy"][0]["CapacityProvider"] == "FARGATE_SPOT"


def test_the_proxy_lets_in_everybody_whose_password_a_release_hands_out() -> None:
    target = tasks.target("production")
    handed_out = {
        output
        for secrets in (target.secrets, *target.one_off_secrets.values())
        for name, output in secrets.items()
        if "DATABASE" in name
    }
    (proxy,) = properties("production", "RDS::DBProxy").values()
    assert {one["SecretArn"]["Ref"] for one in proxy["Auth"]} == handed_out
    role = templates("production")["database"].resources["ProxyRole"]["Properties"]
    allowed = role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"]
    assert {one["Ref"] for one in allowed} == handed_out


@in_environments
def test_nothing_that_a_release_makes_is_in_a_stack(name: str) -> None:
    made = {"ECS::Service", "ECS::TaskDefinition", "ElasticLoadBalancingV2::ListenerRule", "Scheduler::Schedule"}
    of_releases = {*made, "ApplicationAutoScaling::ScalableTarget", "ApplicationAutoScaling::ScalingPolicy"}
    assert not of_releases & {resource["Type"].removeprefix("AWS::") for _, resource in resources(name)}
    for listener in properties(name, "ElasticLoadBalancingV2::Listener").values():
        assert [action["Type"] for action in listener["DefaultActions"]] == ["fixed-response"]


@in_environments
def test_a_zone_has_what_the_network_says(name: str) -> None:
    zones = described(name, "platform")["zones"]
    exits = len(zones) if described(name, "network")["egress"] == "per_zone" else 1
    assert len(properties(name, "EC2::Subnet")) == 3 * len(zones)
    assert len(properties(name, "EC2::NatGateway")) == exits
    for place, endpoint in properties(name, "EC2::VPCEndpoint").items():
        assert len(endpoint.get("SubnetIds", [None] * exits)) == exits, place


@in_primaries
def test_the_database_is_what_its_noun_says(name: str) -> None:
    database, backup, platform = (described(name, one) for one in ("database", "backup", "platform"))
    instances = properties(name, "RDS::DBInstance")
    primaries = {place: one for place, one in instances.items() if "SourceDBInstanceIdentifier" not in one}
    assert len(primaries) == database["shards"]
    assert len(instances) - len(primaries) == database["shards"] * database["read_replicas"]
    assert all(one["PubliclyAccessible"] is False for one in instances.values())
    for place, one in primaries.items():
        assert one["MultiAZ"] is database["high_availability"], place
        assert one["AllocatedStorage"] == str(database["storage_gb"]), place
        assert one["StorageEncrypted"] and one["DeletionProtection"], place
        # RDS manages the password where it can: not with replicas.
        assert ("ManageMasterUserPassword" in one) is (database["read_replicas"] == 0), place
        assert ("MasterUserPassword" in one) is (database["read_replicas"] > 0), place
        assert one["BackupRetentionPeriod"] == min(35, backup["retention_days"]), place
        assert one["AutomaticBackupReplicationRegion"] == platform["dr_region"], place
        assert one["EnablePerformanceInsights"] is True, place
    (group,) = properties(name, "RDS::DBParameterGroup").values()
    wanted = {"rds.force_ssl": "1", "rds.logical_replication": "1", "shared_preload_libraries": "pg_stat_statements"}
    assert wanted.items() <= group["Parameters"].items()


@in_environments
def test_the_cache_is_what_its_noun_says(name: str) -> None:
    cache = described(name, "cache")
    (group,) = properties(name, "ElastiCache::ReplicationGroup").values()
    assert (group["NumNodeGroups"], group["ReplicasPerNodeGroup"]) == (cache["shards"], cache["replicas"])
    assert group["AutomaticFailoverEnabled"] is group["MultiAZEnabled"] is cache["high_availability"]
    assert group["AtRestEncryptionEnabled"] and group["TransitEncryptionEnabled"]
    users = {user["UserName"]: user["AccessString"] for user in properties(name, "ElastiCache::User").values()}
    assert users.pop("default").startswith("off ")
    assert not [user for user in properties(name, "ElastiCache::User").values() if "Passwords" not in user]
    assert {use["name"]: f"on ~{use['prefix']}*" for use in cache["uses"]} == {
        user: " ".join(rights.split()[:2]) for user, rights in users.items()
    }
    assert all("-@dangerous" in rights and "+@all" not in rights for rights in users.values())


@in_environments
def test_queues_are_what_their_nouns_say(name: str) -> None:
    queues = {one["QueueName"]: one for one in properties(name, "SQS::Queue").values()}
    for record in described(name, "queues"):
        queue = queues[f"gym-{name}-{record['name']}"]
        assert queue["VisibilityTimeout"] == record["visibility_timeout_seconds"]
        assert queue["MessageRetentionPeriod"] == record["retention_days"] * 86400
        assert queue["RedrivePolicy"]["maxReceiveCount"] == record["dead_letter"]["max_receives"]
        assert f"gym-{name}-{record['dead_letter']['name']}" in queues


@in_primaries
def test_buckets_are_what_their_nouns_say(name: str) -> None:
    buckets = properties(name, "S3::Bucket")
    for record in described(name, "buckets"):
        bucket = buckets[f"storage.{record['name'].capitalize()}Bucket"]
        assert bucket["VersioningConfiguration"]["Status"] == ("Enabled" if record["versioned"] else "Suspended")
        assert bucket["ReplicationConfiguration"]["Rules"][0]["Status"] == "Enabled"
        transitions = [one for rule in bucket["LifecycleConfiguration"]["Rules"] for one in rule.get("Transitions", [])]
        days = [one["TransitionInDays"] for one in transitions]
        assert days == ([record["archive_after_days"]] if "archive_after_days" in record else [])


@in_environments
def test_services_are_what_their_nouns_say(name: str) -> None:
    tasks = {one["Family"]: one for one in released(name, "ECS::TaskDefinition")}
    scaling = {one["ResourceId"]: one for one in released(name, "ApplicationAutoScaling::ScalableTarget")}
    for service in described(name, "services"):
        task = tasks[f"gym-{name}-{service['name']}"]
        assert int(task["Cpu"]) >= service["cpu"] * 1024 and int(task["Memory"]) >= service["memory_mb"]
        if service["kind"] != "job":
            target = scaling[f"service/gym-{name}/{service['name']}"]
            assert (target["MinCapacity"], target["MaxCapacity"]) == (service["replicas"], service["maximum_replicas"])
            assert len(target["ScheduledActions"]) == 2


@in_environments
def test_alerts_and_dashboards_are_those_of_the_nouns(name: str) -> None:
    alarms = {one["AlarmName"]: one for one in properties(name, "CloudWatch::Alarm").values()}
    for record in described(name, "alerts"):
        alarm = alarms[f"gym-{name}-{record['name']}"]
        assert alarm["Threshold"] == record["above"] and alarm["EvaluationPeriods"] == record["for_minutes"]
        assert alarm["AlarmActions"]
    (board,) = properties(name, "CloudWatch::Dashboard").values()
    titles = {widget["properties"].get("title") for widget in json.loads(board["DashboardBody"]["Fn::Sub"])["widgets"]}
    (record,) = described(name, "dashboards")
    assert {panel["title"] for panel in record["panels"]} <= titles


@in_primaries
def test_backups_are_kept_copied_and_tried(name: str) -> None:
    days = described(name, "backup")["retention_days"]
    plans = properties(name, "Backup::BackupPlan")
    (rule,) = plans["backup.Plan"]["BackupPlan"]["BackupPlanRule"]
    assert rule["Lifecycle"]["DeleteAfterDays"] == rule["CopyActions"][0]["Lifecycle"]["DeleteAfterDays"] == days
    vaults = properties(name, "Backup::BackupVault").values()
    assert len(vaults) == 2
    for vault in vaults:
        lock = vault["LockConfiguration"]
        assert 1 <= lock["MinRetentionDays"] <= days <= lock["MaxRetentionDays"]


@in_primaries
def test_the_budget_is_the_noun_s(name: str) -> None:
    cost = described(name, "cost")
    (budget,) = properties(name, "Budgets::Budget").values()
    assert budget["Budget"]["BudgetLimit"]["Amount"] == cost["monthly_budget_usd"]
    told = [one["Notification"] for one in budget["NotificationsWithSubscribers"]]
    assert [one["Threshold"] for one in told if one["NotificationType"] == "ACTUAL"] == cost["alert_at_percent"]
    assert [one["Threshold"] for one in told if one["NotificationType"] == "FORECASTED"] == [100]
