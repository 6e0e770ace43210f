#!/usr/bin/python
"""Have everything in the archive that a database has committed until now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_archived
short_description: Have everything in the archive that a PostgreSQL database has committed until now
version_added: "0.2.0"
description:
  - Finishes the WAL segment that is being written, and waits until it is archived. A restoration to the newest moment
    then has all of it, and one to a moment of the last minute can tell that this moment was reached, however quiet the
    database is.
  - Run it on every node of a cluster - on a standby the module does nothing.
options:
  socket_directory:
    description: Where the server's socket is.
    type: path
    default: /run/postgresql
  timeout:
    description: Seconds that archiving may take.
    type: int
    default: 60
requirements: [psycopg2]
attributes:
  check_mode:
    support: full
    description: Nothing is done.
  diff_mode:
    support: none
    description: Nothing of the database is changed.
author: The gym platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Have everything in the archive that was written until now
  gym.platform.postgresql_archived:
"""

RETURN = r"""
segment:
  description: The last segment; empty on a standby.
  type: str
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import psycopg2
except ImportError:
    psycopg2 = None

POLL_SECONDS = 0.2


def finish_segment(cursor: Any) -> str:
    """Commit something that has a time, end the segment behind it, and return the segment's name."""
    cursor.execute("SELECT pg_current_xact_id()")
    # The name of the segment in which the switch was written, and not of the one that begins behind it.
    cursor.execute("SELECT pg_walfile_name(pg_switch_wal())")
    return str(cursor.fetchone()[0])


def is_archived(cursor: Any, segment: str) -> bool:
    """Tell whether a segment, and so all before it, is archived; segments of one timeline are in the order of names."""
    cursor.execute("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
    return str(cursor.fetchone()[0]) >= segment


def wait(cursor: Any, segment: str, timeout: float) -> bool:
    """Wait until a segment is archived."""
    end = time.monotonic() + timeout
    while not is_archived(cursor, segment):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket_directory": {"type": "path", "default": "/run/postgresql"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    options = module.params
    try:
        connection = psycopg2.connect(
            host=options["socket_directory"],
            dbname="postgres",
            user="postgres",
            application_name="ansible",
            connect_timeout=10,
        )
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT pg_is_in_recovery()")
        if module.check_mode or cursor.fetchone()[0]:
            module.exit_json(changed=False, segment="")
        segment = finish_segment(cursor)
        archived = wait(cursor, segment, options["timeout"])
    except psycopg2.Error as error:
        module.fail_json(msg=f"PostgreSQL does not answer: {' '.join(str(error).split())}")
    if not archived:
        module.fail_json(
            msg=f"WAL segment {segment} was not archived within {options['timeout']} s: pg_stat_archiver says since"
            " when, and PostgreSQL's log why."
        )
    module.exit_json(changed=False, segment=segment)


if __name__ == "__main__":
    main()
