#!/usr/bin/python
"""Keep all configuration files of a role as they have to be, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: config_files
short_description: Keep many files as they have to be, in one call
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - All files, directories and links of a role in one task. Templates are rendered on the controller, with the task's
    variables, and everything goes to the host in a single module call.
  - Each file is written beside its path and renamed over it. All O(files[].validate) commands run before the first
    file is replaced; when one refuses, nothing is changed.
  - Before a file is replaced, a marker is left for each of its units, and C(gym.platform.systemd_units) removes it once
    the unit runs with the new file. So an interrupted run is completed by the next one.
  - A file whose content was neither written by this module nor is the wanted one is copied away before it is replaced.
  - Missing parent directories are made, owned by root, with mode 0755.
options:
  files:
    description: The paths, each at most once.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the host.
        type: str
        required: true
      state:
        description:
          - V(file) needs exactly one of O(files[].template), O(files[].content) and O(files[].source).
          - V(absent) removes a file, a link or an empty directory.
        type: str
        choices: [file, directory, absent, link]
        default: file
      template:
        description: Template of the role, rendered on the controller. An undefined variable is an error.
        type: str
      content:
        description: The content itself.
        type: str
      source:
        description: File of the role's C(files) directory, taken as it is.
        type: str
      content_base64:
        description: What the action plugin sends to the host instead of the three above. Not for playbooks.
        type: str
      variables:
        description: Variables for this template only, over those of the task.
        type: dict
      target:
        description: Where a V(link) points to.
        type: str
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      mode:
        description: Four octal digits in quotes. Files have 0644 and directories 0755 when it is left out.
        type: str
      validate:
        description:
          - Command that accepts the new file, where C(%s) stands for its name. No shell is involved.
          - Not run in check mode, where neither the program nor its other files need exist yet.
        type: str
      units:
        description: Units that have to be restarted when this path changes.
        type: list
        elements: str
        default: []
      reload:
        description: Reload the units instead.
        type: bool
        default: false
      sensitive:
        description: Never show the content in a diff.
        type: bool
        default: false
  pending_directory:
    description: Where the markers are left.
    type: path
    default: /run/gym-platform
  record:
    description: Where the fingerprints of what was written are kept.
    type: path
    default: /var/lib/gym-platform/config_files.json
  backup_directory:
    description: Where files that were changed by hand are copied to, below a directory named by the time (UTC).
    type: path
    default: /var/backups/gym-platform
attributes:
  check_mode:
    support: full
    description: Says what would change; owners and groups need not exist yet.
  diff_mode:
    support: full
    description: One before and after for each path that changes.
seealso:
  - module: gym.platform.systemd_units
"""

EXAMPLES = r"""
- name: Write the configuration of Redis
  gym.platform.config_files:
    files:
      - path: /etc/redis/redis.conf
        template: redis.conf.j2
        owner: redis
        group: redis
        mode: "0640"
        units: [redis-server.service]
        sensitive: true
      - path: /etc/systemd/system/redis-server.service.d/platform.conf
        source: platform.conf
        units: [redis-server.service]
      - path: /etc/haproxy/haproxy.cfg
        template: haproxy.cfg.j2
        validate: haproxy -c -f %s
        units: [haproxy.service]
        reload: true
      - path: /etc/nginx/sites-enabled/default
        state: absent
"""

RETURN = r"""
changed_files:
  description: The paths that changed, or would change in check mode.
  returned: always
  type: list
  elements: str
  sample: [/etc/redis/redis.conf]
restart:
  description: The units that have to be restarted because of it.
  returned: always
  type: list
  elements: str
  sample: [redis-server.service]
reload:
  description: The units that have to be reloaded because of it.
  returned: always
  type: list
  elements: str
  sample: []
backups:
  description: Copies of files that were changed by hand.
  returned: always
  type: list
  elements: str
  sample: [/var/backups/gym-platform/20250102T030405Z/etc/redis/redis.conf]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.config_file_changes import (
    Change,
    compare,
    consequences,
    describe,
    digest,
    find_gid,
    find_uid,
    inspect,
)
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import (
    STATES,
    Record,
    RecordError,
    parse_records,
)
from ansible_collections.gym.platform.plugins.module_utils.config_file_writer import Writer, Written
from ansible_collections.gym.platform.plugins.module_utils.pending import PENDING_DIRECTORY, Pending

FILE_OPTIONS = {
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": list(STATES), "default": "file"},
    "template": {"type": "str"},
    "content": {"type": "str", "no_log": True},
    "source": {"type": "str"},
    # Neither in the host's journal nor in the output; and never short enough to blot out other words there.
    "content_base64": {"type": "str", "no_log": True},
    "variables": {"type": "dict"},
    "target": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "validate": {"type": "str"},
    "units": {"type": "list", "elements": "str", "default": []},
    "reload": {"type": "bool", "default": False},
    "sensitive": {"type": "bool", "default": False},
}


def find_change(record: Record, check_mode: bool) -> Change | None:
    """Compare one record with the host."""
    if record.state == "file" and record.content is None:
        raise RecordError(f"{record.path}: its content is missing: call this module through its action plugin.")
    needs_owner = record.state in ("file", "directory")
    uid = find_uid(record, lenient=check_mode) if needs_owner else -1
    gid = find_gid(record, lenient=check_mode) if needs_owner else -1
    return compare(record, inspect(record.path), uid, gid)


def main() -> None:
    """Read, compare, apply, report."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": FILE_OPTIONS},
            "pending_directory": {"type": "path", "default": PENDING_DIRECTORY},
            "record": {"type": "path", "default": "/var/lib/gym-platform/config_files.json"},
            "backup_directory": {"type": "path", "default": "/var/backups/gym-platform"},
        },
        supports_check_mode=True,
    )
    backups: list[str] = []
    try:
        records = parse_records(module.params["files"])
        changes = [change for change in (find_change(record, module.check_mode) for record in records) if change]
        if not module.check_mode:
            written = Written(module.params["record"])
            if changes:
                pending = Pending(module.params["pending_directory"])
                writer = Writer(module.run_command, pending, written, module.params["backup_directory"])
                backups = writer.apply(changes)
            written.update(
                {record.path: digest(record.content) for record in records if record.content is not None},
                [record.path for record in records if record.state != "file"],
            )
    except RecordError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'A file'} could not be written or read: {error.strerror}.")
    after = consequences(changes)
    module.exit_json(
        changed=bool(changes),
        changed_files=[change.record.path for change in changes],
        restart=list(after.restart),
        reload=list(after.reload),
        backups=backups,
        diff=[describe(change) for change in changes] if module._diff else [],
    )


if __name__ == "__main__":
    main()
