#!/usr/bin/python3
"""Run a part of the object store. Debian packs Swift's own programs one by one, each with a unit that starts at once;
these are the ones that are wanted, out of the library.

object_store.py rings             write where objects lie: on the one disk of this machine
object_store.py serve SERVER      run a server: account, container, object or proxy
object_store.py care DAEMON       let a daemon go once through all that is stored, as object-auditor
object_store.py ready PORT        tell whether a port of this machine takes connections
"""

from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path

CONFIGURATION = Path("/etc/swift")
# The daemons that a store on one disk has work for, with the class of each.
DAEMONS = {
    "object-updater": ("swift.obj.updater", "ObjectUpdater"),
    "object-auditor": ("swift.obj.auditor", "ObjectAuditor"),
    "object-replicator": ("swift.obj.replicator", "ObjectReplicator"),
    "container-updater": ("swift.container.updater", "ContainerUpdater"),
    "container-replicator": ("swift.container.replicator", "ContainerReplicator"),
}
# Directories on the disk, as a power of two: Swift asks for about a hundred, and the number cannot be changed later.
PARTITION_POWER = 7


def rings() -> None:
    """Write a ring for each kind of thing that is kept, where there is none."""
    from swift.common.ring import RingBuilder
    from swift.common.utils import readconf

    for kind in ("account", "container", "object"):
        ring = CONFIGURATION / f"{kind}.ring.gz"
        if ring.exists():
            continue
        settings = readconf(str(CONFIGURATION / f"{kind}-server.conf"), f"app:{kind}-server")
        builder = RingBuilder(PARTITION_POWER, 1, 1)
        device = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "disk"}
        place = {"ip": settings["bind_ip"], "port": int(settings["bind_port"])}
        builder.add_dev({**device, **place, "replication_ip": place["ip"], "replication_port": place["port"]})
        builder.rebalance()
        builder.get_ring().save(str(ring))
        print(f"made {ring}")


def serve(kind: str) -> int:
    """Run a server until it is told to end; return its exit code."""
    from swift.common.wsgi import run_wsgi

    options = {}
    if kind == "object":
        options["global_conf_callback"] = importlib.import_module("swift.obj.server").global_conf_callback
    return int(run_wsgi(str(CONFIGURATION / f"{kind}-server.conf"), f"{kind}-server", **options) or 0)


def care(name: str) -> None:
    """Let a daemon go through everything once."""
    from swift.common.daemon import run_daemon

    module, daemon = DAEMONS[name]
    configuration = CONFIGURATION / f"{name.partition('-')[0]}-server.conf"
    run_daemon(getattr(importlib.import_module(module), daemon), str(configuration), once=True)


def ready(port: str) -> None:
    """End with an error when nothing listens."""
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=2).close()
    except OSError as error:
        sys.exit(f"Port {port} does not answer yet: {error}")


def main() -> None:
    """Do what the first argument says."""
    verb, *arguments = sys.argv[1:]
    sys.exit({"rings": rings, "serve": serve, "care": care, "ready": ready}[verb](*arguments))


if __name__ == "__main__":
    main()
