"""Serve AWS's API outside stacks on an unused port of this machine: `python -m rehearsal.aws.moto_server <file>`.

The file gets the address as soon as moto answers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from rehearsal.aws import moto_rds
from rehearsal.aws.ready import announce


def main(ready: Path) -> None:
    """Serve until the process is ended."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    moto_rds.mend()
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    announce(ready, server.port)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
