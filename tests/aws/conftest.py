"""AWS's API as the embedded cloud answers it, a cloud for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests import embedded


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a cloud, and give its address."""
    with embedded.served(tmp_path_factory.mktemp("cloud")) as address:
        yield address


@pytest.fixture(scope="session", autouse=True)
def somebody() -> Iterator[None]:
    """Have credentials, which the cloud accepts whatever they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield


def client(endpoint: str, service: str, region: str) -> Any:
    """Return a client of the cloud."""
    return boto3.client(service, region_name=region, endpoint_url=endpoint)


def with_primary(endpoint: str, name: str, **more: Any) -> Any:
    """Return RDS at home with one instance as production has it, and settings and parameters of its own."""
    rds = client(endpoint, "rds", embedded.HOME)
    rds.create_db_parameter_group(DBParameterGroupName=name, DBParameterGroupFamily="postgres15", Description=name)
    rds.create_db_instance(
        DBInstanceIdentifier=f"{name}-1",
        Engine="postgres",
        DBInstanceClass="db.r7g.large",
        AllocatedStorage=100,
        MasterUsername="owner",
        MultiAZ=True,
        VpcSecurityGroupIds=["sg-0123456789abcdef0"],
        DBParameterGroupName=name,
        BackupRetentionPeriod=30,
        **more,
    )
    return rds
