"""What a restored database lacks of its source. Pure.

A restoration always builds a new instance, and AWS gives it default security and parameter groups, one zone, no
monitoring and its own retention. All of that is put back before it counts as recovered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError

Read = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Setting:
    """How ModifyDBInstance calls a setting, how it is read off an instance, and how a restoration calls it, if it may.

    `written` is how ModifyDBInstance takes the value.
    """

    modified: str
    read: Read
    restored: str = ""
    written: Callable[[Any], Any] = lambda value: value


def _plain(key: str, default: Any = None, restored: str = "", modified: str = "") -> Setting:
    return Setting(modified or key, lambda instance: instance.get(key, default), restored)


def _secret(instance: Mapping[str, Any]) -> Mapping[str, Any]:
    return instance.get("MasterUserSecret") or {}


SETTINGS: dict[str, Setting] = {
    "instance_class": _plain("DBInstanceClass", restored="DBInstanceClass"),
    "multi_az": _plain("MultiAZ", False, restored="MultiAZ"),
    "security_groups": Setting(
        "VpcSecurityGroupIds",
        lambda instance: sorted(group["VpcSecurityGroupId"] for group in instance.get("VpcSecurityGroups", [])),
        "VpcSecurityGroupIds",
    ),
    "parameter_group": Setting(
        "DBParameterGroupName",
        lambda instance: next((g["DBParameterGroupName"] for g in instance.get("DBParameterGroups", [])), None),
        "DBParameterGroupName",
    ),
    "storage_type": _plain("StorageType", restored="StorageType"),
    "maximum_storage_gb": _plain("MaxAllocatedStorage", restored="MaxAllocatedStorage"),
    "deletion_protection": _plain("DeletionProtection", False, restored="DeletionProtection"),
    "copy_tags_to_snapshot": _plain("CopyTagsToSnapshot", False, restored="CopyTagsToSnapshot"),
    "iam_authentication": _plain(
        "IAMDatabaseAuthenticationEnabled",
        False,
        restored="EnableIAMDatabaseAuthentication",
        modified="EnableIAMDatabaseAuthentication",
    ),
    "certificate_authority": _plain("CACertificateIdentifier", restored="CACertificateIdentifier"),
    "log_exports": Setting(
        "CloudwatchLogsExportConfiguration",
        lambda instance: sorted(instance.get("EnabledCloudwatchLogsExports", [])),
        "EnableCloudwatchLogsExports",
        lambda types: {"EnableLogTypes": types},
    ),
    "backup_retention_days": _plain("BackupRetentionPeriod", 0),
    "backup_window": _plain("PreferredBackupWindow"),
    "maintenance_window": _plain("PreferredMaintenanceWindow"),
    "performance_insights": _plain("PerformanceInsightsEnabled", False, modified="EnablePerformanceInsights"),
    "performance_insights_key": _plain("PerformanceInsightsKMSKeyId"),
    "monitoring_interval_seconds": _plain("MonitoringInterval", 0),
    "monitoring_role": _plain("MonitoringRoleArn"),
    # A restored instance has the password of its source, and nobody replaces it.
    "managed_password": Setting("ManageMasterUserPassword", lambda instance: bool(_secret(instance))),
    "managed_password_key": Setting("MasterUserSecretKmsKeyId", lambda instance: _secret(instance).get("KmsKeyId")),
}
LISTS = ("security_groups", "log_exports")


def settings(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an instance, in our words."""
    return {name: setting.read(instance) for name, setting in SETTINGS.items()}


def wished(source: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the restored instance has to have: what is given, or else what its source has.

    Without a source in this region, everything that AWS would otherwise set to a default has to be given. Raises
    RequestError.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    chosen |= {name: sorted(chosen[name]) for name in LISTS if name in chosen}
    if source is not None:
        found = {name: value for name, value in settings(source).items() if value is not None}
        if chosen.get("managed_password") is False:
            found.pop("managed_password_key", None)
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
    return {SETTINGS[name].modified: SETTINGS[name].written(value) for name, value in different.items()}


def restoration(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that a restoration takes, in its words."""
    return {SETTINGS[name].restored: value for name, value in wanted.items() if SETTINGS[name].restored}


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
