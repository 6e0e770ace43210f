"""RDS as AWS has it where moto has it otherwise: promotions, restorations, and backups in another region."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

# What a restored instance has of its source. All else that it is not given is AWS's default: one zone, the default
# security and parameter groups, one day of backups, no monitoring.
INHERITED = (
    "engine",
    "engine_version",
    "db_instance_class",
    "allocated_storage",
    "storage_encrypted",
    "kms_key_id",
    "db_name",
    "master_username",
    "port",
)
NATIVE_PROMOTE = RDSBackend.promote_read_replica
NATIVE_BACKUPS = RDSBackend.describe_db_instance_automated_backups
# The instances whose backups a region has, by account, region and the ARN of the backups.
replicated: dict[tuple[str, str], dict[str, Any]] = {}


def promote(self: Any, db_kwargs: dict[str, Any]) -> Any:
    """Promote, and forget the source: moto goes on naming it, and whoever waits for the promotion waits for ever."""
    instance = NATIVE_PROMOTE(self, db_kwargs)
    instance.source_db_instance_identifier = None
    return instance


def restore(
    self: Any, source_db_identifier: str | None, target_db_identifier: str, overrides: Mapping[str, Any]
) -> Any:
    """Build a new instance from the backups that are here; moto would copy all that its source has."""
    given = dict(overrides)
    given.pop("source_db_instance_identifier", None)
    arn = given.pop("source_db_instance_automated_backups_arn", None)
    if arn:
        source = replicated[self.account_id, self.region_name][arn]
    else:
        source = self.describe_db_instances(source_db_identifier)[0]
    inherited = {name: getattr(source, name) for name in INHERITED}
    return self.create_db_instance({**inherited, **given, "db_instance_identifier": target_db_identifier})


def start_replication(self: Any) -> ActionResult:
    """Answer StartDBInstanceAutomatedBackupsReplication, which moto does not know."""
    arn = self.params["SourceDBInstanceArn"]
    _, _, _, region, account, _, name = arn.split(":")
    backups = replicated.setdefault((self.current_account, self.region), {})
    backup_arn = f"arn:aws:rds:{self.region}:{account}:auto-backup:ab-{len(backups):032x}"
    backups[backup_arn] = rds_backends[account][region].databases[name]
    return ActionResult({"DBInstanceAutomatedBackup": described(backup_arn, backups[backup_arn])})


def backups(self: Any, db_instance_identifier: str | None = None, **others: Any) -> list[Any]:
    """List the backups of this region's instances, and those that were replicated to it."""
    native: list[Any] = NATIVE_BACKUPS(self, db_instance_identifier, **others)
    here = replicated.get((self.account_id, self.region_name), {})
    return native + [
        described(arn, instance)
        for arn, instance in here.items()
        if db_instance_identifier in (None, instance.db_instance_identifier)
    ]


def described(arn: str, instance: Any) -> dict[str, Any]:
    """Return replicated backups in AWS's words; `Region` is that of the instance."""
    return {
        "DBInstanceIdentifier": instance.db_instance_identifier,
        "DBInstanceAutomatedBackupsArn": arn,
        "Region": instance.region,
        "Status": "active",
        "RestoreWindow": {"EarliestTime": instance.created, "LatestTime": datetime.now(UTC)},
    }


def mend() -> None:
    """Put moto right."""
    RDSBackend.promote_read_replica = promote
    RDSBackend.restore_db_instance_to_point_in_time = restore
    RDSBackend.describe_db_instance_automated_backups = backups
    RDSResponse.start_db_instance_automated_backups_replication = start_replication
