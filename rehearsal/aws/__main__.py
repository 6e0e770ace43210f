"""Serve a rehearsal of AWS on an unused port of this machine: `python -m rehearsal.aws <region> <file>`.

The file gets the address as soon as the cloud answers, as JSON: `pid` and `endpoint`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from rehearsal.aws.ready import announce


def main(region: str, ready: Path) -> None:
    """Listen, register what MiniStack lacks, and serve until the process is ended."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    # MiniStack reads these when it is imported. Nothing leaves this machine, and no container is started.
    os.environ |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        "DOCKER_HOST": "unix:///nonexistent",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }
    from rehearsal.aws import cloud

    cloud.serve(listener, region, lambda: announce(ready, port))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
