#!/usr/bin/python3
"""Decide, before etcd starts, how this node joins: with its own data, in a new cluster, or in a living one.

A node that has its data needs nothing. A node without data asks the others. If none of them answers, this is the very
first start, and all begin the cluster together. If one answers, the cluster lives: the member that this node was
before, with data that is gone, is removed, and the node is added as a new member. So a rebuilt host joins by itself.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JOIN_FILE = "/run/etcd/join.env"
# A founder that waits for a majority accepts connections and says nothing: do not wait long for it.
TIMEOUT = 3


class RefusedError(Exception):
    """A living cluster answered, but did not do what it was asked."""


def client_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Trust the platform's authority, and show this host's certificate."""
    context = ssl.create_default_context(cafile=environment["ETCD_TRUSTED_CA_FILE"])
    context.load_cert_chain(environment["ETCD_CERT_FILE"], environment["ETCD_KEY_FILE"])
    return context


class Client:
    """The members' API of one living etcd server."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        """Speak to the server at this client URL."""
        self._url = url
        self._context = context

    def call(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call one method of the cluster service."""
        message = urllib.request.Request(  # noqa: S310 - the scheme is https, from our own configuration
            f"{self._url}/v3/cluster/member/{method}",
            json.dumps(request).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(message, timeout=TIMEOUT, context=self._context) as answer:  # noqa: S310
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise RefusedError(
                f"{self._url} refused to {method} a member: {error.read().decode(errors='replace')}"
            ) from error

    def members(self) -> list[dict[str, Any]]:
        """List the members."""
        return list(self.call("list", {}).get("members", []))


def members_of_living_cluster(urls: list[str], context: ssl.SSLContext) -> tuple[Client, list[dict[str, Any]]] | None:
    """Return the first server that answers and its members; None when nobody does."""
    for url in urls:
        client = Client(url, context)
        try:
            return client, client.members()
        except OSError as error:
            print(f"{url}: {error}", file=sys.stderr)
    return None


def must_be_added(members: list[dict[str, Any]], peer_url: str) -> tuple[bool, str | None]:
    """Tell whether this node must be added, and which of its former selves is removed before.

    A member that never started has no client URL. With a name it is one of the founders that the cluster still waits
    for; without a name it was added by an earlier run of this program.
    """
    for member in members:
        if peer_url in member.get("peerURLs", []):
            if member.get("clientURLs"):
                return True, str(member["ID"])
            return False, None
    return True, None


def is_founder(members: list[dict[str, Any]], peer_url: str) -> bool:
    """Tell whether the cluster still waits for the first start of this node."""
    return any(
        peer_url in member.get("peerURLs", []) and member.get("name") and not member.get("clientURLs")
        for member in members
    )


def initial_cluster(members: list[dict[str, Any]], name: str, peer_url: str) -> str:
    """Write the members as ETCD_INITIAL_CLUSTER wants them; a member that was only added has no name yet."""
    pairs = [
        (name if url == peer_url else str(member.get("name", "")), url)
        for member in members
        for url in member.get("peerURLs", [])
    ]
    return ",".join(f"{member_name}={url}" for member_name, url in sorted(pairs))


def join(environment: Mapping[str, str]) -> str | None:
    """Return the value of ETCD_INITIAL_CLUSTER for a living cluster; None when nothing has to be overridden."""
    if (Path(environment["ETCD_DATA_DIR"]) / "member").is_dir():
        return None
    name = environment["ETCD_NAME"]
    peer_url = environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"]
    others = [
        url.rsplit(":", 1)[0] + ":2379"
        for member, url in (pair.split("=", 1) for pair in environment["ETCD_INITIAL_CLUSTER"].split(","))
        if member != name
    ]
    found = members_of_living_cluster(others, client_context(environment))
    if found is None:
        print("No other member answers: this is the first start of the cluster.")
        return None
    client, members = found
    if is_founder(members, peer_url):
        return None
    add, former = must_be_added(members, peer_url)
    if former is not None:
        print(f"Removing the former member {former}, whose data is gone.")
        client.call("remove", {"ID": former})
    if add:
        print(f"Adding {name} as a new member.")
        client.call("add", {"peerURLs": [peer_url]})
    return initial_cluster(client.members(), name, peer_url)


def main() -> None:
    """Write the file that etcd's unit reads, when the cluster lives already."""
    for attempt in range(10):
        try:
            cluster = join(os.environ)
            break
        except RefusedError as error:
            # A cluster that has just lost or gained a member says no until its members are in touch again.
            print(error, file=sys.stderr)
            time.sleep(1 + attempt)
    else:
        sys.exit("The living cluster does not let this node in; systemd tries again.")
    if cluster is not None:
        Path(JOIN_FILE).write_text(
            f"ETCD_INITIAL_CLUSTER={cluster}\nETCD_INITIAL_CLUSTER_STATE=existing\n", encoding="ascii"
        )


if __name__ == "__main__":
    main()
