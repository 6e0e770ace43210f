#!/usr/bin/python
"""Back databases and buckets up now, and copy the backups to another region."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_backup
short_description: Back databases and buckets up now, and copy the backups to another region
version_added: "0.2.0"
description:
  - Starts an AWS Backup job for each resource, all at the same time, into the vault that the backup plan of the
    environment uses, so that what is made by hand is locked, encrypted, kept and expired like everything else.
  - Waits for the backups, and for their copies in the other region.
  - A backup of the same name that is there is not made again; its copy is, where it is missing.
options:
  resources:
    description: The ARNs of what is backed up.
    type: list
    elements: str
    required: true
  vault:
    description: The vault.
    type: str
    required: true
  role:
    description: The ARN of the role by which AWS Backup reads them.
    type: str
    required: true
  name:
    description: What the backups are called, to be restored by.
    type: str
    default: ""
  kind:
    description: What they were made for, as a tag.
    type: str
    default: full
  retention_days:
    description: How long they are kept.
    type: int
    required: true
  copy_to:
    description: The ARN of the vault that they are copied to.
    type: str
  region:
    description: The region of the resources.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.aws.waiting]
attributes:
  check_mode:
    support: full
    description: Says what would be backed up.
  diff_mode:
    support: full
    description: Shows the backups before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_restore
"""

EXAMPLES = r"""
- name: Back the database up before a migration
  gym.platform.aws_backup:
    resources: [arn:aws:rds:eu-west-1:123456789012:db:gym-production-1]
    vault: gym-production
    role: arn:aws:iam::123456789012:role/gym-production-backup
    name: before-migration
    retention_days: 35
    region: eu-west-1
"""

RETURN = r"""
backups:
  description: One record for each resource.
  returned: success
  type: list
  elements: dict
  contains:
    resource: {description: The ARN of what was backed up., type: str}
    arn: {description: The ARN of the backup; empty in check mode., type: str}
    made: {description: When it was made., type: str}
    size: {description: Its bytes., type: int}
    copy: {description: The ARN of its copy; empty without one., type: str}
    new: {description: Whether it was made now., type: bool}
seconds:
  description: How long it took.
  returned: success
  type: float
text:
  description: The backups in words, a line for each.
  returned: success
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_backup import KIND_TAG, Point, Vault, copy_there
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, WAITING, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import LABEL_TAG
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Clock

GIGABYTE = 1 << 30


def run(options: dict[str, Any], client: Callable[[str, str], Any], check: bool) -> dict[str, Any]:
    """Look for what is there, make what is missing, copy, report. Raises RequestError."""
    clock, label = Clock(), options["name"]
    here = Vault(options["vault"], options["region"], client, options["timeout"])
    there = other_vault(options["copy_to"], client, options["timeout"])
    known = {one: here.labelled(one, label) if label else None for one in options["resources"]}
    before = {resource: point.arn for resource, point in known.items() if point}
    copies = {
        resource: copy_there(resource, point.arn, label, there) for resource, point in known.items() if point and there
    }
    missing = [resource for resource, point in known.items() if point is None]
    to_copy = [resource for resource in known if there and not copies.get(resource)]
    if not check:
        tags = {KIND_TAG: options["kind"], **({LABEL_TAG: label} if label else {})}
        # All begin before any is waited for.
        jobs = {one: here.begin(one, options["role"], options["retention_days"], tags) for one in missing}
        known |= {resource: here.backed_up(job) for resource, job in jobs.items()}
        copying = {
            resource: here.copy(point, options["copy_to"], options["role"], options["retention_days"])
            for resource, point in known.items()
            if point and resource in to_copy
        }
        copies |= {resource: here.copied(job) for resource, job in copying.items()}
    backups = [told(resource, point, copies.get(resource), resource in missing) for resource, point in known.items()]
    return {
        "changed": bool(missing or to_copy),
        "backups": backups,
        "seconds": clock.seconds(),
        "text": [sentence(backup) for backup in backups],
        "diff": {
            "before": before,
            "after": {backup["resource"]: backup["arn"] or "a new backup" for backup in backups},
        },
    }


def other_vault(arn: str | None, client: Callable[[str, str], Any], timeout: float) -> Vault | None:
    """Return the vault that backups are copied to, if any."""
    if not arn:
        return None
    parts = arn.split(":")
    return Vault(parts[6], parts[3], client, timeout)


def told(resource: str, point: Point | None, copy: str | None, new: bool) -> dict[str, Any]:
    """Return what is told of a backup; in check mode there may be none yet."""
    found = asdict(point) if point else {"resource": resource, "arn": "", "made": "", "size": 0}
    return {**found, "copy": copy or "", "new": new}


def sentence(backup: Mapping[str, Any]) -> str:
    """Say a backup in one line."""
    name = backup["resource"].rpartition(":")[2]
    if not backup["arn"]:
        return f"{name}: would be backed up"
    made = f"made at {backup['made']}" + ("" if backup["new"] else ", there already")
    copied = f"; copied as {backup['copy']}" if backup["copy"] else ""
    return f"{name}: {backup['arn']}, {backup['size'] / GIGABYTE:.1f} GiB, {made}{copied}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "resources": {"type": "list", "elements": "str", "required": True},
            "vault": {"type": "str", "required": True},
            "role": {"type": "str", "required": True},
            "name": {"type": "str", "default": ""},
            "kind": {"type": "str", "default": "full"},
            "retention_days": {"type": "int", "required": True},
            "copy_to": {"type": "str"},
            **WAITING,
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    finish(module, lambda client: run(module.params, client, module.check_mode))


if __name__ == "__main__":
    main()
