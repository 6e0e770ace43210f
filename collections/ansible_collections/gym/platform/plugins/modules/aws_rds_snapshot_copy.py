#!/usr/bin/python
"""Copy a database snapshot to another region."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_rds_snapshot_copy
short_description: Copy a database snapshot to another region, under a key of that region
version_added: "0.2.0"
description:
  - Copies a snapshot, or the newest one of an instance, and waits until the copy is there.
  - A copy of the same snapshot under the same name is not made again.
options:
  snapshot:
    description: The snapshot. Exactly one of this and O(instance).
    type: str
  instance:
    description: The instance whose newest finished snapshot is copied.
    type: str
  source_region:
    description: The region that the snapshot is in.
    type: str
    required: true
  target:
    description: The name of the copy; that of the snapshot by default, without the C(rds:) of automatic ones.
    type: str
  kms_key:
    description: The key in O(region), as an id, an ARN or an alias. Needed where the snapshot is encrypted.
    type: str
  region:
    description: The region that it is copied to.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.aws.waiting]
attributes:
  check_mode:
    support: full
    description: Says whether it would be copied.
  diff_mode:
    support: full
    description: Shows the copy before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_restore
"""

EXAMPLES = r"""
- name: Keep the newest snapshot in the other region
  gym.platform.aws_rds_snapshot_copy:
    instance: gym-production-1
    source_region: eu-west-1
    region: eu-central-1
    kms_key: alias/gym-production-data
"""

RETURN = r"""
snapshot:
  description: The name of the copy.
  returned: success
  type: str
arn:
  description: The ARN of the copy.
  returned: when it exists
  type: str
source:
  description: The ARN of what was copied.
  returned: success
  type: str
seconds:
  description: How long copying took; 0 where the copy was there.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, WAITING, RequestError, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Clock, Instances


def run(options: dict[str, Any], there: Any, here: Any, check: bool) -> dict[str, Any]:
    """Read there, compare with what is here, copy, report. Raises RequestError."""
    origin, instances = Instances(there, options["timeout"]), Instances(here, options["timeout"])
    source = find_source(origin, options)
    target = options["target"] or source["DBSnapshotIdentifier"].removeprefix("rds:")
    arn = source["DBSnapshotArn"]
    existing = instances.snapshot(target)
    if existing and existing.get("SourceDBSnapshotIdentifier") != arn:
        of = existing.get("SourceDBSnapshotIdentifier") or "nothing else"
        raise RequestError(f"'{target}' exists in {options['region']} and is a copy of {of}: give another target.")
    if source.get("Encrypted") and not options["kms_key"]:
        raise RequestError(
            f"'{source['DBSnapshotIdentifier']}' is encrypted with a key that {options['region']} does not have:"
            " give a kms_key of that region."
        )
    clock = Clock()
    if not check:
        if existing is None:
            instances.copy(arn, options["source_region"], target, options["kms_key"])
        copied: dict[str, Any] | None = instances.settle_snapshot(target)
    else:
        copied = existing
    return {
        "changed": existing is None,
        "snapshot": target,
        "arn": (copied or {}).get("DBSnapshotArn"),
        "source": arn,
        "seconds": clock.seconds() if existing is None and not check else 0.0,
        "diff": {"before": {} if existing is None else {target: arn}, "after": {target: arn}},
    }


def find_source(origin: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be copied. Raises RequestError."""
    if options["instance"]:
        newest: dict[str, Any] = origin.newest_snapshot(options["instance"])
        return newest
    found: dict[str, Any] | None = origin.snapshot(options["snapshot"])
    if found is None:
        raise RequestError(f"There is no snapshot '{options['snapshot']}' in {options['source_region']}.")
    if found["Status"] != "available":
        raise RequestError(f"The snapshot '{options['snapshot']}' is '{found['Status']}': wait until it is available.")
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "snapshot": {"type": "str"},
            "instance": {"type": "str"},
            "source_region": {"type": "str", "required": True},
            "target": {"type": "str"},
            "kms_key": {"type": "str", "no_log": False},
            **WAITING,
            **CONNECTION,
        },
        mutually_exclusive=[("snapshot", "instance")],
        required_one_of=[("snapshot", "instance")],
        supports_check_mode=True,
    )
    options = module.params
    finish(
        module,
        lambda client: run(
            options, client("rds", options["source_region"]), client("rds", options["region"]), module.check_mode
        ),
    )


if __name__ == "__main__":
    main()
