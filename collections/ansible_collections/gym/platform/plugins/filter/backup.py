"""What pgBackRest is told, from the records of machines and repositories, and what runs at which times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

CIPHER = "aes-256-cbc"
HTTPS_PORT = 443

Settings = dict[str, str | int]

DATABASE_USER = "postgres"
# Without a login session, which would be two lines of the journal every minute.
AS_DATABASE_USER = ["setpriv", f"--reuid={DATABASE_USER}", f"--regid={DATABASE_USER}", "--init-groups"]
# When a kind runs that is wanted so often, in systemd's words. What reads everything is at night, hours apart.
TIMES = {
    ("full", "daily"): "*-*-* 01:00:00",
    ("full", "weekly"): "Sun *-*-* 01:00:00",
    ("differential", "hourly"): "*-*-* *:15:00",
    ("differential", "daily"): "*-*-* 13:00:00",
    ("verify", "daily"): "*-*-* 04:00:00",
    ("verify", "weekly"): "Sun *-*-* 04:00:00",
    ("copy", "hourly"): "*-*-* *:45:00",
    ("copy", "daily"): "*-*-* 02:00:00",
}
# How old a result may be, in seconds: the period, and what a run may be late and may take.
MAXIMUM_AGES = {"hourly": 5400, "daily": 93600, "weekly": 615600}


def pgbackrest_repositories(
    repositories: Sequence[Mapping[str, Any]],
    host: str,
    retention_days: int,
    differentials: int,
    tls: Mapping[str, Any],
) -> Settings:
    """Return the settings of all repositories as `host` needs them; the first one is repo1.

    The machine that keeps a repository reads and writes it and knows its passphrase. All others ask that machine, and
    are told neither where it is nor how to open it. An object store is asked by everybody.
    """
    settings: Settings = {}
    for number, repository in enumerate(repositories, 1):
        kept = repository.get("machine")
        if kept is not None and kept != host:
            found: Settings = _remote(kept, tls)
        else:
            found = {
                **(_object_store(repository, tls) if kept is None else {"type": "posix"}),
                "path": repository["path"],
                "cipher-type": CIPHER,
                "cipher-pass": repository["passphrase"],
                # Small files share one, which an object store answers for much sooner.
                "bundle": "y",
                "retention-full-type": "time",
                "retention-full": retention_days,
                "retention-diff": differentials,
            }
        settings |= {f"repo{number}-{word}": value for word, value in found.items()}
    return settings


def pgbackrest_databases(
    databases: Sequence[str], host: str, data_directory: str, socket_directory: str, tls: Mapping[str, Any]
) -> Settings:
    """Return where the cluster's databases are: on a machine of the cluster its own, elsewhere all of them."""
    places: Sequence[Settings] = [{}] if host in databases else [_remote(name, tls) for name in databases]
    own: Settings = {"path": data_directory, "socket-path": socket_directory}
    return {
        f"pg{number}-{word}": value
        for number, place in enumerate(places, 1)
        for word, value in {**place, **own}.items()
    }


def _remote(name: str, tls: Mapping[str, Any]) -> Settings:
    """Return how another machine's pgBackRest is asked: both sides show certificates."""
    return {
        "host": name,
        "host-type": "tls",
        "host-port": tls["port"],
        "host-cert-file": tls["certificate"],
        "host-key-file": tls["key"],
        "host-ca-file": tls["authority"],
    }


def _object_store(repository: Mapping[str, Any], tls: Mapping[str, Any]) -> Settings:
    """Return how an object store is asked that speaks S3. Raises AnsibleFilterError for an address without TLS."""
    address = urlsplit(str(repository["endpoint"]))
    if address.scheme != "https" or not address.hostname or address.path.strip("/"):
        raise AnsibleFilterError(
            f"backup_repository_repositories: the endpoint '{repository['endpoint']}' must be https://<name> or"
            " https://<name>:<port>, because backups go nowhere without TLS."
        )
    return {
        "type": "s3",
        "s3-endpoint": address.hostname,
        "storage-port": address.port or HTTPS_PORT,
        "storage-ca-file": tls["authority"],
        # The bucket in the path and not in the host's name, for which a store of ours has no certificate.
        "s3-uri-style": "path",
        "s3-region": repository["region"],
        "s3-bucket": repository["bucket"],
        "s3-key": repository["access_key"],
        "s3-key-secret": repository["secret_key"],
    }


def backup_jobs(
    schedule: Mapping[str, str],
    repositories: Sequence[str],
    copies: Sequence[Mapping[str, Any]],
    database_program: str,
    copy_program: str,
) -> list[dict[str, Any]]:
    """Return what runs by itself, a record for each unit, from how often each kind is wanted.

    Args:
        schedule: By kind (`full`, `differential`, `verify`, `copy`), how often: hourly, daily or weekly.
        repositories: The names of the database's repositories.
        copies: The records of what is copied besides.
        database_program: The program that backs the database up.
        copy_program: The program that makes copies.
    """
    of_the_database = [
        {
            **_timed(kind, name, schedule[kind]),
            "source": "database",
            "user": DATABASE_USER,
            "command": [database_program, *words, "--repository", name],
            "describe": [*AS_DATABASE_USER, database_program, "describe"],
        }
        for kind, words in (
            ("full", ["backup", "--kind", "full"]),
            ("differential", ["backup", "--kind", "differential"]),
            ("verify", ["verify"]),
        )
        for name in repositories
    ]
    of_directories = [
        {
            **_timed(kind, copy["name"], schedule[kind]),
            "source": copy["name"],
            # Directories belong to many users.
            "user": "root",
            "command": [copy_program, verb, copy["name"]],
            "describe": [copy_program, "describe", copy["name"]],
        }
        for kind, verb in (("copy", "backup"), ("verify", "verify"))
        for copy in copies
    ]
    return of_the_database + of_directories


def _timed(kind: str, repository: str, often: str) -> dict[str, Any]:
    """Return what is to be done, when, and how old its result may be.

    Raises AnsibleFilterError for a kind that cannot be had so often.
    """
    if (kind, often) not in TIMES:
        legal = ", ".join(each for wanted, each in TIMES if wanted == kind)
        raise AnsibleFilterError(f"backup_schedule: '{kind}' cannot run '{often}'. Legal: {legal}.")
    return {
        "name": f"{kind}-{repository}",
        "kind": kind,
        "repository": repository,
        "time": TIMES[kind, often],
        "maximum_age_seconds": MAXIMUM_AGES[often],
    }


def backup_job_files(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the unit files of all jobs, as records for gym.platform.config_files."""
    return [
        {
            "path": f"/etc/systemd/system/backup-{job['name']}.{kind}",
            "template": f"job.{kind}.j2",
            "variables": {"job": job},
            "units": [f"backup-{job['name']}.timer"] if kind == "timer" else [],
        }
        for job in jobs
        for kind in ("service", "timer")
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {
            "pgbackrest_repositories": pgbackrest_repositories,
            "pgbackrest_databases": pgbackrest_databases,
            "backup_jobs": backup_jobs,
            "backup_job_files": backup_job_files,
        }
