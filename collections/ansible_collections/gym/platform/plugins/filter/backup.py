"""What pgBackRest is told, from the records of machines and repositories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

CIPHER = "aes-256-cbc"
HTTPS_PORT = 443

Settings = dict[str, str | int]


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


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {
            "pgbackrest_repositories": pgbackrest_repositories,
            "pgbackrest_databases": pgbackrest_databases,
        }
