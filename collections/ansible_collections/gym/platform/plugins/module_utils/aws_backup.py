"""AWS Backup, as far as a backup that somebody asks for needs it: begun, waited for, and copied to another region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import LABEL_TAG

# The tag that says what a backup was made for.
KIND_TAG = "backup-kind"
ENDED = frozenset({"COMPLETED", "FAILED", "ABORTED", "EXPIRED", "PARTIAL"})
# AWS Backup begins a job within this time or gives it up; it takes no less than an hour, and less than it completes in.
START_MINUTES, COMPLETE_MINUTES = 60, 1440


@dataclass(frozen=True)
class Point:
    """A recovery point: of what, its ARN, when it was made, and how many bytes it has."""

    resource: str
    arn: str
    made: str
    size: int

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Point:
        """Read AWS's description of one."""
        made = found["CreationDate"]
        return cls(found["ResourceArn"], found["RecoveryPointArn"], made.isoformat(), found.get("BackupSizeInBytes", 0))


class Vault:
    """A vault of a region. `client` makes a client of a service in a region."""

    def __init__(self, name: str, region: str, client: Callable[[str, str], Any], timeout: float) -> None:
        """Wait for at most `timeout` seconds for a job."""
        self._name, self._timeout = name, timeout
        self._backup = client("backup", region)

    def labelled(self, resource: str, label: str) -> Point | None:
        """Return the newest recovery point of a resource that has been given this name, or None."""
        pages = self._backup.get_paginator("list_recovery_points_by_backup_vault").paginate(
            BackupVaultName=self._name, ByResourceArn=resource
        )
        found = [point for page in pages for point in page["RecoveryPoints"] if point["Status"] == "COMPLETED"]
        for point in sorted(found, key=lambda one: one["CreationDate"], reverse=True):
            if self._backup.list_tags(ResourceArn=point["RecoveryPointArn"])["Tags"].get(LABEL_TAG) == label:
                return Point.of(point)
        return None

    def begin(self, resource: str, role: str, retention_days: int, tags: Mapping[str, str]) -> str:
        """Begin to back a resource up, and return the job."""
        return str(
            self._backup.start_backup_job(
                BackupVaultName=self._name,
                ResourceArn=resource,
                IamRoleArn=role,
                Lifecycle={"DeleteAfterDays": retention_days},
                RecoveryPointTags=dict(tags),
                StartWindowMinutes=START_MINUTES,
                CompleteWindowMinutes=COMPLETE_MINUTES,
            )["BackupJobId"]
        )

    def backed_up(self, job: str) -> Point:
        """Wait for a backup. Raises RequestError when it did not end well."""
        found = wait_until(lambda: self._backup.describe_backup_job(BackupJobId=job), _ended, job, self._timeout)
        _refuse_failed(found, f"The backup of {found['ResourceArn']}")
        return Point.of(found)

    def copy(self, point: Point, vault: str, role: str, retention_days: int) -> str:
        """Begin to copy a recovery point to a vault by its ARN, and return the job."""
        return str(
            self._backup.start_copy_job(
                RecoveryPointArn=point.arn,
                SourceBackupVaultName=self._name,
                DestinationBackupVaultArn=vault,
                IamRoleArn=role,
                Lifecycle={"DeleteAfterDays": retention_days},
            )["CopyJobId"]
        )

    def copied(self, job: str) -> str:
        """Wait for a copy, and return its ARN. Raises RequestError when it did not end well."""
        found = wait_until(lambda: self._backup.describe_copy_job(CopyJobId=job)["CopyJob"], _ended, job, self._timeout)
        _refuse_failed(found, f"The copy of {found['SourceRecoveryPointArn']}")
        return str(found["DestinationRecoveryPointArn"])


def _ended(job: Mapping[str, Any]) -> bool:
    return job["State"] in ENDED


def _refuse_failed(job: Mapping[str, Any], what: str) -> None:
    if job["State"] != "COMPLETED":
        reason = job.get("StatusMessage") or "AWS gives no reason"
        raise RequestError(f"{what} ended as {job['State']}: {reason}.")


def copy_there(resource: str, point_arn: str, label: str, there: Vault) -> str | None:
    """Return the ARN of the copy of a labelled recovery point in another vault, or None."""
    found = there.labelled(resource, label) if label else None
    return found.arn if found and found.arn != point_arn else None
