"""How each type of resource is priced. One function per type, from its properties to lines. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import aws_price_compute as compute
from ansible_collections.gym.platform.plugins.module_utils import aws_price_schedule as schedule
from ansible_collections.gym.platform.plugins.module_utils.aws_price import At, Found, Free, Line, Pricer, Unpriced
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import size_factor
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Resource, Unknown
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import (
    DAYS_PER_MONTH,
    HOURS_PER_MONTH,
    SECONDS_PER_MONTH,
)

KILOBYTES_PER_GB = 1_000_000
# What is included in the price of gp3 storage of PostgreSQL: more from 400 GB on, where it is striped.
RDS_INCLUDED_IOPS = {False: 3_000, True: 12_000}
RDS_STRIPED_FROM_GB = 400
RDS_FREE_INSIGHTS_DAYS = 7
CDN_FREE_GB = 1_000
CDN_FREE_MILLION_REQUESTS = 10
# Target tracking keeps a high and a low alarm.
TRACKING_ALARMS = 2
LOGS_COMPRESS_TO = 0.15
LARGE_VCPUS = 2
SMALLEST_PROXY_VCPUS = 2
STORAGE_CLASSES = {
    "STANDARD_IA": "s3_standard_ia_gb_month",
    "GLACIER_IR": "s3_glacier_ir_gb_month",
    "GLACIER": "s3_glacier_gb_month",
    "DEEP_ARCHIVE": "s3_deep_archive_gb_month",
}


# --- network


def nat_gateway(at: At) -> Found:
    """A gateway by the hour, and its part of what goes out."""
    gateways = len(list(at.template.of_type(at.resource.type)))
    yield at.hours("gateway", 1, "nat_gateway_hour")
    yield at.line("data through it", at.usage.nat_gb / gateways, "nat_gateway_gb")


def endpoint(at: At) -> Found:
    """An interface endpoint by the hour and zone; gateway endpoints are free."""
    if at.get("VpcEndpointType", "Gateway") != "Interface":
        yield Free("a gateway endpoint")
        return
    count = sum(r.properties.get("VpcEndpointType") == "Interface" for r in at.template.of_type(at.resource.type))
    yield at.hours("endpoint", at.length("SubnetIds"), "interface_endpoint_hour")
    yield at.line("data through it", at.usage.endpoint_gb / count, "interface_endpoint_gb")


def address(at: At) -> Found:
    """A public address."""
    yield at.hours("public IPv4 address", 1, "public_ipv4_hour")


def flow_log(at: At) -> Found:
    """What flow logs write."""
    figure = "flow_log_gb" if at.get("LogDestinationType", "cloud-watch-logs") == "cloud-watch-logs" else None
    if figure:
        yield at.line("flow logs", at.usage.flow_log_gb, figure)
    else:
        yield Unpriced("flow logs are priced where they go to CloudWatch only")


# --- database and cache


def database_instance(at: At) -> Found:
    """An RDS instance with its storage and backups. A replica has its source's storage and no backups of its own."""
    source = at.template.target(at.resource.properties.get("SourceDBInstanceIdentifier"))
    engine = at.get("Engine") or (source and at.value(source, "Engine"))
    if engine != "postgres":
        yield Unpriced(f"no figure for the engine '{engine}'")
        return
    kind = str(at.get("DBInstanceClass"))
    copies = 2 if at.says("MultiAZ") else 1
    standby = " with a standby" if copies == 2 else ""
    yield reserved(at, _instance(at, f"{kind}{standby}", copies * HOURS_PER_MONTH, "rds_instance_hour", kind), kind)
    size = _allocated_gb(at, at.resource)
    storage = at.get("StorageType") or (source and at.value(source, "StorageType")) or "gp2"
    if storage != "gp3":
        yield Unpriced(f"no figure for storage of the type '{storage}'")
    else:
        yield at.line(f"storage{standby}", copies * size, "rds_gp3_gb_month")
        if extra := max(0, int(at.get("Iops", 0)) - RDS_INCLUDED_IOPS[size >= RDS_STRIPED_FROM_GB]):
            yield at.line(f"IOPS{standby}", copies * extra, "rds_gp3_iops_month")
    days = int(at.get("BackupRetentionPeriod", 0 if source else 1))
    changed = size * at.usage.database_change_per_day
    if days:
        yield at.line("backups above the storage", days * changed, "rds_backup_gb_month")
    if region := at.get("AutomaticBackupReplicationRegion"):
        kept = int(at.get("AutomaticBackupReplicationRetentionPeriod", days))
        yield at.line(f"backups in {region}", size + kept * changed, "rds_backup_gb_month", region=str(region))
        yield at.line(f"copying them to {region}", DAYS_PER_MONTH * changed, "cross_region_gb")
    if int(at.get("PerformanceInsightsRetentionPeriod", RDS_FREE_INSIGHTS_DAYS)) > RDS_FREE_INSIGHTS_DAYS:
        yield at.line("Performance Insights", copies * _vcpus(kind), "rds_insights_vcpu_month")
    if seconds := int(at.get("MonitoringInterval", 0)):
        gb = SECONDS_PER_MONTH / seconds * at.usage.database_measurement_kilobytes / KILOBYTES_PER_GB
        yield at.line("Enhanced Monitoring, as logs", copies * gb, "log_ingest_gb")
    if at.says("ManageMasterUserPassword"):
        yield at.line("secret of the master user", 1, "secret_month")


def database_proxy(at: At) -> Found:
    """A proxy by the vCPUs of the dearest instance of its stack, at least two."""
    kinds = [str(at.value(instance, "DBInstanceClass")) for instance in at.template.of_type("AWS::RDS::DBInstance")]
    vcpus = max([SMALLEST_PROXY_VCPUS, *(_vcpus(kind) for kind in kinds)])
    yield at.hours(f"{vcpus:g} vCPUs", vcpus, "rds_proxy_vcpu_hour")


def cache_group(at: At) -> Found:
    """A replication group: its nodes and its snapshots."""
    engine, kind = str(at.get("Engine", "redis")), str(at.get("CacheNodeType"))
    shards = int(at.get("NumNodeGroups", 1))
    nodes = int(at.get("NumCacheClusters", 0)) or shards * (1 + int(at.get("ReplicasPerNodeGroup", 0)))
    line = _instance(at, f"{nodes} x {kind}, {engine}", nodes * HOURS_PER_MONTH, f"{engine}_node_hour", kind)
    yield reserved(at, line, kind)
    if days := int(at.get("SnapshotRetentionLimit", 0)):
        yield at.line("snapshots", days * at.usage.cache_snapshot_gb * shards, "cache_backup_gb_month")


def _instance(at: At, what: str, hours: float, figure: str, kind: str) -> Line:
    """Price an instance class by the hour."""
    return Line(what, hours, "hour", at.table.instance(figure, at.template.region, kind), figure)


def reserved(at: At, line: Line, kind: str) -> Line:
    """Add what the line would cost less, were it reserved for a year."""
    usd = at.table.instance(f"{line.figure}_reserved_1y", at.template.region, kind)
    return dataclasses.replace(line, reservable=max(0.0, line.monthly - line.quantity * usd))


def _allocated_gb(at: At, instance: Resource) -> float:
    source = at.template.target(instance.properties.get("SourceDBInstanceIdentifier"))
    own = at.value(instance, "AllocatedStorage")
    if own is None and source is None:
        raise Unknown("AllocatedStorage")
    return float(own) if own is not None or source is None else _allocated_gb(at, source)


def _vcpus(kind: str) -> float:
    return LARGE_VCPUS * max(1.0, size_factor(kind.rpartition(".")[2]))


# --- storage and front door


def balancer(at: At) -> Found:
    """An application load balancer: by the hour, by capacity units, and its public addresses."""
    if at.get("Type", "application") != "application":
        yield Unpriced(f"no figure for a balancer of the type '{at.get('Type')}'")
        return
    per_second = at.usage.requests_per_second
    connections = per_second / at.usage.requests_per_connection / 25
    gb_an_hour = per_second * 3600 * at.usage.kilobytes_per_answer / KILOBYTES_PER_GB
    yield at.hours("balancer", 1, "balancer_hour")
    yield at.hours("capacity units", max(connections, gb_an_hour), "balancer_lcu_hour")
    if at.get("Scheme", "internet-facing") == "internet-facing":
        yield at.hours("public IPv4 addresses", at.length("Subnets"), "public_ipv4_hour")


def bucket(at: At) -> Found:
    """A bucket: what is kept, what a rule archives, requests, and what is copied to the other region."""
    rules = (at.resource.properties.get("LifecycleConfiguration") or {}).get("Rules", [])
    archive = next((t["StorageClass"] for rule in rules for t in _transitions(rule)), None)
    archived = at.usage.bucket_gb * at.usage.bucket_archived_part if archive else 0.0
    yield at.line("objects", at.usage.bucket_gb - archived, "s3_standard_gb_month")
    if archive in STORAGE_CLASSES:
        yield at.line(f"objects in {archive}", archived, STORAGE_CLASSES[archive])
    elif archive:
        yield Unpriced(f"no figure for the storage class '{archive}'")
    yield at.line("writing", at.usage.bucket_thousand_writes, "s3_write_thousand")
    yield at.line("reading", at.usage.bucket_thousand_reads, "s3_read_thousand")
    if "ReplicationConfiguration" in at.resource.properties:
        yield at.line("copying to the other region", at.usage.bucket_new_gb, "cross_region_gb")


def _transitions(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(rule.get("Transitions") or []), *([rule["Transition"]] if rule.get("Transition") else [])]


def distribution(at: At) -> Found:
    """A CloudFront distribution, above what is free. What an origin on AWS sends to it is free, too."""
    answers_gb = at.usage.requests_per_second * SECONDS_PER_MONTH * at.usage.kilobytes_per_answer / KILOBYTES_PER_GB
    requests = at.usage.cdn_million_requests + at.usage.requests_per_second * SECONDS_PER_MONTH / 1e6
    dear_gb = max(0.0, at.usage.cdn_gb + answers_gb - CDN_FREE_GB)
    yield at.line(f"data to viewers, above {CDN_FREE_GB:,} GB that are free", dear_gb, "cloudfront_gb")
    dear = max(0.0, requests - CDN_FREE_MILLION_REQUESTS) * 100
    yield at.line(f"requests, above {CDN_FREE_MILLION_REQUESTS} million that are free", dear, "cloudfront_ten_thousand")


def firewall(at: At) -> Found:
    """A web ACL with its rules, by what it looks at."""
    million = at.usage.requests_per_second * SECONDS_PER_MONTH / 1e6
    if at.get("Scope") == "CLOUDFRONT":
        million += at.usage.cdn_million_requests
    yield at.line("web ACL", 1, "waf_acl_month")
    yield at.line("rules", len(at.resource.properties.get("Rules") or []), "waf_rule_month")
    yield at.line("requests", million, "waf_million")


def hosted_zone(at: At) -> Found:
    """A zone of Route 53."""
    yield at.line("zone", 1, "hosted_zone_month")


def health_check(at: At) -> Found:
    """A health check of Route 53."""
    yield at.line("health check", 1, "health_check_month")


# --- keys, secrets, queues, images


def key(at: At) -> Found:
    """A key, or its replica in another region."""
    yield at.line("key", 1, "kms_key_month")
    yield at.line("requests", at.usage.key_ten_thousand_requests, "kms_ten_thousand")


def secret(at: At) -> Found:
    """A secret, and one more for each region that it is copied to."""
    yield at.line("secret", 1 + len(at.resource.properties.get("ReplicaRegions") or []), "secret_month")
    yield at.line("requests", at.usage.secret_ten_thousand_requests, "secret_ten_thousand")


def table(at: At) -> Found:
    """A table of DynamoDB that is paid by the request."""
    if at.get("BillingMode") == "PAY_PER_REQUEST":
        yield Free("its few requests a month cost less than a cent")
    else:
        yield Unpriced("no figure for the capacity of a table")


def queue(at: At) -> Found:
    """A queue; one for dead letters has no requests while nothing fails."""
    if _takes_dead_letters(at):
        yield Free("no requests while nothing fails")
        return
    figure = "sqs_fifo_million" if at.says("FifoQueue") else "sqs_million"
    yield at.line("requests", at.usage.queue_million_requests, figure)


def _takes_dead_letters(at: At) -> bool:
    redrives = [other.properties.get("RedrivePolicy") for other in at.template.of_type(at.resource.type)]
    targets = [policy.get("deadLetterTargetArn") for policy in redrives if isinstance(policy, dict)]
    targets += [
        (planned.properties.get("Target", {}).get("DeadLetterConfig") or {}).get("Arn")
        for planned in at.template.of_type("AWS::Scheduler::Schedule")
    ]
    return any(at.template.target(target) == at.resource for target in targets)


def topic(at: At) -> Found:
    """A topic."""
    yield at.line("messages", at.usage.topic_million_messages, "sns_million")


def repository(at: At) -> Found:
    """A repository of images."""
    yield at.line("images", at.usage.image_gb, "ecr_gb_month")


def function(at: At) -> Found:
    """A function of Lambda."""
    runs = at.usage.function_million_runs
    gb = float(at.get("MemorySize", 128)) / 1024
    yield at.line("runs", runs, "lambda_million")
    yield at.line("running", runs * 1e6 * at.usage.function_seconds * gb, "lambda_gb_second")


# --- watching


def log_group(at: At) -> Found:
    """A log group; what flow logs write is charged with them."""
    flows = at.template.of_type("AWS::EC2::FlowLog")
    written = any(at.template.target(flow.properties.get("LogGroupName")) == at.resource for flow in flows)
    gb = at.usage.flow_log_gb if written else at.usage.log_gb
    if not written:
        yield at.line("writing", gb, "log_ingest_gb")
    days = at.get("RetentionInDays")
    if days is None:
        yield Unpriced("logs are kept for ever: RetentionInDays is not set")
    else:
        yield at.line("keeping", gb * float(days) / DAYS_PER_MONTH * LOGS_COMPRESS_TO, "log_stored_gb_month")


def alarm(at: At) -> Found:
    """An alarm, by the metrics that it looks at."""
    if "ThresholdMetricId" in at.resource.properties:
        yield at.line("anomaly", 1, "anomaly_alarm_month")
    else:
        metrics = [item for item in at.resource.properties.get("Metrics") or [] if "MetricStat" in item]
        yield at.line("metrics", max(1, len(metrics)), "alarm_month")


def composite_alarm(at: At) -> Found:
    """An alarm about alarms."""
    yield at.line("alarm", 1, "composite_alarm_month")


def dashboard(at: At) -> Found:
    """A dashboard."""
    yield at.line("dashboard", 1, "dashboard_month")


def metric_filter(at: At) -> Found:
    """The metrics that a filter makes of logs."""
    yield at.line("metrics", len(at.resource.properties.get("MetricTransformations") or []), "metric_month")


def scaling_policy(at: At) -> Found:
    """A policy is free, but for the alarms of target tracking."""
    if at.get("PolicyType") == "TargetTrackingScaling":
        yield at.line("its alarms", TRACKING_ALARMS, "alarm_month")
    else:
        yield Free("a schedule or a step")


# --- backups


def backup_plan(at: At) -> Found:
    """The database's recovery points of each rule of a plan, and their copies."""
    plan = at.resource.properties.get("BackupPlan") or {}
    databases = [
        _allocated_gb(dataclasses.replace(at, template=template), instance)
        for template in at.templates
        for instance in template.of_type("AWS::RDS::DBInstance")
        if "SourceDBInstanceIdentifier" not in instance.properties
    ]
    size = sum(databases)
    for rule in at.template.known(plan.get("BackupPlanRule") or []):
        runs = len(_backup_times(str(rule.get("ScheduleExpression", "rate(1 day)"))))
        yield from _recovery_points(at, rule, rule.get("Lifecycle") or {}, runs, size)
    yield Unpriced("recovery points of buckets: a selection names them only when its stack exists")


def _recovery_points(at: At, rule: Mapping[str, Any], lifecycle: Mapping[str, Any], runs: int, size: float) -> Found:
    days = lifecycle.get("DeleteAfterDays")
    if days is None:
        yield Unpriced(f"the rule '{rule['RuleName']}' keeps recovery points for ever")
        return
    changed = size * at.usage.database_change_per_day
    gb = size + float(days) * changed if runs else 0.0
    yield at.line(f"database, {rule['RuleName']}", gb, "backup_rds_gb_month")
    for copy in rule.get("CopyActions") or []:
        kept = float((copy.get("Lifecycle") or {}).get("DeleteAfterDays", days))
        away = _other_vault_region(at)
        yield at.line(f"copies of {rule['RuleName']}", size + kept * changed, "backup_rds_gb_month", region=away)
        yield at.line(f"copying {rule['RuleName']}", DAYS_PER_MONTH * changed, "cross_region_gb")


def _other_vault_region(at: At) -> str:
    """Return the region of the vault that copies go to: of the one that is not here."""
    vaults = (template for template in at.templates if any(template.of_type("AWS::Backup::BackupVault")))
    here = at.template.region
    return next((template.region for template in vaults if template.region != here), here)


def _backup_times(expression: str) -> list[int]:
    """A rule of a day of the month keeps recovery points as well, though no week tells when."""
    try:
        return schedule.times(expression)
    except schedule.ScheduleError:
        return [0]


def _free(reason: str) -> Pricer:
    def pricer(at: At) -> Found:
        yield Free(reason)

    return pricer


def _unpriced(reason: str) -> Pricer:
    def pricer(at: At) -> Found:
        yield Unpriced(reason)

    return pricer


PRICED: dict[str, Pricer] = {
    "AWS::EC2::NatGateway": nat_gateway,
    "AWS::EC2::VPCEndpoint": endpoint,
    "AWS::EC2::EIP": address,
    "AWS::EC2::FlowLog": flow_log,
    "AWS::RDS::DBInstance": database_instance,
    "AWS::RDS::DBProxy": database_proxy,
    "AWS::ElastiCache::ReplicationGroup": cache_group,
    "AWS::ECS::Service": compute.service,
    "AWS::ECS::Cluster": compute.container_cluster,
    "AWS::Scheduler::Schedule": compute.scheduled,
    "AWS::AutoScaling::AutoScalingGroup": compute.instance_group,
    "AWS::EKS::Cluster": compute.kubernetes_cluster,
    "AWS::EKS::Nodegroup": compute.node_group,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": balancer,
    "AWS::S3::Bucket": bucket,
    "AWS::CloudFront::Distribution": distribution,
    "AWS::WAFv2::WebACL": firewall,
    "AWS::Route53::HostedZone": hosted_zone,
    "AWS::Route53::HealthCheck": health_check,
    "AWS::KMS::Key": key,
    "AWS::KMS::ReplicaKey": key,
    "AWS::SecretsManager::Secret": secret,
    "AWS::SQS::Queue": queue,
    "AWS::DynamoDB::Table": table,
    "AWS::SNS::Topic": topic,
    "AWS::ECR::Repository": repository,
    "AWS::Lambda::Function": function,
    "AWS::Logs::LogGroup": log_group,
    "AWS::Logs::MetricFilter": metric_filter,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::CloudWatch::CompositeAlarm": composite_alarm,
    "AWS::CloudWatch::Dashboard": dashboard,
    "AWS::ApplicationAutoScaling::ScalingPolicy": scaling_policy,
    "AWS::AutoScaling::ScalingPolicy": scaling_policy,
    "AWS::Backup::BackupPlan": backup_plan,
    "AWS::Backup::RestoreTestingPlan": _unpriced("what is restored is billed for as long as the test keeps it"),
}

# Types that cost nothing, by why.
FREE_OF_CHARGE = {
    "a part of the network": (
        "EC2::VPC EC2::Subnet EC2::RouteTable EC2::Route EC2::SubnetRouteTableAssociation EC2::InternetGateway"
        " EC2::VPCGatewayAttachment EC2::SecurityGroup EC2::SecurityGroupIngress EC2::SecurityGroupEgress"
        " EC2::NetworkAcl EC2::NetworkAclEntry EC2::SubnetNetworkAclAssociation EC2::VPCCidrBlock EC2::DHCPOptions"
        " EC2::VPCDHCPOptionsAssociation EC2::PrefixList"
    ),
    "permissions": (
        "IAM::Role IAM::Policy IAM::ManagedPolicy IAM::InstanceProfile IAM::OIDCProvider IAM::ServiceLinkedRole"
        " S3::BucketPolicy SQS::QueuePolicy SNS::TopicPolicy Lambda::Permission SecretsManager::ResourcePolicy"
        " Logs::ResourcePolicy ECR::RegistryPolicy EKS::AccessEntry EKS::PodIdentityAssociation"
    ),
    "configuration of what is charged": (
        "RDS::DBSubnetGroup RDS::DBParameterGroup RDS::OptionGroup RDS::DBProxyTargetGroup RDS::DBProxyEndpoint"
        " ElastiCache::SubnetGroup ElastiCache::ParameterGroup ElastiCache::User ElastiCache::UserGroup"
        " ECS::TaskDefinition ECS::ClusterCapacityProviderAssociations ECS::CapacityProvider EC2::LaunchTemplate"
        " ElasticLoadBalancingV2::Listener ElasticLoadBalancingV2::ListenerRule ElasticLoadBalancingV2::TargetGroup"
        " ElasticLoadBalancingV2::ListenerCertificate ApplicationAutoScaling::ScalableTarget"
        " AutoScaling::ScheduledAction AutoScaling::LifecycleHook KMS::Alias Scheduler::ScheduleGroup"
        " CloudFront::OriginAccessControl CloudFront::CachePolicy CloudFront::ResponseHeadersPolicy"
        " CloudFront::OriginRequestPolicy CloudFront::Function WAFv2::WebACLAssociation WAFv2::LoggingConfiguration"
        " WAFv2::IPSet ECR::ReplicationConfiguration ECR::PullThroughCacheRule ECR::RegistryScanningConfiguration"
        " ECR::RepositoryCreationTemplate EKS::Addon SNS::Subscription Backup::BackupVault Backup::BackupSelection"
        " Backup::RestoreTestingSelection CloudWatch::InsightRule Logs::QueryDefinition Logs::LogStream"
        " SecretsManager::SecretTargetAttachment RDS::EventSubscription"
    ),
    "AWS does not charge for it": (
        "CertificateManager::Certificate Budgets::Budget CE::AnomalyMonitor CE::AnomalySubscription SSM::Parameter"
        " Route53::RecordSet Route53::RecordSetGroup Events::Rule CloudFormation::WaitConditionHandle"
        " CloudFormation::WaitCondition"
    ),
    "its few runs a month cost less than a cent": "SecretsManager::RotationSchedule",
}

PRICERS: dict[str, Pricer] = {
    **{f"AWS::{kind}": _free(reason) for reason, kinds in FREE_OF_CHARGE.items() for kind in kinds.split()},
    **PRICED,
}
