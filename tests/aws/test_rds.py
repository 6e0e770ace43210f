"""The modules for databases, against an embedded cloud: first run, second run, check mode, and what cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import aws_client
from ansible_collections.gym.platform.plugins.modules import aws_rds_restore
from ansible_collections.gym.platform.tests.unit.module_runs import answer

from tests.aws.conftest import client, with_primary
from tests.embedded import AWAY, HOME


@pytest.fixture(scope="module")
def account(endpoint: str) -> Any:
    """Return RDS with one primary."""
    return with_primary(endpoint, "gym", ManageMasterUserPassword=True, StorageType="gp3", CopyTagsToSnapshot=True)


@pytest.fixture
def rds(account: Any, endpoint: str) -> Iterator[Any]:
    """Leave nothing but the primary to the next test."""
    yield account
    for region in (account, client(endpoint, "rds", AWAY)):
        for name in names(region):
            if name != "gym-1":
                region.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def instance(rds: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    return found


def names(rds: Any) -> list[str]:
    return sorted(found["DBInstanceIdentifier"] for found in rds.describe_db_instances()["DBInstances"])


# --- restore


def test_an_instance_is_restored_as_its_source_is_and_only_once(endpoint: str, rds: Any) -> None:
    options: dict[str, Any] = {"source": "gym-1", "target": "gym-1-drill", "region": HOME, "endpoint_url": endpoint}
    first = answer(aws_rds_restore.main, **options)
    assert first["changed"]
    source, target = instance(rds, "gym-1"), instance(rds, "gym-1-drill")
    for key in ("MultiAZ", "VpcSecurityGroups", "DBParameterGroups", "BackupRetentionPeriod", "DBInstanceClass"):
        assert target[key] == source[key], key
    # A restoration has no word for how long backups are kept.
    assert first["put_back"] == ["backup_retention_days"]
    assert first["endpoint"] == target["Endpoint"]["Address"]
    assert first["seconds"] >= first["seconds_until_available"] > 0
    second = answer(aws_rds_restore.main, **options)
    assert (second["changed"], second["seconds"]) == (False, 0)
    assert names(rds) == ["gym-1", "gym-1-drill"]


def test_an_instance_is_restored_in_the_other_region_with_what_is_given(endpoint: str, rds: Any) -> None:
    away = client(endpoint, "rds", AWAY)
    away.create_db_parameter_group(DBParameterGroupName="dr", DBParameterGroupFamily="postgres15", Description="dr")
    options: dict[str, Any] = {
        "source": "gym-1",
        "target": "gym-1-dr",
        "replicated": True,
        "region": AWAY,
        "endpoint_url": endpoint,
        "settings": {"multi_az": True, "security_groups": ["sg-0f"], "parameter_group": "dr"},
    }
    assert "eu-central-1 has no replicated backups of 'gym-1'" in answer(aws_rds_restore.main, **options)["msg"]
    arn = instance(rds, "gym-1")["DBInstanceArn"]
    away.start_db_instance_automated_backups_replication(SourceDBInstanceArn=arn)
    assert answer(aws_rds_restore.main, **options)["changed"]
    found = instance(away, "gym-1-dr")
    assert found["MultiAZ"]
    assert [group["VpcSecurityGroupId"] for group in found["VpcSecurityGroups"]] == ["sg-0f"]
    assert [group["DBParameterGroupName"] for group in found["DBParameterGroups"]] == ["dr"]
    assert not answer(aws_rds_restore.main, **options)["changed"]


def test_what_is_asked_for_comes_before_what_the_source_has(endpoint: str, rds: Any) -> None:
    settings = {"multi_az": False, "backup_retention_days": 2}
    options: dict[str, Any] = {
        "source": "gym-1",
        "target": "small",
        "region": HOME,
        "endpoint_url": endpoint,
        "settings": settings,
    }
    assert answer(aws_rds_restore.main, **options)["put_back"] == ["backup_retention_days"]
    found = instance(rds, "small")
    assert (found["MultiAZ"], found["BackupRetentionPeriod"]) == (False, 2)


def test_what_was_changed_by_hand_is_put_back(endpoint: str, rds: Any) -> None:
    options: dict[str, Any] = {"source": "gym-1", "target": "drill", "region": HOME, "endpoint_url": endpoint}
    answer(aws_rds_restore.main, **options)
    rds.modify_db_instance(DBInstanceIdentifier="drill", BackupRetentionPeriod=3, ApplyImmediately=True)
    checked = answer(aws_rds_restore.main, check=True, **options)
    assert (checked["changed"], checked["put_back"]) == (True, ["backup_retention_days"])
    assert instance(rds, "drill")["BackupRetentionPeriod"] == 3
    assert answer(aws_rds_restore.main, **options)["put_back"] == ["backup_retention_days"]
    assert instance(rds, "drill")["BackupRetentionPeriod"] == 30


def test_check_mode_restores_nothing_and_shows_what_would_be(endpoint: str, rds: Any) -> None:
    found = answer(aws_rds_restore.main, check=True, source="gym-1", target="drill", region=HOME, endpoint_url=endpoint)
    assert found["changed"]
    assert found["diff"]["before"] == {}
    assert found["diff"]["after"]["multi_az"] is True
    assert names(rds) == ["gym-1"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": "gym-2"}, "There is no database instance 'gym-2' in eu-west-1; there are gym-1."),
        ({"time": "2001-01-01T00:00:00"}, "has no zone"),
        ({"time": "noon"}, "'noon' is no time"),
        ({"time": "2099-01-01T00:00:00Z"}, "choose a time from"),
        ({"target": "gym-1"}, "'gym-1' exists and was not restored from 'gym-1'"),
        ({"region": "eu-wset-1"}, "did you mean eu-west-1?"),
        ({"replicated": True, "settings": {"multi_az": True}}, "take security_groups, parameter_group from"),
    ],
)
@pytest.mark.usefixtures("rds")
def test_what_cannot_be_restored_is_one_sentence(endpoint: str, change: dict[str, Any], complaint: str) -> None:
    options: dict[str, Any] = {"source": "gym-1", "target": "drill", "region": HOME, "endpoint_url": endpoint, **change}
    found = answer(aws_rds_restore.main, check=True, **options)
    assert found["failed"]
    assert complaint in found["msg"]


def test_an_endpoint_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_client, "ATTEMPTS", 1)
    found = answer(aws_rds_restore.main, source="x", target="y", region=HOME, endpoint_url="http://127.0.0.1:1")
    assert found["failed"]
    assert "cannot be reached" in found["msg"]
