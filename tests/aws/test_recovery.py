"""Backups, restorations and takeovers on an embedded cloud whose databases are real: what counts are rows."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.modules import (
    aws_backup,
    aws_rds_restore,
    aws_rds_restore_plan,
    aws_rds_takeover,
)
from ansible_collections.gym.platform.tests.unit.module_runs import answer

from tests.aws.conftest import client, with_primary
from tests.embedded import ACCOUNT, AWAY, HOME, connected

VAULT = f"arn:aws:backup:{AWAY}:{ACCOUNT}:backup-vault:gym-copies"


def rows(endpoint: str, name: str, region: str = HOME) -> list[int]:
    """Return the numbers that an instance has."""
    with connected(endpoint, name, region) as database:
        return [row[0] for row in database.execute("select number from drill order by number")]


Write = Callable[[int], datetime.datetime]


@pytest.fixture(scope="module")
def rds(endpoint: str) -> Any:
    """Have a primary with two replicas, and its backups in the other region too."""
    found = with_primary(
        endpoint,
        "data",
        MasterUserPassword="a-password-of-a-test",
        DBName="gym",
        DeletionProtection=True,
        Tags=[{"Key": "environment", "Value": "production"}],
    )
    for number in (1, 2):
        found.create_db_instance_read_replica(
            DBInstanceIdentifier=f"data-1-replica-{number}", SourceDBInstanceIdentifier="data-1"
        )
    arn = found.describe_db_instances(DBInstanceIdentifier="data-1")["DBInstances"][0]["DBInstanceArn"]
    client(endpoint, "rds", AWAY).start_db_instance_automated_backups_replication(SourceDBInstanceArn=arn)
    for region, name in ((HOME, "gym"), (AWAY, "gym-copies")):
        client(endpoint, "backup", region).create_backup_vault(BackupVaultName=name)
    with connected(endpoint, "data-1") as database:
        database.execute("create table drill (number int primary key)")
    return found


@pytest.fixture(scope="module")
def write(endpoint: str, rds: Any) -> Iterator[Write]:
    """Write a row, and return the moment at which it was there."""
    with connected(endpoint, "data-1") as database:

        def written(number: int) -> datetime.datetime:
            database.execute("insert into drill values (%s)", [number])
            found = database.execute("select clock_timestamp()").fetchone()
            assert found
            moment: datetime.datetime = found[0]
            return moment

        yield written


def options(endpoint: str, **more: Any) -> dict[str, Any]:
    return {"region": HOME, "endpoint_url": endpoint, **more}


def plan(endpoint: str, **more: Any) -> dict[str, Any]:
    given = {"instances": ["data-1"], "environment": "production", **more}
    return answer(aws_rds_restore_plan.main, **options(endpoint, **given))


@pytest.fixture(scope="module")
def noon(endpoint: str, write: Write) -> str:
    """Return the moment between row 1 and row 2, which is in the backup that has a name."""
    moment = write(1)
    backup = options(
        endpoint,
        resources=[f"arn:aws:rds:{HOME}:{ACCOUNT}:db:data-1"],
        vault="gym",
        role="arn:aws:iam::000000000000:role/backup",
        name="before-migration",
        retention_days=35,
        copy_to=VAULT,
    )
    checked = answer(aws_backup.main, check=True, **backup)
    assert (checked["changed"], checked["backups"][0]["arn"]) == (True, "")
    made = answer(aws_backup.main, **backup)
    assert made["changed"]
    assert ":snapshot:awsbackup:job-" in made["backups"][0]["arn"]
    assert made["backups"][0]["copy"].startswith(f"arn:aws:rds:{AWAY}:")
    assert made["text"][0].startswith("data-1: arn:aws:rds:")
    again = answer(aws_backup.main, **backup)
    assert (again["changed"], again["backups"][0]["arn"]) == (False, made["backups"][0]["arn"])
    write(2)
    return moment.isoformat()


def test_a_moment_beside_the_live_database_has_what_was_there_then(endpoint: str, rds: Any, noon: str) -> None:
    (found,) = plan(endpoint, to=noon)["restorations"]
    restored = answer(
        aws_rds_restore.main,
        **options(endpoint, source="data-1", target="data-1-noon", time=found["restored_to"]),
    )
    assert restored["changed"], restored
    assert rows(endpoint, "data-1-noon") == [1]
    assert rows(endpoint, "data-1") == [1, 2]


@pytest.mark.usefixtures("rds")
@pytest.mark.parametrize("region", [HOME, AWAY])
def test_a_backup_is_restored_by_its_name_in_both_regions(endpoint: str, noon: str, region: str) -> None:
    away = region == AWAY
    settings = {"multi_az": False, "security_groups": ["sg-0f"], "parameter_group": "default.postgres15"}
    restored = answer(
        aws_rds_restore.main,
        **options(
            endpoint,
            source="data-1",
            target="data-1-by-name",
            snapshot="before-migration",
            replicated=away,
            settings=settings if away else {},
        )
        | {"region": region},
    )
    assert restored["changed"], restored
    assert rows(endpoint, "data-1-by-name", region) == [1]


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(endpoint: str, noon: str) -> None:
    found = plan(endpoint, to="before-migratoin")
    assert found["failed"]
    assert "did you mean 'before-migration'?" in found["msg"]


def test_the_restored_database_takes_the_place_with_all_that_belongs_to_it(
    endpoint: str, rds: Any, noon: str, write: Write
) -> None:
    subnets = [one["SubnetId"] for one in client(endpoint, "ec2", HOME).describe_subnets()["Subnets"]]
    rds.create_db_proxy(
        DBProxyName="data-1",
        EngineFamily="POSTGRESQL",
        Auth=[{"AuthScheme": "SECRETS", "SecretArn": f"arn:aws:secretsmanager:{HOME}:{ACCOUNT}:secret:x"}],
        RoleArn="arn:aws:iam::000000000000:role/proxy",
        VpcSubnetIds=subnets,
    )
    rds.register_db_proxy_targets(DBProxyName="data-1", DBInstanceIdentifiers=["data-1"])
    wish = {"to": noon, "place": "in_place", "confirm": "production"}
    assert "restore_confirm is missing" in plan(endpoint, **{**wish, "confirm": ""})["msg"]
    (found,) = plan(endpoint, **wish)["restorations"]
    assert (found["to_restore"], found["to_take_over"]) == (True, True)
    address = instance(rds, "data-1")["Endpoint"]["Address"]
    restore = options(endpoint, source="data-1", target=found["target"], time=found["restored_to"])
    assert answer(aws_rds_restore.main, **restore)["changed"]
    write(3)
    checked = answer(aws_rds_takeover.main, check=True, **options(endpoint, name="data-1"))
    assert len(checked["steps"]) == 10
    taken = answer(aws_rds_takeover.main, **options(endpoint, name="data-1"))
    assert taken.get("msg") is None
    assert taken["steps"][:10] == checked["steps"]
    assert taken["steps"][10:] == [
        "put data-1 behind its proxy",
        f"give data-1 the tags of {taken['kept']}",
        f"replicate the backups of data-1 to {AWAY}",
    ]
    assert (taken["endpoint"], instance(rds, "data-1")["Endpoint"]["Address"]) == (address, address)
    assert rows(endpoint, "data-1") == [1]
    assert rows(endpoint, taken["kept"]) == [1, 2, 3], "nothing is thrown away"
    assert instance(rds, taken["kept"])["DeletionProtection"]
    for number in (1, 2):
        assert instance(rds, f"data-1-replica-{number}")["ReadReplicaSourceDBInstanceIdentifier"] == "data-1"
    assert not answer(aws_rds_takeover.main, **options(endpoint, name="data-1"))["changed"]
    (done,) = plan(endpoint, **wish)["restorations"]
    assert (done["to_restore"], done["to_take_over"]) == (False, False)


def instance(rds: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    return found
