#!/usr/bin/python
"""Make a read replica an instance of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_rds_promote
short_description: Make a read replica a database of its own
version_added: "0.2.0"
description:
  - Promotes a read replica, and waits until it takes writes. It does not follow its source any more after that.
  - An instance that is no replica is left alone, but for the retention of its backups.
  - A replica that does not replicate, and so lacks writes, is not promoted unless O(force=true).
options:
  name:
    description: The replica.
    type: str
    required: true
  backup_retention_days:
    description: How long its backups are kept from then on; a replica has none of its own.
    type: int
    default: 35
  force:
    description: Whether to promote a replica whose replication has stopped. The writes that it lacks are lost.
    type: bool
    default: false
  region:
    description: The region of the replica.
    type: str
    required: true
  timeout:
    description: How many seconds to wait for it.
    type: int
    default: 3600
extends_documentation_fragment: [gym.platform.aws]
attributes:
  check_mode:
    support: full
    description: Says whether it would be promoted.
  diff_mode:
    support: full
    description: Shows its source and its retention before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_restore
"""

EXAMPLES = r"""
- name: Take over from the region that is lost
  gym.platform.aws_rds_promote:
    name: gym-production-1-dr
    region: eu-central-1
"""

RETURN = r"""
endpoint:
  description: The address of the instance.
  returned: success
  type: str
source:
  description: What it was a replica of.
  returned: when it was one
  type: str
seconds:
  description: How long it took until it was an instance of its own; 0 where it already was.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, RequestError, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Clock, Instances


def run(options: dict[str, Any], client: Any, check: bool) -> dict[str, Any]:
    """Read, check, promote, report. Raises RequestError."""
    instances = Instances(client, options["timeout"])
    name, days = options["name"], options["backup_retention_days"]
    found = instances.get(name)
    source = found.get("ReadReplicaSourceDBInstanceIdentifier")
    before = {"replica_of": source, "backup_retention_days": found.get("BackupRetentionPeriod", 0)}
    after = {"replica_of": None, "backup_retention_days": days}
    clock = Clock()
    if source and not options["force"]:
        refuse_stopped(found)
    if before != after and not check:
        found = instances.promote(name, days) if source else instances.put_back(name, {"backup_retention_days": days})
    return {
        "changed": before != after,
        "endpoint": (found.get("Endpoint") or {}).get("Address"),
        "source": source,
        "seconds": clock.seconds() if source and not check else 0.0,
        "diff": {"before": before, "after": after},
    }


def refuse_stopped(replica: dict[str, Any]) -> None:
    """Refuse a replica that has stopped to replicate. Raises RequestError."""
    for info in replica.get("StatusInfos", []):
        if info.get("StatusType") == "read replication" and info.get("Status") != "replicating":
            raise RequestError(
                f"The replica '{replica['DBInstanceIdentifier']}' does not replicate ({info.get('Status')}:"
                f" {info.get('Message') or 'no message'}), so it lacks writes: repair it, or say force: true."
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "backup_retention_days": {"type": "int", "default": 35},
            "force": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 3600},
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    options = module.params
    finish(module, lambda client: run(options, client("rds", options["region"]), module.check_mode))


if __name__ == "__main__":
    main()
