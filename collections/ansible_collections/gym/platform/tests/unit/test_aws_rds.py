"""Restoring, call by call: what AWS is asked, and what is put back until all is as it was."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils import aws_client
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_restore import SETTINGS, differences, modification
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError
from ansible_collections.gym.platform.plugins.modules import aws_rds_restore
from botocore.stub import Stubber

HOME, AWAY = "eu-west-1", "eu-central-1"
NOON = datetime.datetime(2020, 1, 31, 12, tzinfo=datetime.UTC)
ARN = f"arn:aws:rds:{HOME}:123456789012:"
BACKUPS = f"arn:aws:rds:{AWAY}:123456789012:auto-backup:ab-1"
WANTED = {"multi_az": True, "security_groups": ["sg-1"], "parameter_group": "gym", "backup_retention_days": 35}


def stubbed(region: str) -> Iterator[Stubber]:
    client = boto3.client("rds", region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def home() -> Iterator[Stubber]:
    yield from stubbed(HOME)


@pytest.fixture
def away() -> Iterator[Stubber]:
    yield from stubbed(AWAY)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_client, "FIRST_DELAY_SECONDS", 0)


def instance(name: str = "target", group: str = "gym", apply: str = "in-sync", **changes: Any) -> dict[str, Any]:
    """Return an instance as production's are."""
    return {
        "DBInstanceIdentifier": name,
        "DBInstanceArn": f"{ARN}db:{name}",
        "DBInstanceStatus": "available",
        "DBInstanceClass": "db.r7g.large",
        "MultiAZ": True,
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
        "DBParameterGroups": [{"DBParameterGroupName": group, "ParameterApplyStatus": apply}],
        "BackupRetentionPeriod": 35,
        "Endpoint": {"Address": f"{name}.example.com"},
        **changes,
    }


# What AWS makes of a restoration that names nothing.
BARE = instance(
    group="default.postgres15",
    MultiAZ=False,
    VpcSecurityGroups=[{"VpcSecurityGroupId": "sg-default", "Status": "active"}],
    BackupRetentionPeriod=1,
)


def sees(stub: Stubber, *instances: dict[str, Any]) -> None:
    for found in instances:
        stub.add_response(
            "describe_db_instances",
            {"DBInstances": [found]},
            {"DBInstanceIdentifier": found["DBInstanceIdentifier"]},
        )


def is_missing(stub: Stubber, name: str) -> None:
    stub.add_client_error("describe_db_instances", "DBInstanceNotFound", expected_params={"DBInstanceIdentifier": name})


def has_backups(stub: Stubber, region: str, source: str = "source") -> None:
    window = {"EarliestTime": NOON - datetime.timedelta(days=35), "LatestTime": NOON}
    backup = {"Region": region, "RestoreWindow": window, "DBInstanceAutomatedBackupsArn": BACKUPS}
    stub.add_response(
        "describe_db_instance_automated_backups",
        {"DBInstanceAutomatedBackups": [backup]},
        {"DBInstanceIdentifier": source},
    )


def restore(stub: Stubber, check: bool = False, **options: Any) -> dict[str, Any]:
    usual = {
        "source": "source",
        "target": "target",
        "time": "latest",
        "snapshot": None,
        "replicated": False,
        "like": None,
    }
    return aws_rds_restore.run(
        {**usual, "subnet_group": None, "settings": {}, "timeout": 5, **options}, stub.client, check
    )


# --- restore


def test_the_other_region_restores_from_what_was_replicated_and_puts_everything_back(away: Stubber) -> None:
    is_missing(away, "target")
    has_backups(away, HOME)
    away.add_response(
        "restore_db_instance_to_point_in_time",
        {},
        {
            "TargetDBInstanceIdentifier": "target",
            "SourceDBInstanceAutomatedBackupsArn": BACKUPS,
            "RestoreTime": NOON,
            "DBSubnetGroupName": "dr",
            "PubliclyAccessible": False,
            "Tags": [
                {"Key": "restored-from", "Value": "source"},
                {"Key": "restored-to", "Value": "2020-01-31T12:00:00Z"},
            ],
            "MultiAZ": True,
            "VpcSecurityGroupIds": ["sg-1"],
            "DBParameterGroupName": "gym",
        },
    )
    sees(away, instance(DBInstanceStatus="creating"), BARE, BARE)
    away.add_response(
        "modify_db_instance",
        {},
        {
            "DBInstanceIdentifier": "target",
            "ApplyImmediately": True,
            "MultiAZ": True,
            "VpcSecurityGroupIds": ["sg-1"],
            "DBParameterGroupName": "gym",
            "BackupRetentionPeriod": 35,
        },
    )
    # AWS says available a while longer before it begins; then the new parameters wait for a restart.
    sees(away, BARE, instance(DBInstanceStatus="modifying"), instance(apply="pending-reboot"))
    away.add_response("reboot_db_instance", {}, {"DBInstanceIdentifier": "target"})
    sees(away, instance(apply="pending-reboot"), instance(DBInstanceStatus="rebooting"), instance())
    found = restore(away, replicated=True, subnet_group="dr", time="2020-01-31T13:00:00+01:00", settings=WANTED)
    assert found["changed"]
    assert found["put_back"] == ["backup_retention_days", "multi_az", "parameter_group", "security_groups"]
    assert found["restored_to"] == "2020-01-31T12:00:00Z"
    assert found["endpoint"] == "target.example.com"
    assert found["diff"]["before"] == {}


def test_the_settings_and_the_subnets_are_those_of_the_source(home: Stubber) -> None:
    sees(home, instance("source", DBSubnetGroup={"DBSubnetGroupName": "data"}, DeletionProtection=True))
    is_missing(home, "target")
    has_backups(home, HOME)
    home.add_response(
        "restore_db_instance_to_point_in_time",
        {},
        {
            "TargetDBInstanceIdentifier": "target",
            "SourceDBInstanceIdentifier": "source",
            "RestoreTime": NOON,
            "DBSubnetGroupName": "data",
            "PubliclyAccessible": False,
            "Tags": [
                {"Key": "restored-from", "Value": "source"},
                {"Key": "restored-to", "Value": "2020-01-31T12:00:00Z"},
            ],
            "DBInstanceClass": "db.r7g.large",
            "MultiAZ": True,
            "VpcSecurityGroupIds": ["sg-1"],
            "DBParameterGroupName": "gym",
            "DeletionProtection": False,
            "CopyTagsToSnapshot": False,
            "EnableIAMDatabaseAuthentication": False,
            "EnableCloudwatchLogsExports": [],
        },
    )
    sees(home, instance(), instance())
    assert restore(home, settings={"deletion_protection": False})["put_back"] == []


@pytest.mark.parametrize(
    ("tags", "complaint"),
    [
        ({}, "was not restored from 'source'"),
        ({"restored-from": "source", "restored-to": "2020-01-01T00:00:00Z"}, "was restored to 2020-01-01"),
    ],
)
def test_a_target_that_is_something_else_is_refused(home: Stubber, tags: dict[str, str], complaint: str) -> None:
    sees(home, instance("source"), instance())
    home.add_response("list_tags_for_resource", {"TagList": [{"Key": k, "Value": v} for k, v in tags.items()]})
    with pytest.raises(RequestError, match=complaint):
        restore(home, time="2020-01-02T00:00:00Z")


@pytest.mark.parametrize("time", ["2020-02-01T00:00:00Z", "2019-12-01T00:00:00Z"])
def test_a_time_without_a_backup_is_refused(home: Stubber, time: str) -> None:
    sees(home, instance("source"))
    is_missing(home, "target")
    has_backups(home, HOME)
    with pytest.raises(RefusedError, match="choose a time from 2019-12-27T12:00:00Z to 2020-01-31T12:00:00Z"):
        restore(home, time=time)


def test_a_source_without_backups_is_refused(home: Stubber) -> None:
    sees(home, instance("source"))
    is_missing(home, "target")
    home.add_response("describe_db_instance_automated_backups", {"DBInstanceAutomatedBackups": []})
    sees(home, instance("source"))
    with pytest.raises(RefusedError, match="has no backup to restore from"):
        restore(home)


def test_a_region_without_replicated_backups_is_refused(away: Stubber) -> None:
    is_missing(away, "target")
    # Its own instance of the same name is none.
    has_backups(away, AWAY)
    with pytest.raises(RequestError, match=r"eu-central-1 has no replicated backups of 'source'"):
        restore(away, replicated=True, settings=WANTED)


def test_an_instance_that_cannot_become_available_is_not_waited_for(home: Stubber) -> None:
    sees(home, instance("source"))
    is_missing(home, "target")
    has_backups(home, HOME)
    home.add_response("restore_db_instance_to_point_in_time", {})
    sees(home, instance(DBInstanceStatus="incompatible-restore"))
    with pytest.raises(RequestError, match="ended as 'incompatible-restore'"):
        restore(home)


def test_every_setting_is_read_as_it_is_written() -> None:
    wanted = {name: object() for name in SETTINGS}
    assert set(differences(wanted, instance())) == set(SETTINGS)
    assert len(modification(wanted)) == len(SETTINGS)
    shape = boto3.client("rds", region_name=HOME).meta.service_model.operation_model("ModifyDBInstance").input_shape
    assert set(modification(wanted)) <= set(shape.members)


def test_waiting_ends_with_a_sentence() -> None:
    with pytest.raises(RequestError, match="the thing is not finished after 0 seconds"):
        wait_until(lambda: 1, lambda found: found == 2, "the thing", timeout=0)
