"""RDS, as far as restoring needs it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, unless, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_restore import (
    differences,
    modification,
    needs_reboot,
    pending,
    restoration,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import (
    LABEL_TAG,
    SOURCE_TAG,
    TIME_TAG,
    Possible,
    Snapshot,
)

# An instance in one of these does not become available by waiting.
HOPELESS = frozenset(
    {
        "failed",
        "restore-error",
        "incompatible-restore",
        "incompatible-parameters",
        "incompatible-network",
        "storage-full",
    }
)


def tags_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that an answer has."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagList", [])}


@dataclass(frozen=True)
class Backups:
    """What an instance can be restored from. `arn` is that of backups which were replicated to another region."""

    earliest: datetime.datetime | None
    latest: datetime.datetime | None
    arn: str | None = None


class Instances:
    """The database instances and snapshots of one region."""

    def __init__(self, client: Any, timeout: float) -> None:
        """Use this RDS client, and wait for at most `timeout` seconds at a time."""
        self._client, self._timeout = client, timeout

    # --- read

    def find(self, name: str) -> dict[str, Any] | None:
        """Return an instance, or None."""
        ask = self._client.describe_db_instances
        found = unless("DBInstanceNotFound", lambda: ask(DBInstanceIdentifier=name))
        return found["DBInstances"][0] if found else None

    def get(self, name: str) -> dict[str, Any]:
        """Return an instance. Raises RequestError when there is none."""
        if found := self.find(name):
            return found
        names = sorted(instance["DBInstanceIdentifier"] for instance in self.every())
        region = self._client.meta.region_name
        raise RequestError(
            f"There is no database instance '{name}' in {region}; there {'are' if names else 'is'}"
            f" {', '.join(names) or 'none'}."
        )

    def every(self) -> list[dict[str, Any]]:
        """Return all instances of the region."""
        pages = self._client.get_paginator("describe_db_instances").paginate()
        return [instance for page in pages for instance in page["DBInstances"]]

    def backups(self, name: str, replicated: bool) -> Backups:
        """Return what an instance can be restored from, here or by what another region has replicated to this one.

        Raises RequestError for an instance, or for replicated backups, that there is not.
        """
        if replicated:
            if found := self.replicated(name):
                return found
            here = self._client.meta.region_name
            raise RequestError(
                f"{here} has no replicated backups of '{name}': replicate them (AutomaticBackupReplicationRegion), or"
                " name the region that has them."
            )
        own = self._backups(name, False)
        latest = (own and own.latest) or self.get(name).get("LatestRestorableTime")
        return Backups(own.earliest if own else None, latest)

    def replicated(self, name: str) -> Backups | None:
        """Return the backups of an instance of another region that were replicated to this one, or None."""
        return self._backups(name, True)

    def _backups(self, name: str, replicated: bool) -> Backups | None:
        here = self._client.meta.region_name
        pages = self._client.get_paginator("describe_db_instance_automated_backups").paginate(DBInstanceIdentifier=name)
        for backup in (backup for page in pages for backup in page["DBInstanceAutomatedBackups"]):
            # `Region` is that of the instance.
            if (backup.get("Region", here) != here) == replicated:
                window = backup.get("RestoreWindow", {})
                arn = backup["DBInstanceAutomatedBackupsArn"] if replicated else None
                return Backups(window.get("EarliestTime"), window.get("LatestTime"), arn)
        return None

    def snapshots(self, instance: str) -> list[Snapshot]:
        """Return the finished snapshots of an instance, the newest last: its own, those of AWS Backup, and copies."""
        found: dict[str, dict[str, Any]] = {}
        # Without a type AWS leaves out those of AWS Backup.
        for kind in ({}, {"SnapshotType": "awsbackup"}):
            pages = self._client.get_paginator("describe_db_snapshots").paginate(DBInstanceIdentifier=instance, **kind)
            found |= {one["DBSnapshotIdentifier"]: one for page in pages for one in page["DBSnapshots"]}
        finished = [one for one in found.values() if one["Status"] == "available"]
        listed = [
            Snapshot(one["DBSnapshotIdentifier"], tags_of(one).get(LABEL_TAG, ""), one["SnapshotCreateTime"])
            for one in finished
        ]
        return sorted(listed, key=lambda snapshot: snapshot.made)

    def possible(self, name: str, replicated: bool = False) -> Possible:
        """Return what an instance can be restored to, here or by what another region has replicated to this one.

        Raises RequestError for an instance, or for replicated backups, that there is not.
        """
        backups = self.backups(name, replicated)
        return Possible(backups.earliest, backups.latest, self.snapshots(name))

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of something."""
        return tags_of(self._client.list_tags_for_resource(ResourceName=arn))

    # --- change

    def restore(
        self,
        source: str,
        target: str,
        restored_to: datetime.datetime | str,
        replicated: str | None,
        wanted: Mapping[str, Any],
        subnet_group: str | None,
    ) -> None:
        """Begin to restore to a moment, perhaps from the backups with the ARN `replicated`, or to a snapshot."""
        text = restored_to if isinstance(restored_to, str) else moments.show(restored_to)
        common = {
            "PubliclyAccessible": False,
            "Tags": [{"Key": SOURCE_TAG, "Value": source}, {"Key": TIME_TAG, "Value": text}],
            **({"DBSubnetGroupName": subnet_group} if subnet_group else {}),
            **restoration(wanted),
        }
        if isinstance(restored_to, str):
            kept = self.known("RestoreDBInstanceFromDBSnapshot", common)
            self._client.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=target, DBSnapshotIdentifier=restored_to, **kept
            )
            return
        origin = {"SourceDBInstanceAutomatedBackupsArn": replicated} if replicated else {}
        self._client.restore_db_instance_to_point_in_time(
            TargetDBInstanceIdentifier=target,
            RestoreTime=restored_to,
            **(origin or {"SourceDBInstanceIdentifier": source}),
            **self.known("RestoreDBInstanceToPointInTime", common),
        )

    def known(self, operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an operation takes; the others of its kind take more, and the rest is put back afterwards."""
        members = self._client.meta.service_model.operation_model(operation).input_shape.members
        return {key: value for key, value in given.items() if key in members and value is not None}

    def settle(self, name: str) -> dict[str, Any]:
        """Wait until an instance has done everything that it was asked for, and return it. Raises RequestError."""

        def ended(instance: Mapping[str, Any]) -> bool:
            if (status := instance["DBInstanceStatus"]) in HOPELESS:
                raise RequestError(f"'{name}' ended as '{status}': see its events (aws rds describe-events).")
            return pending(instance) is None

        return wait_until(lambda: self.get(name), ended, f"'{name}'", self._timeout)

    def put_back(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Give an available instance the wanted settings, restart it where its parameters need that, and wait."""
        instance = self.settle(name)
        if different := differences(wanted, instance):
            self._client.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, **modification(different))
            instance = wait_until(
                lambda: self.settle(name),
                lambda found: not differences(wanted, found),
                f"changing {', '.join(different)} of '{name}'",
                self._timeout,
            )
        if needs_reboot(instance):
            self._client.reboot_db_instance(DBInstanceIdentifier=name)
            instance = wait_until(
                lambda: self.settle(name), lambda found: not needs_reboot(found), f"restarting '{name}'", self._timeout
            )
        return instance


class Clock:
    """Seconds since it was started, to be written down."""

    def __init__(self) -> None:
        """Start."""
        self._begun = time.monotonic()

    def seconds(self) -> float:
        """Return how long ago that was."""
        return round(time.monotonic() - self._begun, 3)
