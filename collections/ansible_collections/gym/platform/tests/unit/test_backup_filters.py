"""What pgBackRest is told, and what runs when."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.backup import (
    backup_job_files,
    backup_jobs,
    pgbackrest_databases,
    pgbackrest_repositories,
)

TLS = {"port": 8432, "certificate": "/host.pem", "key": "/host.key", "authority": "/ca.pem"}
MACHINE = {"kind": "machine", "machine": "backup-1", "path": "/var/lib/pgbackrest", "passphrase": "first"}
STORE = {
    "kind": "object_store", "endpoint": "https://store-1.gym.internal:9000", "region": "local-2",
    "bucket": "gym-backup", "path": "/pgbackrest", "access_key": "key", "secret_key": "secret", "passphrase": "second",
}  # fmt: skip


def told(host: str, *repositories: dict[str, Any]) -> dict[str, Any]:
    return pgbackrest_repositories(repositories, host, 30, 48, TLS)


def test_the_machine_that_keeps_a_repository_opens_it() -> None:
    settings = told("backup-1", MACHINE)
    assert settings["repo1-path"] == "/var/lib/pgbackrest"
    assert (settings["repo1-cipher-type"], settings["repo1-cipher-pass"]) == ("aes-256-cbc", "first")
    assert (settings["repo1-retention-full-type"], settings["repo1-retention-full"]) == ("time", 30)
    assert "repo1-host" not in settings


def test_others_ask_that_machine_and_learn_no_passphrase() -> None:
    settings = told("db-1", MACHINE)
    assert settings["repo1-host"] == "backup-1"
    assert settings["repo1-host-type"] == "tls"
    assert settings["repo1-host-ca-file"] == "/ca.pem"
    assert "first" not in settings.values()
    assert "repo1-path" not in settings


@pytest.mark.parametrize("host", ["backup-1", "db-1"])
def test_an_object_store_is_asked_by_everybody(host: str) -> None:
    settings = told(host, MACHINE, STORE)
    assert settings["repo2-s3-endpoint"] == "store-1.gym.internal"
    assert settings["repo2-storage-port"] == 9000
    assert settings["repo2-storage-ca-file"] == "/ca.pem"
    assert settings["repo2-cipher-pass"] == "second"
    assert settings["repo2-path"] == "/pgbackrest"


def test_https_has_a_usual_port() -> None:
    assert told("db-1", {**STORE, "endpoint": "https://s3.example.com"})["repo1-storage-port"] == 443


@pytest.mark.parametrize("endpoint", ["http://store:9000", "store:9000", "https://", "https://store/bucket"])
def test_an_object_store_without_tls_is_refused(endpoint: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"must be https://"):
        told("db-1", {**STORE, "endpoint": endpoint})


def test_a_database_knows_its_own_place_alone() -> None:
    settings = pgbackrest_databases(["db-1", "db-2"], "db-2", "/data", "/run/postgresql", TLS)
    assert settings == {"pg1-path": "/data", "pg1-socket-path": "/run/postgresql"}


def test_the_repository_knows_all_databases() -> None:
    settings = pgbackrest_databases(["db-1", "db-2"], "backup-1", "/data", "/run/postgresql", TLS)
    assert (settings["pg1-host"], settings["pg2-host"]) == ("db-1", "db-2")
    assert settings["pg2-path"] == "/data"
    assert settings["pg2-host-type"] == "tls"


SCHEDULE = {"full": "weekly", "differential": "daily", "verify": "daily", "copy": "hourly"}


def jobs(**often: str) -> dict[str, dict[str, Any]]:
    found = backup_jobs({**SCHEDULE, **often}, ["1", "2"], [{"name": "redis"}], "/database", "/copy")
    return {job["name"]: job for job in found}


def test_every_repository_has_its_jobs() -> None:
    found = jobs()
    assert sorted(found) == ["copy-redis", "differential-1", "differential-2", "full-1", "full-2", "verify-1",
                             "verify-2", "verify-redis"]  # fmt: skip
    assert found["full-2"]["command"] == ["/database", "backup", "--kind", "full", "--repository", "2"]
    assert found["verify-1"]["command"] == ["/database", "verify", "--repository", "1"]
    assert found["verify-redis"]["command"] == ["/copy", "verify", "redis"]
    assert (found["full-1"]["user"], found["copy-redis"]["user"]) == ("postgres", "root")


def test_a_job_runs_at_its_time_and_its_result_may_be_so_old() -> None:
    found = jobs()
    assert found["full-1"]["time"] == "Sun *-*-* 01:00:00"
    assert found["full-1"]["maximum_age_seconds"] > 7 * 86400
    assert found["copy-redis"]["time"] == "*-*-* *:45:00"
    assert 3600 < found["copy-redis"]["maximum_age_seconds"] < 2 * 3600


def test_what_cannot_run_so_often_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"'full' cannot run 'hourly'. Legal: daily, weekly"):
        jobs(full="hourly")


def test_a_job_is_a_service_and_a_timer_and_a_new_time_restarts_the_timer_alone() -> None:
    files = {file["path"]: file["units"] for file in backup_job_files([jobs()["full-1"]])}
    assert files == {
        "/etc/systemd/system/backup-full-1.service": [],
        "/etc/systemd/system/backup-full-1.timer": ["backup-full-1.timer"],
    }
