#!/usr/bin/python3
"""Tell whether this node's etcd or Patroni is back, so that the next node may be restarted.

Exit status 0: it is back, or waiting cannot help at the very first start. etcd needs a majority of its founders; and
Patroni uses no etcd whose cluster has not agreed on a version, which takes all founders.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENVIRONMENT_FILE = "/etc/default/etcd"
# What a cluster says until all its founders have met once; it keeps what they agreed on afterwards.
UNDECIDED_VERSION = "3.0.0"


def read_environment(path: str) -> dict[str, str]:
    """Read a file of NAME=value lines."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))


def listens(url: str) -> bool:
    """Tell whether something accepts connections at the URL."""
    host, port = url.removeprefix("https://").rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def majority_runs(environment: Mapping[str, str]) -> bool:
    """Tell whether enough members run for them to agree on anything."""
    urls = [pair.split("=", 1)[1] for pair in environment["ETCD_INITIAL_CLUSTER"].split(",")]
    return sum(map(listens, urls)) > len(urls) // 2


def get(url: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read a JSON document, whatever the status it comes with."""
    context = ssl.create_default_context(cafile=environment["ETCD_TRUSTED_CA_FILE"])
    context.load_cert_chain(environment["ETCD_CERT_FILE"], environment["ETCD_KEY_FILE"])
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - the scheme is https
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def etcd_is_back(environment: Mapping[str, str]) -> bool:
    """Tell whether this member takes part in a cluster that has a leader."""
    return get("https://127.0.0.1:2379/health", environment).get("health") == "true"


def member_is_back(name: str, cluster: Mapping[str, Any], leader: Mapping[str, Any] | None) -> bool:
    """Tell whether this member is the leader, or is fed by it."""
    member = next((one for one in cluster.get("members", []) if one["name"] == name), None)
    if member is None or member.get("state") != "running":
        return False
    if member.get("role") in ("leader", "standby_leader"):
        return True
    if leader is None:
        return False
    return any(
        feed.get("application_name") == name and feed.get("state") == "streaming"
        for feed in leader.get("replication", [])
    )


def patroni_is_back(environment: Mapping[str, str]) -> bool:
    """Ask this node's Patroni about the cluster, and the leader who feeds it."""
    if get("https://127.0.0.1:2379/version", environment).get("etcdcluster") == UNDECIDED_VERSION:
        print("Not all founders of etcd have started: there is nothing to wait for yet.")
        return True
    cluster = get("https://127.0.0.1:8008/cluster", environment)
    url = next((one["api_url"] for one in cluster.get("members", []) if one.get("role") == "leader"), None)
    return member_is_back(environment["ETCD_NAME"], cluster, get(url, environment) if url else None)


def main() -> None:
    """Exit 0 when the part that the first argument names is back."""
    environment = read_environment(ENVIRONMENT_FILE)
    if not majority_runs(environment):
        print("Fewer than a majority of the nodes run: there is nothing to wait for yet.")
        return
    check = {"etcd": etcd_is_back, "patroni": patroni_is_back}[sys.argv[1]]
    try:
        back = check(environment)
    except OSError as error:
        sys.exit(f"{sys.argv[1]} does not answer yet: {error}")
    sys.exit(0 if back else f"{sys.argv[1]} is not back yet.")


if __name__ == "__main__":
    main()
