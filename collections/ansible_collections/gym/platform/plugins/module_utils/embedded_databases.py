"""The databases that stacks have, made once more by AWS's own API: in a cloud for calls outside stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import boto3

SUBNET_GROUP, PARAMETER_GROUP, INSTANCE = (
    "AWS::RDS::DBSubnetGroup",
    "AWS::RDS::DBParameterGroup",
    "AWS::RDS::DBInstance",
)
TYPES = (SUBNET_GROUP, PARAMETER_GROUP, INSTANCE)
# Where CloudFormation and RDS call the same thing differently.
RENAMED = {"VPCSecurityGroups": "VpcSecurityGroupIds", "Family": "DBParameterGroupFamily"}
# A password goes nowhere.
LEFT_OUT = ("MasterUserPassword", "MasterUserSecret")
TYPED: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "boolean": lambda value: str(value).lower() == "true",
    "string": str,
}


def arguments(client: Any, operation: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a template that an operation takes, as it calls and types them."""
    members = client.meta.service_model.operation_model(operation).input_shape.members
    named = {RENAMED.get(name, name): value for name, value in properties.items() if name not in LEFT_OUT}
    return {
        name: TYPED.get(members[name].type_name, lambda found: found)(value)
        for name, value in named.items()
        if name in members
    }


class Databases:
    """Two regions of a cloud for calls, which get what the stacks of the first one have."""

    def __init__(self, endpoint: str, region: str, away: str) -> None:
        """Speak to this endpoint; `away` is the region that backups are replicated to."""
        anybody = "rehearsal"
        session = boto3.session.Session(aws_access_key_id=anybody, aws_secret_access_key=anybody)

        def client(service: str, where: str) -> Any:
            return session.client(service, region_name=where, endpoint_url=endpoint)

        self._rds, self._away = client("rds", region), client("rds", away)
        self._ec2 = {self._rds: client("ec2", region), self._away: client("ec2", away)}

    def mirror(self, resources: Iterable[Mapping[str, Any]]) -> list[str]:
        """Make what the stacks have, and return the names of the instances, primaries first."""
        by_type = {rtype: [item for item in resources if item["type"] == rtype] for rtype in TYPES}
        for rds in (self._rds, self._away):
            for item in by_type[SUBNET_GROUP]:
                self._subnet_group(rds, item)
            for item in by_type[PARAMETER_GROUP]:
                named = {**item["properties"], "DBParameterGroupName": item["physical_id"]}
                rds.create_db_parameter_group(**arguments(rds, "CreateDBParameterGroup", named))
        instances = sorted(by_type[INSTANCE], key=lambda item: "SourceDBInstanceIdentifier" in item["properties"])
        for item in instances:
            self._instance(item["properties"])
        return [item["properties"]["DBInstanceIdentifier"] for item in instances]

    def _subnet_group(self, rds: Any, item: Mapping[str, Any]) -> None:
        # The stacks' own subnets are in the other cloud; those that every region has stand in for them.
        subnets = [found["SubnetId"] for found in self._ec2[rds].describe_subnets()["Subnets"]]
        named = {**item["properties"], "DBSubnetGroupName": item["physical_id"], "SubnetIds": subnets}
        rds.create_db_subnet_group(**arguments(rds, "CreateDBSubnetGroup", named))

    def _instance(self, properties: Mapping[str, Any]) -> None:
        if "SourceDBInstanceIdentifier" in properties:
            self._rds.create_db_instance_read_replica(**arguments(self._rds, "CreateDBInstanceReadReplica", properties))
            return
        made = self._rds.create_db_instance(**arguments(self._rds, "CreateDBInstance", properties))["DBInstance"]
        if properties.get("AutomaticBackupReplicationRegion"):
            self._away.start_db_instance_automated_backups_replication(
                SourceDBInstanceArn=made["DBInstanceArn"],
                BackupRetentionPeriod=int(properties["AutomaticBackupReplicationRetentionPeriod"]),
            )
