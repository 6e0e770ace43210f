"""AWS Backup where MiniStack only counts: a backup of a database is a snapshot, and a copy is one in another vault."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ministack.core.responses import AccountRegionScopedDict, get_account_id, request_scope
from ministack.services import backup, rds

from rehearsal.aws import databases, served

Record = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
DAY_SECONDS = 86400

# By the ARN of the recovery point, which is that of the snapshot; by the id of the job.
points = AccountRegionScopedDict()
copies = AccountRegionScopedDict()
NATIVE_START, NATIVE_REQUEST, NATIVE_TAGS = backup._start_job, backup.handle_request, backup._list_tags


def start_job(asked: Mapping[str, Any]) -> Answer:
    """Back a database up, and end at once."""
    answer: Answer = NATIVE_START(asked)
    resource = asked["ResourceArn"]
    if answer[0] >= 400 or not resource.startswith("arn:aws:rds:"):
        return answer
    if (name := resource.split(":")[6]) not in rds._instances:
        return _refused("InvalidParameterValueException", f"Resource {resource} was not found")
    instance = rds._instances[name]
    job = json.loads(answer[2])["BackupJobId"]
    vault = backup._vaults[asked["BackupVaultName"]]
    snapshot = rds._create_snapshot_internal(f"awsbackup:job-{job}", instance)
    tags = [{"Key": key, "Value": value} for key, value in (asked.get("RecoveryPointTags") or {}).items()]
    snapshot |= {"SnapshotType": "awsbackup", "TagList": tags, "KmsKeyId": vault.get("EncryptionKeyArn", "")}
    served.save(instance, snapshot)
    size = instance["AllocatedStorage"] * 2**30
    point = _point(snapshot, vault, resource, size, asked.get("Lifecycle") or {})
    backup._jobs[job] |= {
        "RecoveryPointArn": point["RecoveryPointArn"],
        "BackupSizeInBytes": size,
        "ResourceType": "RDS",
    }
    return _ok({"BackupJobId": job, "CreationDate": _now(), "IsParent": False})


def _point(snapshot: Record, vault: Record, resource: str, size: int, lifecycle: Mapping[str, int]) -> Record:
    arn = snapshot["DBSnapshotArn"]
    now = _now()
    found = {
        "RecoveryPointArn": arn,
        "BackupVaultName": vault["BackupVaultName"],
        "BackupVaultArn": vault["BackupVaultArn"],
        "ResourceArn": resource,
        "ResourceType": "RDS",
        "Status": "COMPLETED",
        "CreationDate": now,
        "CompletionDate": now,
        "BackupSizeInBytes": size,
        "Lifecycle": dict(lifecycle),
        "EncryptionKeyArn": snapshot["KmsKeyId"],
        "IsEncrypted": bool(snapshot["KmsKeyId"]),
        **(
            {"CalculatedLifecycle": {"DeleteAt": now + lifecycle["DeleteAfterDays"] * DAY_SECONDS}}
            if "DeleteAfterDays" in lifecycle
            else {}
        ),
    }
    points[arn] = found
    return found


def start_copy(asked: Mapping[str, Any]) -> Answer:
    """Copy a recovery point to a vault of another region, under that vault's key, and end at once."""
    point = points.get(asked["RecoveryPointArn"])
    if point is None or point["BackupVaultName"] != asked["SourceBackupVaultName"]:
        return _refused("ResourceNotFoundException", f"Recovery point {asked['RecoveryPointArn']} was not found")
    _, _, _, region, account, _, vault_name = asked["DestinationBackupVaultArn"].split(":")
    job = str(uuid.uuid4()).upper()
    with request_scope(account, region):
        if (vault := backup._vaults.get(vault_name)) is None:
            return _refused("ResourceNotFoundException", f"Backup vault {vault_name} was not found")
        snapshot = databases.copied(asked["RecoveryPointArn"], f"awsbackup:copyjob-{job.lower()}")
        snapshot["KmsKeyId"] = vault.get("EncryptionKeyArn", "")
        copy = _point(snapshot, vault, point["ResourceArn"], point["BackupSizeInBytes"], asked.get("Lifecycle") or {})
    copies[job] = {
        "AccountId": get_account_id(),
        "CopyJobId": job,
        "SourceRecoveryPointArn": point["RecoveryPointArn"],
        "DestinationBackupVaultArn": asked["DestinationBackupVaultArn"],
        "DestinationRecoveryPointArn": copy["RecoveryPointArn"],
        "State": "COMPLETED",
        "ResourceArn": point["ResourceArn"],
        "CreationDate": _now(),
        "CompletionDate": _now(),
    }
    return _ok({"CopyJobId": job, "CreationDate": _now(), "IsParent": False})


def listed(vault_name: str, query: Mapping[str, str]) -> Answer:
    """List the recovery points of a vault."""
    if vault_name not in backup._vaults:
        return _refused("ResourceNotFoundException", f"Backup vault {vault_name} was not found")
    of = query.get("resourceArn", "")
    found = [one for one in points.values() if one["BackupVaultName"] == vault_name and of in ("", one["ResourceArn"])]
    answer: Answer = backup._paginate(found, query, "RecoveryPoints")
    return answer


async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Answer:
    """Answer what MiniStack has no route for, and leave the rest to it."""
    if method == "PUT" and path.strip("/") == "copy-jobs":
        return start_copy(json.loads(body))
    answer: Answer = await NATIVE_REQUEST(method, unquote(path), headers, body, query)
    return answer


def tagged(arn: str) -> Answer:
    """List the tags of something of AWS Backup; a recovery point has those of its snapshot."""
    if arn not in points:
        answer: Answer = NATIVE_TAGS(arn)
        return answer
    snapshot = rds._snapshots[arn.split(":", 6)[6]]
    return _ok({"Tags": {tag["Key"]: tag["Value"] for tag in snapshot["TagList"]}})


def describe_copy(job: str) -> Answer:
    """Describe a copy job."""
    if (found := copies.get(job)) is None:
        return _refused("ResourceNotFoundException", f"Copy job {job} was not found")
    return _ok({"CopyJob": found})


def register() -> None:
    """Teach MiniStack."""
    backup._start_job, backup._describe_copy_job = start_job, describe_copy
    backup._list_tags = tagged
    backup._list_recovery_points_by_vault, backup.handle_request = listed, handle_request


def _now() -> int:
    return int(time.time())


def _ok(body: Mapping[str, Any]) -> Answer:
    answer: Answer = backup._ok(body)
    return answer


def _refused(code: str, message: str) -> Answer:
    answer: Answer = backup._err(code, message)
    return answer
