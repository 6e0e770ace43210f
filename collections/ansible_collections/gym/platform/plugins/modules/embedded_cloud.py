#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Serve a rehearsal of a cloud on this machine, and change what it keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: embedded_cloud
short_description: Serve a rehearsal of a cloud on this machine, and change what it keeps
description:
  - Starts the embedded cloud of C(rehearsal/) on an unused port of the loopback interface, or uses the one that was
    started before from the same O(directory). It needs no account, and nothing leaves this machine.
  - With O(state=edited) it changes one field of one resource of each type behind the backs of its stacks, as somebody
    with a console would; with O(state=restored) it takes that back.
  - With O(state=absent) it ends the process that it started, and no other one.
options:
  state:
    description: What to have.
    type: str
    choices: [present, edited, restored, absent]
    default: present
  directory:
    description: Where the process id, the address and the log are kept.
    type: path
    required: true
  python:
    description: The interpreter of the environment that the cloud is installed in. Needed to start it.
    type: path
  project:
    description: The directory that C(rehearsal/) is in. Needed to start it.
    type: path
  provider:
    description: Which cloud.
    type: str
    choices: [aws]
    default: aws
  region:
    description: The region that it takes for its own.
    type: str
    default: eu-west-1
  timeout:
    description: Seconds until it has to answer.
    type: int
    default: 60
attributes:
  check_mode:
    description: Says what would be started or ended.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Have a cloud
  gym.platform.embedded_cloud:
    directory: .cache/rehearsal/production
    python: .cache/rehearsal_aws/bin/python
    project: "{{ playbook_dir }}/.."
"""

RETURN = r"""
endpoint:
  description: Where it answers.
  type: str
  returned: when it runs
  sample: http://127.0.0.1:34217
resources:
  description: All resources of all stacks; C(remembered) ones have no service behind them.
  type: list
  elements: dict
  returned: O(state=edited)
edits:
  description: What was changed, one record for each type.
  type: list
  elements: dict
  returned: O(state=edited)
  sample:
    - name: queue.Reports
      stack: gym-staging-queue
      logical_id: Reports
      type: AWS::SQS::Queue
      path: queues.attributes.VisibilityTimeout
      before: "30"
      after: "31"
elapsed:
  description: Seconds that the task took.
  type: float
  returned: always
begun:
  description: When the task began, in seconds since 1970.
  type: float
  returned: always
unreadable:
  description: Types of which the cloud keeps nothing that could be changed and read.
  type: list
  elements: str
  returned: O(state=edited)
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud, CloudError, ask

# What is started for each provider.
PROGRAMS = {"aws": "rehearsal.aws"}


def edited(endpoint: str) -> dict[str, Any]:
    """Change one resource of each type that the cloud can read."""
    resources = ask(endpoint, "resources")
    edits: dict[str, dict[str, Any]] = {}
    for item in resources:
        if item["readable"] and item["type"] not in edits:
            told = {key: item[key] for key in ("name", "stack", "logical_id", "type")}
            change = ask(endpoint, "tamper", told)
            if change is not None:
                edits[item["type"]] = {**told, **change}
    unreadable = sorted({item["type"] for item in resources} - set(edits))
    return {"changed": bool(edits), "resources": resources, "edits": list(edits.values()), "unreadable": unreadable}


def present(cloud: Cloud, options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Have the cloud serve."""
    endpoint = cloud.endpoint()
    if endpoint or check:
        return {"changed": not endpoint, "endpoint": endpoint or ""}
    python = Path(options["python"])
    if not python.is_file():
        raise CloudError(f"The embedded cloud is not installed ({python} is missing): `make rehearse` installs it.")
    command = [str(python), "-m", PROGRAMS[options["provider"]], options["region"]]
    environment = {"PYTHONPATH": str(Path(options["project"]).resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    return {"changed": True, "endpoint": cloud.start(command, environment, options["timeout"])}


def act(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring the cloud to the state. Raises CloudError."""
    cloud = Cloud(Path(options["directory"]))
    if options["state"] == "present":
        return present(cloud, options, check)
    endpoint = cloud.endpoint()
    if options["state"] == "absent":
        return {"changed": bool(endpoint) if check else cloud.stop(options["timeout"])}
    if endpoint is None:
        raise CloudError(f"No embedded cloud runs from {options['directory']}: start it with state: present.")
    if check:
        return {"changed": True, "endpoint": endpoint}
    if options["state"] == "restored":
        return {"changed": ask(endpoint, "restore")["restored"] > 0, "endpoint": endpoint}
    return {"endpoint": endpoint, **edited(endpoint)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["present", "edited", "restored", "absent"],
                "default": "present",
            },
            "directory": {"type": "path", "required": True},
            "python": {"type": "path"},
            "project": {"type": "path"},
            "provider": {"type": "str", "choices": ["aws"], "default": "aws"},
            "region": {"type": "str", "default": "eu-west-1"},
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[
            ("state", "present", ["python", "project"]),
        ],
        supports_check_mode=True,
    )
    begun = time.time()
    try:
        result = act(module.params, module.check_mode)
    except (CloudError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(begun=begun, elapsed=round(time.time() - begun, 2), **result)


if __name__ == "__main__":
    main()
