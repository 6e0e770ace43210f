"""What makes a restored database take the place of another one, call by call."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import aws_takeover
from ansible_collections.gym.platform.plugins.module_utils.aws_client import unless, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_restore import pending, restoration, settings
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import BESIDE_SUFFIX, SOURCE_TAG
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Instances, tags_of
from ansible_collections.gym.platform.plugins.module_utils.aws_takeover import DELETE, REPLICATE, Member, Step

# Tags with this prefix are AWS's own, and nobody else may set them.
RESERVED = "aws:"
# An interrupted run has begun this, and it is waited for.
UNSETTLED = ("creating", "deleting", "renaming")


class Successor:
    """An instance of a region whose place another one takes."""

    def __init__(self, live: str, source: str, client: Callable[[str, str], Any], region: str, timeout: float) -> None:
        """Ask through these clients, and wait for at most `timeout` seconds at a time."""
        self._client_of, self._region, self._live, self._timeout = client, region, live, timeout
        self._source = source
        self._rds = client("rds", region)
        self._instances = Instances(self._rds, timeout)

    def plan(self, imagined: bool = False) -> aws_takeover.Takeover:
        """Return what is left to do; `imagined`: as if it were restored where it is not. Raises RefusedError."""
        found = wait_until(self._instances.every, self._named, f"'{self._live}' and its like", self._timeout)
        members = {
            one["DBInstanceIdentifier"]: Member(
                one["DBInstanceIdentifier"],
                one.get("ReadReplicaSourceDBInstanceIdentifier") or "",
                one["InstanceCreateTime"],
                tags_of(one),
            )
            for one in found
            if one["DBInstanceIdentifier"].startswith(self._live)
        }
        if imagined:
            name, made = self._live + BESIDE_SUFFIX, datetime.datetime.now(datetime.UTC)
            members = {name: Member(name, "", made, {SOURCE_TAG: self._source}), **members}
        return aws_takeover.plan(self._live, members, self._source)

    def _named(self, found: list[dict[str, Any]]) -> bool:
        """Tell whether everything that is called after the instance has the name that it keeps."""
        ours = [one for one in found if one["DBInstanceIdentifier"].startswith(self._live)]
        return all(one["DBInstanceStatus"] not in UNSETTLED for one in ours)

    def take(self, step: Step) -> None:
        """Do one step, and wait until it is done."""
        if step.kind == REPLICATE:
            self._replicate(step)
        elif step.kind == DELETE:
            self._delete(step.name)
        else:
            if step.name == self._live:
                self._protect()
                self.leave_proxy()
            self._rename(step.name, step.other)

    def _replicate(self, step: Step) -> None:
        like = self._instances.get(step.like)
        wanted = settings(like)
        given = self._instances.known("CreateDBInstanceReadReplica", restoration(wanted))
        self._rds.create_db_instance_read_replica(
            DBInstanceIdentifier=step.name,
            SourceDBInstanceIdentifier=step.other,
            PubliclyAccessible=False,
            Tags=_ours(like),
            **given,
        )
        kept = {name: value for name, value in wanted.items() if value is not None and not name.startswith("managed_")}
        self._instances.put_back(step.name, kept)

    def _rename(self, name: str, other: str) -> None:
        self._rds.modify_db_instance(DBInstanceIdentifier=name, NewDBInstanceIdentifier=other, ApplyImmediately=True)
        # For a while neither name is known.
        wait_until(
            lambda: self._instances.find(other),
            lambda found: found is not None and pending(found) is None,
            f"renaming '{name}' to '{other}'",
            self._timeout,
        )

    def _delete(self, replica: str) -> None:
        """Delete a replica of what was replaced, which holds all that it holds."""
        self._instances.put_back(replica, {"deletion_protection": False})
        self._rds.delete_db_instance(DBInstanceIdentifier=replica, SkipFinalSnapshot=True)

    def _protect(self) -> None:
        """Have nobody delete what is going to be replaced."""
        self._instances.put_back(self._live, {"deletion_protection": True})

    # --- what knows an instance by more than its name

    def leave_proxy(self) -> None:
        """Take the instance out of the proxy that is called like it."""
        if self._live in (self._targets() or []):
            self._rds.deregister_db_proxy_targets(DBProxyName=self._live, DBInstanceIdentifiers=[self._live])

    def join_proxy(self) -> bool:
        """Have the instance behind the proxy that is called like it, and tell whether it was not."""
        targets = self._targets()
        if targets is None or self._live in targets:
            return False
        self._rds.register_db_proxy_targets(DBProxyName=self._live, DBInstanceIdentifiers=[self._live])
        return True

    def _targets(self) -> list[str] | None:
        """Return who is behind the proxy; None where there is no proxy."""
        ask = self._rds.describe_db_proxy_targets
        found = unless("DBProxyNotFound", lambda: ask(DBProxyName=self._live))
        return None if found is None else [target["RdsResourceId"] for target in found["Targets"]]

    def tag(self, kept: str) -> bool:
        """Give the instance the tags of the one that it has replaced, and tell whether it lacked any."""
        live, old = self._instances.get(self._live), self._instances.find(kept)
        has = tags_of(live)
        lacking = [tag for tag in _ours(old or {}) if has.get(tag["Key"]) != tag["Value"]]
        if lacking:
            self._rds.add_tags_to_resource(ResourceName=live["DBInstanceArn"], Tags=lacking)
        return bool(lacking)

    def replicate_backups(self, kept: str) -> list[str]:
        """Have the instance's backups in the regions that have those of the replaced one; tell where they were not."""
        live, old = self._instances.get(self._live), self._instances.find(kept) or {}
        has = {_region_of(arn) for arn in _replicated(live)}
        begun = []
        for arn in _replicated(old):
            if (region := _region_of(arn)) in has:
                continue
            there = self._client_of("rds", region)
            ask = there.describe_db_instance_automated_backups(DBInstanceAutomatedBackupsArn=arn)
            backups = ask["DBInstanceAutomatedBackups"][0]
            there.start_db_instance_automated_backups_replication(
                SourceDBInstanceArn=live["DBInstanceArn"],
                BackupRetentionPeriod=backups["BackupRetentionPeriod"],
                SourceRegion=self._region,
                **({"KmsKeyId": backups["KmsKeyId"]} if backups.get("KmsKeyId") else {}),
            )
            begun.append(region)
        return begun


def _ours(instance: dict[str, Any]) -> list[dict[str, str]]:
    return [tag for tag in instance.get("TagList", []) if not tag["Key"].startswith(RESERVED)]


def _replicated(instance: dict[str, Any]) -> list[str]:
    found = instance.get("DBInstanceAutomatedBackupsReplications", [])
    return [one["DBInstanceAutomatedBackupsArn"] for one in found]


def _region_of(arn: str) -> str:
    return arn.split(":")[3]
