"""RDS where MiniStack has none of it: restorations, backups in another region, copies, new names.

A restored instance has AWS's defaults for all that it is not given. An instance that is served has a PostgreSQL of its
own, and so has what is restored from it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import rds

from rehearsal.aws import served
from rehearsal.aws.postgresql import EngineError
from rehearsal.aws.resource_types import Handlers

Record = dict[str, Any]
Parameters = Mapping[str, Any]
Answer = tuple[int, dict[str, str], bytes]

# What a restored instance has of its source. All else that it is not given is AWS's default: one zone, the default
# security and parameter groups, one day of backups, no monitoring.
INHERITED = ("Engine", "EngineVersion", "DBInstanceClass", "AllocatedStorage", "DBName", "MasterUsername")
ENCRYPTION = ("StorageEncrypted", "KmsKeyId")
NATIVE, NATIVE_SNAPSHOT, NATIVE_INSTANCE = dict(rds._ACTION_MAP), rds._snapshot_xml, rds._instance_xml
LOGS = "EnabledCloudwatchLogsExports"
# How many operations a second a disk of PostgreSQL on gp3 does without being asked for more, by its GiB: from AWS's
# guide to RDS, "Storage types".
SMALL_GP3_IOPS, LARGE_GP3_IOPS, LARGE_GP3_GIB = 3000, 12000, 400

# By account and region: the backups of instances of other regions, by their ARN.
replicated: dict[tuple[str, str], dict[str, Record]] = {}


class RefusedError(Exception):
    """What AWS would not do; the arguments are its code, its message and the status."""


# --- backups: what can be restored from, here and in another region


def automated(instance: Record, region: str, arn: str = "") -> dict[str, Any]:
    """Return the automated backups of an instance in AWS's words; `Region` is that of the instance."""
    latest = instance.get("_LatestTime") or datetime.now(UTC)
    return {
        "DBInstanceArn": instance["DBInstanceArn"],
        "DbiResourceId": instance["DbiResourceId"],
        "Region": region,
        "DBInstanceIdentifier": instance["DBInstanceIdentifier"],
        "RestoreWindow": {"EarliestTime": instance["InstanceCreateTime"], "LatestTime": latest.isoformat()},
        "Status": "active",
        "Encrypted": instance.get("StorageEncrypted", False),
        "BackupRetentionPeriod": instance["BackupRetentionPeriod"],
        "KmsKeyId": instance.get("_ReplicatedKey", "") if arn else instance.get("KmsKeyId", ""),
        **({"DBInstanceAutomatedBackupsArn": arn} if arn else {}),
    }


def describe_backups(p: Parameters) -> Answer:
    """List the backups of this region's instances, and those that were replicated to it."""
    name, asked = rds._p(p, "DBInstanceIdentifier"), rds._p(p, "DBInstanceAutomatedBackupsArn")
    own = [automated(one, get_region()) for one in rds._instances.values() if one.get("BackupRetentionPeriod")]
    others = [automated(one, _region(one), arn) for arn, one in _replicated().items()]
    found = [
        one
        for one in own + others
        if name in ("", one["DBInstanceIdentifier"]) and asked in ("", one.get("DBInstanceAutomatedBackupsArn"))
    ]
    listed = "".join(f"<DBInstanceAutomatedBackup>{_xml(one)}</DBInstanceAutomatedBackup>" for one in found)
    return _answer(
        "DescribeDBInstanceAutomatedBackups", f"<DBInstanceAutomatedBackups>{listed}</DBInstanceAutomatedBackups>"
    )


def replicate(instance: Record, region: str, key: str) -> str:
    """Have an instance's backups in another region as well, under a key of it, and return their ARN there."""
    instance["_ReplicatedKey"] = key
    account = get_account_id()
    there = replicated.setdefault((account, region), {})
    for arn, one in there.items():
        if one["DbiResourceId"] == instance["DbiResourceId"]:
            return arn
    arn = f"arn:aws:rds:{region}:{account}:auto-backup:ab-{instance['DbiResourceId'].lower()}"
    there[arn] = instance
    return arn


def start_replication(p: Parameters) -> Answer:
    """Answer StartDBInstanceAutomatedBackupsReplication, which is asked for in the other region."""
    instance = _by_arn(rds._p(p, "SourceDBInstanceArn"))
    if not rds._p(p, "KmsKeyId") and instance.get("StorageEncrypted"):
        raise RefusedError("InvalidParameterValue", "KmsKeyId is required for an encrypted DB instance", 400)
    arn = replicate(instance, get_region(), rds._p(p, "KmsKeyId"))
    found = _xml(automated(instance, _region(instance), arn))
    return _answer(
        "StartDBInstanceAutomatedBackupsReplication", f"<DBInstanceAutomatedBackup>{found}</DBInstanceAutomatedBackup>"
    )


def stop_replication(p: Parameters) -> Answer:
    """Answer StopDBInstanceAutomatedBackupsReplication."""
    instance = _by_arn(rds._p(p, "SourceDBInstanceArn"))
    for arn in [arn for arn, one in _replicated().items() if one is instance]:
        del _replicated()[arn]
    return _answer("StopDBInstanceAutomatedBackupsReplication", "")


# --- restorations


def restore_to_time(p: Parameters) -> Answer:
    """Build a new instance from automated backups, those of this region or those that were replicated to it."""
    source = _source(p)
    when = rds._p(p, "RestoreTime")
    until = datetime.fromisoformat(when) if when else None
    _check_window(source, until)
    return _restored(p, "RestoreDBInstanceToPointInTime", "TargetDBInstanceIdentifier", source, until)


def restore_from_snapshot(p: Parameters) -> Answer:
    """Build a new instance from a snapshot of this region."""
    snapshot = rds._snapshots.get(rds._p(p, "DBSnapshotIdentifier"))
    if snapshot is None:
        raise RefusedError("DBSnapshotNotFound", f"DBSnapshot {rds._p(p, 'DBSnapshotIdentifier')} not found.", 404)
    return _restored(p, "RestoreDBInstanceFromDBSnapshot", "DBInstanceIdentifier", snapshot, None)


def _restored(p: Parameters, action: str, naming: str, source: Record, until: datetime | None) -> Answer:
    instance = made(rds._p(p, naming), source, p)
    if served.has_data(source):
        instance["DBInstanceStatus"] = "creating"
        # What is in the backups at this moment is what is restored, and not what is written meanwhile.
        served.keep(source)
        scope = get_account_id(), get_region()
        threading.Thread(target=_filled, args=(scope, instance, source, until), daemon=True).start()
    return _answer(action, f"<DBInstance>{rds._instance_xml(instance)}</DBInstance>")


def _filled(scope: tuple[str, str], instance: Record, source: Record, until: datetime | None) -> None:
    with request_scope(*scope):
        try:
            served.bring_up(instance, source, until)
            instance["DBInstanceStatus"] = "available"
        except EngineError as error:
            instance |= {"DBInstanceStatus": "incompatible-restore", "_reason": str(error)}


def made(name: str, source: Record, given: Parameters) -> Record:
    """Make an instance with what it inherits, what it is given, and AWS's defaults."""
    inherited = {key: str(source[key]) for key in INHERITED if source.get(key)}
    kept = {key: value for key, value in given.items() if key not in ("Action", "DBSnapshotIdentifier")}
    status, _, body = NATIVE["CreateDBInstance"]({**inherited, **kept, "DBInstanceIdentifier": name})
    if status >= 400:
        raise RefusedError("DBInstanceAlreadyExists", body.decode(), status)
    instance: Record = rds._instances[name]
    instance |= {key: source.get(key, "") for key in ENCRYPTION}
    instance["_MasterUserPassword"] = source.get("_MasterUserPassword", "")
    instance[LOGS] = rds._parse_member_list(given, "EnableCloudwatchLogsExports")
    addressed(instance)
    return instance


def _check_window(source: Record, until: datetime | None) -> None:
    window = automated(source, "")["RestoreWindow"]
    first, last = (datetime.fromisoformat(str(window[key])) for key in ("EarliestTime", "LatestTime"))
    if not source.get("BackupRetentionPeriod"):
        raise RefusedError("InvalidRestoreFault", "The source has no automated backups.", 400)
    if until is not None and not first <= until <= last:
        raise RefusedError("InvalidRestoreFault", f"The instance is restorable from {first} to {last}.", 400)


def _source(p: Parameters) -> Record:
    if arn := rds._p(p, "SourceDBInstanceAutomatedBackupsArn"):
        if arn not in _replicated():
            raise RefusedError("DBInstanceAutomatedBackupNotFound", f"{arn} was not found.", 404)
        return _replicated()[arn]
    name = rds._p(p, "SourceDBInstanceIdentifier")
    found: Record | None = rds._instances.get(name)
    if found is None:
        raise RefusedError("DBInstanceNotFound", f"DBInstance {name} not found.", 404)
    return found


# --- snapshots, copies, names


def create_snapshot(p: Parameters) -> Answer:
    """Make a snapshot, of what PostgreSQL has too."""
    answer: Answer = NATIVE["CreateDBSnapshot"](p)
    if answer[0] < 400:
        served.save(_named(p), rds._snapshots[rds._p(p, "DBSnapshotIdentifier")])
    return answer


def copied(source: str, target: str) -> Record:
    """Have a copy in this region of a snapshot that is named, or by its ARN in another region."""
    region, name = (source.split(":")[3], source.split(":", 6)[6]) if source.startswith("arn:") else ("", source)
    with request_scope(get_account_id(), region or get_region()):
        found = rds._snapshots.get(name)
    if found is None:
        raise RefusedError("DBSnapshotNotFound", f"DBSnapshot {source} not found.", 404)
    arn = f"arn:aws:rds:{get_region()}:{get_account_id()}:snapshot:{target}"
    copy = {**found, "DBSnapshotIdentifier": target, "DBSnapshotArn": arn, "SourceDBSnapshotIdentifier": source}
    rds._snapshots[target] = copy
    return copy


def create(action: str, p: Parameters) -> Answer:
    """Create an instance or a replica, at the address of its name."""
    answer: Answer = NATIVE[action](p)
    if answer[0] < 400:
        instance = _named(p)
        addressed(instance)
    return answer


def modify(p: Parameters) -> Answer:
    """Modify, also what MiniStack forgets: a new name, measured queries, a parameter group that is applied."""
    answer: Answer = NATIVE["ModifyDBInstance"](p)
    if answer[0] >= 400:
        return answer
    instance = _named(p)
    if measured := rds._p(p, "EnablePerformanceInsights"):
        instance["PerformanceInsightsEnabled"] = measured == "true"
    for group in instance["DBParameterGroups"]:
        group["ParameterApplyStatus"] = "in-sync"
    if logs := rds._parse_member_list(p, "CloudwatchLogsExportConfiguration.EnableLogTypes"):
        instance[LOGS] = logs
    if name := rds._p(p, "NewDBInstanceIdentifier"):
        rename(instance, name)
    return _answer("ModifyDBInstance", f"<DBInstance>{rds._instance_xml(instance)}</DBInstance>")


def rename(instance: Record, name: str) -> None:
    """Give an instance another name, and with it another address. Its replicas and backups stay its own."""
    if name in rds._instances:
        raise RefusedError("DBInstanceAlreadyExists", f"DB instance {name} already exists", 400)
    before, arn = instance["DBInstanceIdentifier"], instance["DBInstanceArn"]
    rds._instances[name] = rds._instances.pop(before)
    instance |= {"DBInstanceIdentifier": name, "DBInstanceArn": arn.removesuffix(before) + name}
    rds._tags[instance["DBInstanceArn"]] = rds._tags.pop(arn, [])
    for other in rds._instances.values():
        if other.get("ReadReplicaSourceDBInstanceIdentifier") == before:
            other["ReadReplicaSourceDBInstanceIdentifier"] = name
        replicas = other.get("ReadReplicaDBInstanceIdentifiers", [])
        replicas[:] = [name if one == before else one for one in replicas]
    addressed(instance)


def delete(p: Parameters) -> Answer:
    """Delete an instance, and end its PostgreSQL."""
    instance = rds._resolve_instance(rds._p(p, "DBInstanceIdentifier")) or {}
    answer: Answer = NATIVE["DeleteDBInstance"](p)
    if answer[0] < 400:
        if source := rds._instances.get(instance.get("ReadReplicaSourceDBInstanceIdentifier") or ""):
            source["ReadReplicaDBInstanceIdentifiers"].remove(instance["DBInstanceIdentifier"])
        served.end(instance)
    return answer


# --- what stacks make


def stacked(own: Handlers) -> Handlers:
    """Return the handlers of AWS::RDS::DBInstance with restorations, replicas and replicated backups."""

    def create(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        arn = properties.get("SourceDBInstanceAutomatedBackupsArn")
        source = _source({"SourceDBInstanceAutomatedBackupsArn": arn}) if arn else None
        until = None
        if source:
            until = datetime.fromisoformat(str(when)) if (when := properties.get("RestoreTime")) else None
            try:
                _check_window(source, until)
            except RefusedError as error:
                raise ValueError(str(error.args[1])) from error
        given = {**{key: source[key] for key in INHERITED if source.get(key)}, **properties} if source else properties
        name, attributes = own["create"](logical_id, given, stack_name)
        instance = rds._instances[name]
        instance[LOGS] = properties.get("EnableCloudwatchLogsExports") or []
        if source:
            instance |= {key: source.get(key, "") for key in ENCRYPTION}
            instance["_MasterUserPassword"] = source.get("_MasterUserPassword", "")
            if served.has_data(source):
                served.keep(source)
                served.bring_up(instance, source, until)
        if primary := rds._instances.get(properties.get("SourceDBInstanceIdentifier") or ""):
            instance["ReadReplicaSourceDBInstanceIdentifier"] = primary["DBInstanceIdentifier"]
            primary.setdefault("ReadReplicaDBInstanceIdentifiers", []).append(name)
        if region := properties.get("AutomaticBackupReplicationRegion"):
            replicate(instance, region, properties.get("AutomaticBackupReplicationKmsKeyId", ""))
        addressed(instance)
        return name, {**attributes, "Endpoint.Address": instance["Endpoint"]["Address"]}

    def update(physical_id: str, old: Any, new: Mapping[str, Any], *rest: Any) -> Any:
        answer = own["update"](physical_id, old, new, *rest)
        if region := new.get("AutomaticBackupReplicationRegion"):
            replicate(rds._instances[answer[0]], region, new.get("AutomaticBackupReplicationKmsKeyId", ""))
        return answer

    return {**own, "create": create, "update": update}


# --- how AWS writes it


def addressed(instance: Record) -> None:
    """Give an instance the address of its name."""
    instance["Endpoint"]["Address"] = (
        f"{instance['DBInstanceIdentifier']}.{served.ZONE.format(region=_region(instance))}"
    )


def _region(instance: Record) -> str:
    return str(instance["DBInstanceArn"].split(":")[3])


def _replicated() -> dict[str, Record]:
    return replicated.setdefault((get_account_id(), get_region()), {})


def _by_arn(arn: str) -> Record:
    with request_scope(get_account_id(), arn.split(":")[3]):
        found: Record | None = rds._instances.get(arn.split(":")[6])
    if found is None:
        raise RefusedError("DBInstanceNotFound", f"DBInstance {arn} not found.", 404)
    return found


def _named(p: Parameters) -> Record:
    name = rds._p(p, "DBInstanceIdentifier")
    found: Record | None = rds._resolve_instance(name)
    if found is None:
        raise RefusedError("DBInstanceNotFound", f"DBInstance {name} not found.", 404)
    return found


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(item)}</{key}>" for key, item in value.items())
    if isinstance(value, list):
        return "".join(map(_xml, value))
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def _described(snapshot: Record) -> str:
    source = snapshot.get("SourceDBSnapshotIdentifier", "")
    return f"{NATIVE_SNAPSHOT(snapshot)}<SourceDBSnapshotIdentifier>{source}</SourceDBSnapshotIdentifier>"


def _shown(instance: Record) -> str:
    """Show which logs are kept, what a disk can do, and nothing for a source that there is not."""
    logs = "".join(f"<member>{log}</member>" for log in instance.get(LOGS) or [])
    xml: str = NATIVE_INSTANCE(instance).replace(f"<{LOGS}/>", f"<{LOGS}>{logs}</{LOGS}>")
    arns = [arn for there in replicated.values() for arn, one in there.items() if one is instance]
    found = _xml([{"DBInstanceAutomatedBackupsReplication": {"DBInstanceAutomatedBackupsArn": arn}} for arn in arns])
    xml += f"<DBInstanceAutomatedBackupsReplications>{found}</DBInstanceAutomatedBackupsReplications>"
    if instance.get("StorageType") == "gp3" and not instance.get("Iops"):
        is_large = int(instance["AllocatedStorage"]) >= LARGE_GP3_GIB
        xml += _xml({"Iops": LARGE_GP3_IOPS if is_large else SMALL_GP3_IOPS})
    source = "ReadReplicaSourceDBInstanceIdentifier"
    return xml.replace(f"<{source}></{source}>", "")


def _answer(action: str, result: str) -> Answer:
    answer: Answer = rds._xml(200, f"{action}Response", f"<{action}Result>{result}</{action}Result>")
    return answer


def _refusing(act: Callable[[Parameters], Answer]) -> Callable[[Parameters], Answer]:
    def acted(p: Parameters) -> Answer:
        try:
            return act(p)
        except RefusedError as error:
            answer: Answer = rds._error(*error.args)
            return answer

    return acted


def register() -> None:
    """Teach MiniStack."""
    taught: dict[str, Callable[[Parameters], Answer]] = {
        "CreateDBInstance": functools.partial(create, "CreateDBInstance"),
        "CreateDBInstanceReadReplica": functools.partial(create, "CreateDBInstanceReadReplica"),
        "CreateDBSnapshot": create_snapshot,
        "DeleteDBInstance": delete,
        "DescribeDBInstanceAutomatedBackups": describe_backups,
        "ModifyDBInstance": modify,
        "RestoreDBInstanceFromDBSnapshot": restore_from_snapshot,
        "RestoreDBInstanceToPointInTime": restore_to_time,
        "StartDBInstanceAutomatedBackupsReplication": start_replication,
        "StopDBInstanceAutomatedBackupsReplication": stop_replication,
    }
    rds._snapshot_xml, rds._instance_xml = _described, _shown
    for action, act in taught.items():
        rds._ACTION_MAP[action] = _refusing(act)
