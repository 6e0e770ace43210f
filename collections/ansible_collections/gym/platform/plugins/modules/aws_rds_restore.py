#!/usr/bin/python
"""Restore a database instance to a moment, and measure how long it takes until it is as it was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_rds_restore
short_description: Restore a database instance to a moment or a snapshot, here or from replicated backups
version_added: "0.2.0"
description:
  - Builds a new instance from the backups of another one, in its region or in the one that its backups are replicated
    to. The source is not touched.
  - A restored instance has AWS's defaults for what keeps others out and what makes it last. Its security groups,
    parameter group, second zone, retention, monitoring and the rest are put back, and only then is it finished. The
    time until then is what is measured.
  - An instance that was restored from the same source to the same moment or snapshot is not restored again; what
    differs from the wanted settings is put right.
options:
  source:
    description: The instance whose backups are restored.
    type: str
    required: true
  target:
    description: The new instance.
    type: str
    required: true
  time:
    description:
      - The moment, with its zone, such as V(2030-01-31T12:00:00Z), or V(latest), for which an instance that was
        restored from this source earlier is as good as a new one.
    type: str
    default: latest
  snapshot:
    description: A snapshot in O(region) by its name or by the one that a person gave it, instead of a moment.
    type: str
  replicated:
    description: Whether to restore from the backups that another region has replicated to O(region).
    type: bool
    default: false
  like:
    description: The instance in O(region) whose settings and subnets it gets; by default the source, if it is there.
    type: str
  subnet_group:
    description: The subnets that it is put into; those of O(like) by default.
    type: str
  settings:
    description:
      - What the restored instance has to have. What is left out is taken from O(like).
      - With O(replicated=true) and without O(like), O(settings.multi_az), O(settings.security_groups) and
        O(settings.parameter_group) are needed.
    type: dict
    default: {}
    suboptions:
      instance_class: {description: The class., type: str}
      multi_az: {description: Whether it has a standby in another zone., type: bool}
      security_groups: {description: Ids of its security groups., type: list, elements: str}
      parameter_group: {description: The name of its parameter group., type: str}
      storage_type: {description: The type of its storage., type: str}
      maximum_storage_gb: {description: How far its storage grows by itself., type: int}
      deletion_protection: {description: Whether it is protected from being deleted., type: bool}
      copy_tags_to_snapshot: {description: Whether snapshots get its tags., type: bool}
      iam_authentication: {description: Whether roles may log in., type: bool}
      certificate_authority: {description: Who signs the certificate that it shows., type: str}
      log_exports: {description: The logs that go to CloudWatch., type: list, elements: str}
      backup_retention_days: {description: How long its own backups are kept., type: int}
      backup_window: {description: When they are made., type: str}
      maintenance_window: {description: When minor versions are installed., type: str}
      performance_insights: {description: Whether queries are measured., type: bool}
      performance_insights_key: {description: The key of these measurements., type: str}
      monitoring_interval_seconds: {description: How often the machine is measured; 0 is never., type: int}
      monitoring_role: {description: The ARN of the role that writes these measurements., type: str}
      managed_password: {description: Whether RDS makes the master's password and replaces it., type: bool}
      managed_password_key: {description: The key of the secret with that password., type: str}
  region:
    description: The region of the new instance.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.aws.waiting]
attributes:
  check_mode:
    support: full
    description: Checks the source and the moment, and says what would be made.
  diff_mode:
    support: full
    description: Shows the settings of the target before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_takeover
  - module: gym.platform.aws_backup
"""

EXAMPLES = r"""
- name: Look at the database as it was at noon
  gym.platform.aws_rds_restore:
    source: gym-production-1
    target: gym-production-1-noon
    time: "2030-01-31T12:00:00Z"
    region: eu-west-1
    settings: {deletion_protection: false, multi_az: false}

- name: Bring the database up in the other region
  gym.platform.aws_rds_restore:
    source: gym-production-1
    target: gym-production-1
    replicated: true
    region: eu-central-1
    subnet_group: gym-production-dr
    settings:
      multi_az: true
      security_groups: [sg-0123456789abcdef0]
      parameter_group: gym-production-dr
"""

RETURN = r"""
endpoint:
  description: The address of the new instance.
  returned: when it exists
  type: str
port:
  description: The port at which it answers.
  returned: when it exists
  type: int
restored_to:
  description: The moment; of V(latest), the one that was the latest when it began. Or the snapshot.
  returned: success
  type: str
  sample: "2030-01-31T12:00:00Z"
put_back:
  description: The settings that the new instance lacked, or that the wanted ones would have changed.
  returned: success
  type: list
  elements: str
  sample: [backup_retention_days, monitoring_interval_seconds]
seconds_until_available:
  description: How long it took until the instance was available; 0 where it already was.
  returned: success
  type: float
seconds:
  description: How long it took until everything was put back as well.
  returned: success
  type: float
"""

import datetime
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, WAITING, RequestError, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore import differences, settings, wished
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import (
    SOURCE_TAG,
    TIME_TAG,
    Possible,
    Shard,
    moment,
    named,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Clock, Instances
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import LATEST

SETTINGS: dict[str, dict[str, Any]] = {
    "instance_class": {"type": "str"},
    "multi_az": {"type": "bool"},
    "security_groups": {"type": "list", "elements": "str"},
    "parameter_group": {"type": "str"},
    "storage_type": {"type": "str"},
    "maximum_storage_gb": {"type": "int"},
    "deletion_protection": {"type": "bool"},
    "copy_tags_to_snapshot": {"type": "bool"},
    "iam_authentication": {"type": "bool"},
    "certificate_authority": {"type": "str"},
    "log_exports": {"type": "list", "elements": "str"},
    "backup_retention_days": {"type": "int"},
    "backup_window": {"type": "str"},
    "maintenance_window": {"type": "str"},
    "performance_insights": {"type": "bool"},
    "performance_insights_key": {"type": "str", "no_log": False},
    "monitoring_interval_seconds": {"type": "int"},
    "monitoring_role": {"type": "str"},
    "managed_password": {"type": "bool", "no_log": False},
    "managed_password_key": {"type": "str", "no_log": False},
}


def run(options: dict[str, Any], client: Any, check: bool) -> dict[str, Any]:
    """Read, check, restore what is missing, put back what differs, report. Raises RequestError or RefusedError."""
    instances = Instances(client, options["timeout"])
    source, target = options["source"], options["target"]
    like = options["like"] or (None if options["replicated"] else source)
    origin = instances.get(like) if like else None
    wanted = wished(origin, options["settings"])
    existing = instances.find(target)
    clock, available, is_new = Clock(), 0.0, existing is None
    if existing:
        restored_to = same_restoration(instances.tags(existing["DBInstanceArn"]), options)
    else:
        backups = instances.backups(source, options["replicated"])
        snapshots = instances.snapshots(source) if options["snapshot"] else ()
        possible = Possible(backups.earliest, backups.latest, snapshots)
        chosen = choose(options, Shard(source, possible, {}))
        restored_to = written(chosen)
        if not check:
            group = options["subnet_group"] or ((origin or {}).get("DBSubnetGroup") or {}).get("DBSubnetGroupName")
            instances.restore(source, target, chosen, backups.arn, wanted, group)
            existing = instances.settle(target)
            available = clock.seconds()
    before = {} if is_new else settings(existing or {})
    put_back = sorted(differences(wanted, existing)) if existing else []
    if existing and not check:
        existing = instances.put_back(target, wanted)
    endpoint = (existing or {}).get("Endpoint") or {}
    return {
        "changed": is_new or bool(put_back),
        "endpoint": endpoint.get("Address"),
        "port": endpoint.get("Port"),
        "restored_to": restored_to,
        "put_back": put_back,
        "seconds_until_available": available,
        "seconds": clock.seconds() if is_new and not check else 0.0,
        "diff": {"before": before, "after": {**before, **wanted}},
    }


def choose(options: Mapping[str, Any], shard: Shard) -> datetime.datetime | str:
    """Return the moment, or the name of the snapshot. Raises RefusedError with what is possible."""
    if options["snapshot"]:
        return named(options["snapshot"], shard)
    return moment(options["time"], [shard], datetime.datetime.now(datetime.UTC))


def written(chosen: datetime.datetime | str) -> str:
    """Return a moment or a snapshot as the tag of an instance has it."""
    return chosen if isinstance(chosen, str) else moments.show(chosen)


def same_restoration(tags: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """Return what an existing target was restored to. Raises RequestError when it is something else than was asked."""
    source, target, before = options["source"], options["target"], tags.get(TIME_TAG, "")
    if tags.get(SOURCE_TAG) != source:
        raise RequestError(f"'{target}' exists and was not restored from '{source}': give the target another name.")
    if options["snapshot"]:
        wanted = options["snapshot"]
    elif options["time"] == LATEST:
        wanted = before
    else:
        wanted = moments.show(moments.read(options["time"]))
    if before != wanted:
        raise RequestError(f"'{target}' was restored to {before}, not to {wanted}: give the target another name.")
    return before


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "time": {"type": "str", "default": LATEST},
            "snapshot": {"type": "str"},
            "replicated": {"type": "bool", "default": False},
            "like": {"type": "str"},
            "subnet_group": {"type": "str"},
            "settings": {"type": "dict", "default": {}, "options": SETTINGS},
            **WAITING,
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    options = module.params
    finish(module, lambda client: run(options, client("rds", options["region"]), module.check_mode))


if __name__ == "__main__":
    main()
