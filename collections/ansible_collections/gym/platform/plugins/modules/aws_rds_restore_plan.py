#!/usr/bin/python
"""Plan the restoration of a database on RDS, or refuse it with what is possible; nothing is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_rds_restore_plan
short_description: Plan the restoration of a database on RDS, or refuse it with what is possible
version_added: "0.2.0"
description:
  - Reads what each shard of a database can be restored to, here or from the backups that another region has replicated
    to O(region), and chooses one moment for all of them, or a snapshot by its name.
  - Refuses a moment in the future, one before the oldest backup or after the newest, a name that there is not, and a
    restoration in place that nobody has confirmed. The sentence says what can be done instead.
  - Finds what an interrupted run has left, and plans the rest.
options:
  instances:
    description: The instances, one for each shard.
    type: list
    elements: str
    required: true
  to:
    description: V(latest), a time with its zone, or a snapshot by its name or the one that a person gave it.
    type: str
    default: latest
  place:
    description: Whether the restored instances stand V(beside) the live ones or take their places (V(in_place)).
    type: str
    default: beside
  into:
    description:
      - The instances of O(region) beside which, or in whose places, is restored, in the same order; O(instances)
        themselves by default.
    type: list
    elements: str
  not_before:
    description:
      - Since when nothing was written, as a time with its zone. Every moment after it is as good as the latest, so that
        an interrupted run is carried on with, and a backup that ends before is refused.
    type: str
  environment:
    description: The environment, which has to be given as O(confirm) before anything is replaced.
    type: str
    required: true
  confirm:
    description: What a person has confirmed.
    type: str
    default: ""
  replicated:
    description: Whether to look at the backups that another region has replicated to O(region).
    type: bool
    default: false
  region:
    description: The region of the restored instances.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.reads]
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_restore
  - module: gym.platform.aws_rds_takeover
"""

EXAMPLES = r"""
- name: See whether noon can be had
  gym.platform.aws_rds_restore_plan:
    instances: [gym-production-1]
    to: "2030-01-31T12:00:00Z"
    environment: production
    region: eu-west-1
"""

RETURN = r"""
restorations:
  description: What has to be done, one record for each instance.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The instance that serves., type: str}
    source: {description: The instance whose backups are restored., type: str}
    target: {description: The instance that is made., type: str}
    restored_to: {description: The moment or the snapshot., type: str}
    snapshot: {description: The snapshot; empty for a moment., type: str}
    to_restore: {description: Whether the target has to be made or to be given the settings of its source., type: bool}
    to_take_over: {description: Whether it then takes the place of its source., type: bool}
earliest:
  description: From when on all of them can be restored.
  returned: where it is known
  type: str
latest:
  description: Until when all of them can be restored.
  returned: success
  type: str
age_seconds:
  description: How far the newest backup is behind.
  returned: success
  type: float
"""

import datetime
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_plan import (
    BESIDE_SUFFIX,
    Possible,
    Shard,
    plan,
    window,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Instances, tags_of
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import BESIDE, LATEST, Request, check_request

# Describing answers at once.
TIMEOUT_SECONDS = 60
NOTHING = Possible(None, None)


def run(options: Mapping[str, Any], client: Any, now: datetime.datetime) -> dict[str, Any]:
    """Read what is possible and what is there, and plan. Raises RequestError or RefusedError."""
    asked = {name: options[name] for name in ("to", "place", "environment", "confirm")}
    request = Request(**asked)
    check_request(request)
    instances = Instances(client, TIMEOUT_SECONDS)
    found = {one["DBInstanceIdentifier"]: tags_of(one) for one in instances.every()}
    sources, replicated = options["instances"], options["replicated"]
    # One whose name was taken off it in an interrupted run is restored already, and has no backups by that name.
    possible = {name: instances.possible(name, replicated) for name in sources if replicated or name in found}
    shards = [
        Shard(name, possible.get(source, NOTHING), found.get(name), found.get(name + BESIDE_SUFFIX), source)
        for name, source in zip(options["into"] or sources, sources, strict=True)
    ]
    restorations = plan(request, shards, now, moments.read(options["not_before"]) if options["not_before"] else None)
    earliest, latest = window([shard for shard in shards if shard.source in possible]) if possible else (None, None)
    return {
        "changed": False,
        "restorations": [asdict(one) for one in restorations],
        "earliest": moments.show(earliest) if earliest else None,
        "latest": moments.show(latest) if latest else None,
        "age_seconds": (now - latest).total_seconds() if latest else None,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "str", "required": True},
            "to": {"type": "str", "default": LATEST},
            "place": {"type": "str", "default": BESIDE},
            "into": {"type": "list", "elements": "str"},
            "not_before": {"type": "str"},
            "environment": {"type": "str", "required": True},
            "confirm": {"type": "str", "default": ""},
            "replicated": {"type": "bool", "default": False},
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    now = datetime.datetime.now(datetime.UTC)
    finish(module, lambda client: run(module.params, client("rds", module.params["region"]), now))


if __name__ == "__main__":
    main()
