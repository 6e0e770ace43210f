#!/usr/bin/python
"""Let a restored database take the place of the one that it was restored from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_rds_takeover
short_description: Let a restored database take the place of the one that it was restored from
version_added: "0.2.0"
description:
  - Gives the instance C(<name>-restored), which M(gym.platform.aws_rds_restore) has made, the name of O(name), and with
    it its endpoint. The one that had it is kept as C(<name>-until-<when the other was made>), protected from being
    deleted.
  - The restored one gets replicas like those of O(name) before, its tags and its place behind the proxy of that name,
    and its backups are replicated to the same region.
  - A run that was interrupted is carried on with.
options:
  name:
    description: The instance whose place is taken.
    type: str
    required: true
  source:
    description: The instance that the other one was restored from; O(name) itself by default.
    type: str
  region:
    description: The region of both.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.aws.waiting]
attributes:
  check_mode:
    support: full
    description: Says what would be done, also where the restored instance is not there yet.
  diff_mode:
    support: full
    description: Shows the steps.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_rds_restore
"""

EXAMPLES = r"""
- name: Serve what was restored
  gym.platform.aws_rds_takeover:
    name: gym-production-1
    region: eu-west-1
"""

RETURN = r"""
steps:
  description: What was done, in words.
  returned: success
  type: list
  elements: str
  sample: [rename gym-production-1 to gym-production-1-until-20300131t120000]
kept:
  description: The instance that was replaced.
  returned: success
  type: str
endpoint:
  description: The address at which the restored one answers now.
  returned: when it was taken over
  type: str
port:
  description: The port at which it answers.
  returned: when it was taken over
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, WAITING, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Clock, Instances
from ansible_collections.gym.platform.plugins.module_utils.aws_takeover_rds import Successor


def run(options: dict[str, Any], client: Callable[[str, str], Any], check: bool) -> dict[str, Any]:
    """Plan, take step by step, report. Raises RequestError or RefusedError."""
    clock, name = Clock(), options["name"]
    successor = Successor(name, options["source"] or name, client, options["region"], options["timeout"])
    takeover = successor.plan(imagined=check)
    done = [str(step) for step in takeover.steps]
    answer: dict[str, Any] = {"kept": takeover.kept, "diff": {"before": "", "after": "\n".join(done)}}
    if check:
        return {**answer, "changed": bool(done), "steps": done, "seconds": 0.0}
    for step in takeover.steps:
        successor.take(step)
    if successor.join_proxy():
        done.append(f"put {name} behind its proxy")
    if successor.tag(takeover.kept):
        done.append(f"give {name} the tags of {takeover.kept}")
    done += [f"replicate the backups of {name} to {region}" for region in successor.replicate_backups(takeover.kept)]
    endpoint = Instances(client("rds", options["region"]), options["timeout"]).get(name).get("Endpoint") or {}
    return {
        **answer,
        "changed": bool(done),
        "steps": done,
        "endpoint": endpoint.get("Address"),
        "port": endpoint.get("Port"),
        "seconds": clock.seconds() if done else 0.0,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "source": {"type": "str"},
            **WAITING,
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    finish(module, lambda client: run(module.params, client, module.check_mode))


if __name__ == "__main__":
    main()
