"""What a restored database lacks, and when it can be restored to. Pure.

A restoration always builds a new instance, and AWS gives it default security and parameter groups, one zone, no
monitoring and its own retention. All of that is put back before it counts as recovered.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError

LATEST = "latest"
# The tags of what was restored: of which instance, and to which moment.
SOURCE_TAG, TIME_TAG = "restored-from", "restored-to"

Read = Callable[[Mapping[str, Any]], Any]


def _plain(key: str, default: Any) -> Read:
    return lambda instance: instance.get(key, default)


# Setting → how ModifyDBInstance calls it, how it is read off an instance, and whether the restoration itself takes it.
SETTINGS: dict[str, tuple[str, Read, bool]] = {
    "instance_class": ("DBInstanceClass", _plain("DBInstanceClass", None), True),
    "multi_az": ("MultiAZ", _plain("MultiAZ", False), True),
    "security_groups": (
        "VpcSecurityGroupIds",
        lambda instance: sorted(group["VpcSecurityGroupId"] for group in instance.get("VpcSecurityGroups", [])),
        True,
    ),
    "parameter_group": (
        "DBParameterGroupName",
        lambda instance: next((g["DBParameterGroupName"] for g in instance.get("DBParameterGroups", [])), None),
        True,
    ),
    "storage_type": ("StorageType", _plain("StorageType", None), True),
    "deletion_protection": ("DeletionProtection", _plain("DeletionProtection", False), True),
    "copy_tags_to_snapshot": ("CopyTagsToSnapshot", _plain("CopyTagsToSnapshot", False), True),
    "iam_authentication": (
        "EnableIAMDatabaseAuthentication",
        _plain("IAMDatabaseAuthenticationEnabled", False),
        True,
    ),
    "backup_retention_days": ("BackupRetentionPeriod", _plain("BackupRetentionPeriod", 0), False),
    "performance_insights": ("EnablePerformanceInsights", _plain("PerformanceInsightsEnabled", False), False),
    "monitoring_interval_seconds": ("MonitoringInterval", _plain("MonitoringInterval", 0), False),
    "monitoring_role": ("MonitoringRoleArn", _plain("MonitoringRoleArn", None), False),
}


def settings(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an instance, in our words."""
    return {name: read(instance) for name, (_, read, _) in SETTINGS.items()}


def wished(source: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the restored instance has to have: what is given, or else what its source has.

    Without a source in this region, everything that AWS would otherwise set to a default has to be given. Raises
    RequestError.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if "security_groups" in chosen:
        chosen["security_groups"] = sorted(chosen["security_groups"])
    if source is not None:
        found = {name: value for name, value in settings(source).items() if value is not None}
        return {**found, **chosen}
    if missing := [name for name in ("multi_az", "security_groups", "parameter_group") if name not in chosen]:
        raise RequestError(
            f"There is no source in this region to take {', '.join(missing)} from: give them in `settings`, or the"
            " restored instance would be open to whatever the defaults allow."
        )
    return chosen


def differences(wanted: Mapping[str, Any], instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted settings that an instance does not have yet."""
    now = settings(instance)
    return {name: value for name, value in wanted.items() if now[name] != value}


def modification(different: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the words of ModifyDBInstance."""
    return {SETTINGS[name][0]: value for name, value in different.items()}


def restoration(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that RestoreDBInstanceToPointInTime takes, in its words."""
    return {SETTINGS[name][0]: value for name, value in wanted.items() if SETTINGS[name][2]}


def moment(text: str) -> datetime.datetime | None:
    """Read a time with its zone; None is the latest. Raises RequestError."""
    if text == LATEST:
        return None
    try:
        return moments.read(text)
    except ValueError as error:
        raise RequestError(f"time: {error} '{LATEST}' is a time, too.") from error


def check_window(
    wanted: datetime.datetime | None, earliest: datetime.datetime | None, latest: datetime.datetime | None, source: str
) -> datetime.datetime:
    """Return the moment that is restored to. Raises RequestError for a time that there is no backup of."""
    if latest is None:
        raise RequestError(
            f"'{source}' has no backup to restore from: its backup retention is 0, or the first one runs."
        )
    if wanted is not None and (wanted > latest or (earliest is not None and wanted < earliest)):
        begin = f"{earliest:%Y-%m-%dT%H:%M:%SZ}" if earliest else "its oldest backup"
        raise RequestError(
            f"'{source}' cannot be restored to {wanted:%Y-%m-%dT%H:%M:%SZ}: choose a time from {begin} to"
            f" {latest:%Y-%m-%dT%H:%M:%SZ}, or '{LATEST}'."
        )
    return wanted or latest


def pending(instance: Mapping[str, Any]) -> str | None:
    """Say what an instance is still doing; None when everything is as it was asked for."""
    if (status := instance["DBInstanceStatus"]) != "available":
        return str(status)
    if instance.get("PendingModifiedValues"):
        return f"changing {', '.join(sorted(instance['PendingModifiedValues']))}"
    for group in instance.get("DBParameterGroups", []):
        if group.get("ParameterApplyStatus", "in-sync") == "applying":
            return "applying its parameters"
    for group in instance.get("VpcSecurityGroups", []):
        if group.get("Status", "active") != "active":
            return "changing its security groups"
    return None


def needs_reboot(instance: Mapping[str, Any]) -> bool:
    """Say whether its parameters wait for a reboot."""
    return any(group.get("ParameterApplyStatus") == "pending-reboot" for group in instance.get("DBParameterGroups", []))
