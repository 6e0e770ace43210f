#!/usr/bin/python
"""Restore a PostgreSQL database out of a backup, and recover it to a moment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Restore a PostgreSQL database out of a backup of pgBackRest, and recover it to a moment
version_added: "0.2.0"
description:
  - Chooses the backup, refuses what cannot be before anything is touched, restores the files, recovers them to the
    moment, makes sure that this moment was reached, and only then lets the database be written to, on a timeline of
    its own.
  - The server recovers as a standby, so it never takes a hole in the archive for its end. What is missing is said, and
    what can be had instead.
  - A run that was interrupted is completed by the next one with the same options; files that are right are not copied
    again.
  - With O(place=beside) the server stays, as the unit C(database-restore@name). With O(place=in_place) it ends when the
    database is what it shall be, and whoever looks after the database there starts it.
options:
  state:
    description:
      - V(present) restores.
      - V(absent) removes what was restored beside; what was restored in place is replaced by what was there before.
      - V(finished) removes what was kept of the old database; it belongs to O(place=in_place).
    type: str
    choices: [present, absent, finished]
    default: present
  name:
    description: The name of the restored instance.
    type: str
    default: beside
  directory:
    description: Where the database is restored to. Beside, it is below O(work_directory), named by O(name).
    type: path
    required: true
  work_directory:
    description: Where settings, log and record of restored instances are.
    type: path
    default: /var/lib/postgresql/restore
  stanza:
    description: The database's name in pgBackRest.
    type: str
    required: true
  configuration:
    description: pgBackRest's configuration file, with the repositories in it.
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  to:
    description:
      - V(latest), or a time with its zone, or the label or the name of a backup.
      - A time is the first moment that is left out - give the time of the bad statement.
    type: str
    default: latest
  repository:
    description: The number of the repository; V(0) takes the first that can be restored from.
    type: int
    default: 0
  timeline:
    description: The timeline to follow; V(0) is the newest. What an earlier restore gave up is on an older one.
    type: int
    default: 0
  place:
    description: Whether the database is restored beside the live one or in its place.
    type: str
    default: beside
  environment:
    description: The environment whose database it is.
    type: str
    default: ""
  confirm:
    description: Has to be O(environment) for O(place=in_place).
    type: str
    default: ""
  part:
    description: The tenant or the table that alone is wanted of it; refused with O(place=in_place).
    type: str
    default: ""
  keep_old:
    description: Whether the old database is kept with O(place=in_place) until V(finished).
    type: bool
    default: true
  programs:
    description: Where PostgreSQL's programs are.
    type: path
    default: /usr/lib/postgresql/15/bin
  processes:
    description: How many processes copy and decompress; V(0) leaves it to pgBackRest's configuration.
    type: int
    default: 0
  settings:
    description: The settings of the server, in PostgreSQL's words.
    type: dict
    default: {}
  patience:
    description: Seconds for which more WAL is waited for, where the archive ends before recovery does.
    type: float
    default: 15
  timeout:
    description: Seconds that recovery may take after the files are restored.
    type: float
    default: 14400
requirements: [psycopg2, pgBackRest 2.41 or later]
attributes:
  check_mode:
    support: full
    description: Chooses and refuses, and says what would be restored.
  diff_mode:
    support: none
    description: A database is no text.
author: The gym platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Look at the database as it was before the bad statement
  gym.platform.postgresql_restore:
    directory: /var/lib/postgresql/restore/beside
    stanza: gym
    to: "2030-01-31T12:00:00Z"
    settings: {port: 5433, unix_socket_directories: /run/postgresql}
"""

RETURN = r"""
backup:
  description: The label of the backup that it began with.
  type: str
  returned: when it is or would be restored
repository:
  description: The number of the repository.
  type: int
  returned: when it is or would be restored
restored_to:
  description: What the database is, in words.
  type: str
  returned: when it is or would be restored
  sample: just before 2030-01-31T12:00:00Z
last_transaction:
  description: When the last transaction was committed that is in it; empty when recovery replayed none.
  type: str
  returned: when it is restored
left_out:
  description: When the first transaction was committed that is not in it any more, where a moment was given.
  type: str
  returned: when it is restored
bytes:
  description: The size of the restored files.
  type: int
  returned: when it is or would be restored
restore_seconds:
  description: How long the copying of the files took.
  type: float
  returned: when it is restored
seconds:
  description: How long it took from the start to the first query that was answered by the writable database.
  type: float
  returned: when it is restored
touched:
  description: Whether files of the directory were changed, or would be; no server may run in it then.
  type: bool
  returned: always
recovered:
  description: Whether the database is what it shall be; a restoration that was interrupted is not.
  type: bool
  returned: always
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.postgresql_recovery import RecoveryError
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import (
    IN_PLACE,
    Plan,
    RefusedError,
    Request,
    check_request,
    choose_repository,
    make_plan,
)
from ansible_collections.gym.platform.plugins.module_utils.restored_server import (
    Host,
    PgBackRest,
    Recovered,
    RestoredServer,
)

try:
    import psycopg2
except ImportError:
    psycopg2 = None


def restore(options: dict[str, Any], server: RestoredServer, check: bool) -> dict[str, Any]:
    """Read, refuse, restore, recover, record. Raises RefusedError and RecoveryError."""
    request = Request(
        to=options["to"],
        place=options["place"],
        environment=options["environment"],
        confirm=options["confirm"],
        repository=options["repository"],
        timeline=options["timeline"],
        part=options["part"],
    )
    check_request(request)
    asked = {key: options[key] for key in ("to", "repository", "timeline", "stanza")}
    record = server.record()
    if record.get("recovered") and record["asked"] == asked:
        return {**record, "changed": server.serve_again(check), "touched": False}
    if record.get("recovered") and request.place != IN_PLACE:
        raise RefusedError(
            f"'{options['name']}' was restored with restore_to={record['asked']['to']}, as {record['restored_to']}:"
            " remove it with -e restore_state=absent, or give another restore_name."
        )
    source = PgBackRest(options, Host())
    repository = choose_repository(request, source.numbers(), source.repository)
    plan = make_plan(request, source.with_history(repository, request), source.now(), server.disk())
    known = {"asked": asked, **describe(plan)}
    if check:
        return {**known, "recovered": False, "changed": True, "touched": True}
    begin = time.monotonic()
    server.make_way(known)
    source.restore(plan, server.directory, archives=server.in_place)
    copied = time.monotonic() - begin
    recovered = server.recover(plan)
    known |= {"restore_seconds": round(copied, 2), "seconds": round(time.monotonic() - begin, 2), **told(recovered)}
    server.keep({**known, "recovered": True})
    return {**known, "recovered": True, "changed": True, "touched": True}


def describe(plan: Plan) -> dict[str, Any]:
    """Return what is known before anything was done."""
    return {
        "backup": plan.backup.label,
        "repository": plan.repository,
        "restored_to": plan.restored_to,
        "bytes": plan.backup.size,
    }


def told(recovered: Recovered) -> dict[str, Any]:
    """Return what recovery has shown."""
    return {"last_transaction": recovered.last_transaction, "left_out": recovered.left_out}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "finished"], "default": "present"},
            "name": {"type": "str", "default": "beside"},
            "directory": {"type": "path", "required": True},
            "work_directory": {"type": "path", "default": "/var/lib/postgresql/restore"},
            "stanza": {"type": "str", "required": True},
            "configuration": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
            "to": {"type": "str", "default": "latest"},
            "repository": {"type": "int", "default": 0},
            "timeline": {"type": "int", "default": 0},
            "place": {"type": "str", "default": "beside"},
            "environment": {"type": "str", "default": ""},
            "confirm": {"type": "str", "default": ""},
            "part": {"type": "str", "default": ""},
            "keep_old": {"type": "bool", "default": True},
            "programs": {"type": "path", "default": "/usr/lib/postgresql/15/bin"},
            "processes": {"type": "int", "default": 0},
            "settings": {"type": "dict", "default": {}},
            "patience": {"type": "float", "default": 15},
            "timeout": {"type": "float", "default": 14400},
        },
        supports_check_mode=True,
    )
    options = module.params
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    server = RestoredServer(options, Host())
    try:
        with server.alone():
            if options["state"] == "present":
                result = restore(options, server, module.check_mode)
            else:
                result = server.leave(options["state"], module.check_mode)
    except (RefusedError, RecoveryError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
