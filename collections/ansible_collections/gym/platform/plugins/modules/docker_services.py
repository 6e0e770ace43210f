#!/usr/bin/python
"""Run the containers of the platform's services on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: docker_services
short_description: Observe, run, start and stop the containers of services on one host
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - Everything that a release does with the containers of a host, in one call. Without options it only observes.
  - The order is fixed. O(run) comes first, then O(present), and what O(colours) leaves over goes last.
  - Containers have a read-only root, no capabilities, no new privileges, and limits of memory, CPU and processes.
    An image that runs as root is refused.
options:
  resolve:
    description: A reference such as V(registry:5000/gym-api:1.2) whose digest is asked of the registry.
    type: str
    default: ""
  run:
    description: Containers that run once, to their end, as the filter C(gym.platform.release_plan) describes them.
    type: list
    elements: dict
    default: []
  present:
    description: Containers that shall run and answer, for some time; those of a job only have to exist.
    type: list
    elements: dict
    default: []
  colours:
    description:
      - Of these colours, containers that are not in O(present) are stopped, with time to finish, and removed. Jobs have
        the empty colour.
    type: list
    elements: str
    default: []
  secrets:
    description: Environment variables of all containers of this call whose values are never shown.
    type: dict
    default: {}
  registry_username:
    description: User of the image registry.
    type: str
    default: ""
  registry_password:
    description: Password of the image registry. It is not stored on the host.
    type: str
    default: ""
  ready_timeout:
    description: Seconds after which a container that is not healthy has failed, and a O(run) one too.
    type: int
    default: 90
  stop_timeout:
    description: Seconds between SIGTERM and SIGKILL.
    type: int
    default: 35
  socket:
    description: The engine's socket.
    type: path
    default: /run/docker.sock
attributes:
  check_mode:
    support: full
    description: Names the actions.
  diff_mode:
    support: full
    description: Shows containers, their versions and fingerprints, before and after.
"""

EXAMPLES = r"""
- name: See what runs
  gym.platform.docker_services:
  register: __observed

- name: Start what the plan wants on this host
  gym.platform.docker_services:
    present: "{{ plan.start[inventory_hostname] }}"
    secrets: "{{ release_docker_secrets }}"
"""

RETURN = r"""
containers:
  description: The platform's containers of the host, after the call.
  type: list
  elements: dict
  returned: success
digest:
  description: What O(resolve) stands for.
  type: str
  returned: success
actions:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
problem:
  description: What went wrong, in a sentence; empty on success.
  type: str
  returned: always
output:
  description: The last lines of standard output of each container of O(run), by name.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.docker_engine import (
    Credentials,
    Engine,
    EngineError,
    stop_all,
)
from ansible_collections.gym.platform.plugins.module_utils.release_placement import ContainerPlan, plan_containers


def summary(containers: list[dict[str, Any]]) -> str:
    """Write the containers as lines for a diff."""
    return "".join(
        f"{item['name']} {item['version']} {item['digest'][:19]} {item['configuration']}\n" for item in containers
    )


def apply(engine: Engine, module: AnsibleModule, plan: ContainerPlan, actions: list[str]) -> dict[str, str]:
    """Do what was planned; each action is noted when it is done."""
    credentials = Credentials(module.params["registry_username"], module.params["registry_password"])
    secrets: dict[str, str] = module.params["secrets"]
    output = {}
    images = sorted({record["image"] for record in (*module.params["run"], *plan.create)})
    actions.extend(f"pull {image}" for image in images if engine.pull(image, credentials))
    for record in module.params["run"]:
        output[record["name"]] = engine.run(record, secrets, module.params["ready_timeout"])
        actions.append(f"run {record['name']}")
    for name in plan.finish:
        engine.wait_until_ended(name, module.params["ready_timeout"])
    stop_all(engine, plan.replace, module.params["stop_timeout"])
    for record in plan.create:
        container = engine.create(record, secrets)
        actions.append(f"create {record['name']}")
        if record["kind"] != "job":
            engine.start(container)
    engine.wait_until_steady(
        [record for record in module.params["present"] if record["kind"] != "job"], module.params["ready_timeout"]
    )
    stop_all(engine, plan.remove, module.params["stop_timeout"])
    actions += [f"remove {name}" for name in plan.remove]
    return output


def main() -> None:
    """Observe, plan, apply, report."""
    records = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "resolve": {"type": "str", "default": ""},
            "run": records,
            "present": records,
            "colours": {"type": "list", "elements": "str", "default": []},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "registry_username": {"type": "str", "default": ""},
            "registry_password": {"type": "str", "default": "", "no_log": True},
            "ready_timeout": {"type": "int", "default": 90},
            "stop_timeout": {"type": "int", "default": 35},
            "socket": {"type": "path", "default": "/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    engine = Engine(module.params["socket"])
    actions: list[str] = []
    output: dict[str, str] = {}
    digest = ""
    try:
        before = engine.containers()
        if module.params["resolve"]:
            credentials = Credentials(module.params["registry_username"], module.params["registry_password"])
            digest = engine.resolve(module.params["resolve"], credentials)
        plan = plan_containers(before, module.params["present"], module.params["colours"])
        changed = bool(module.params["run"] or plan.create or plan.remove)
        if module.check_mode:
            actions = [f"run {record['name']}" for record in module.params["run"]]
            actions += [f"create {record['name']}" for record in plan.create] + [f"remove {n}" for n in plan.remove]
            after = before
        else:
            output = apply(engine, module, plan, actions)
            after = engine.containers() if changed else before
    except EngineError as error:
        module.fail_json(msg=str(error), problem=str(error), actions=actions, changed=bool(actions))
    module.exit_json(
        changed=changed,
        containers=after,
        digest=digest,
        actions=actions,
        problem="",
        output=output,
        diff={"before": summary(before), "after": summary(after)},
    )


if __name__ == "__main__":
    main()
