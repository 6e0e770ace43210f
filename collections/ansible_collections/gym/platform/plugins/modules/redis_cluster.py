"""Form a Redis Cluster from nodes that run, and let new nodes join as replicas."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Form a Redis Cluster from nodes that run
description:
  - Reads what each node knows of the cluster, makes nodes meet that do not know each other, gives the slots to the
    primaries when nobody has any yet, and makes the remaining nodes replicas of the primaries that have the fewest.
  - Never moves a slot that has an owner, and never makes a primary a replica, so a failover is not undone.
  - Runs on one of the nodes, and talks to all by C(redis-cli) over TLS.
options:
  nodes:
    description: The addresses of all nodes. The first ones become primaries when the cluster is formed.
    type: list
    elements: str
    required: true
  replicas:
    description: How many replicas each primary gets when the cluster is formed.
    type: int
    default: 0
  port:
    description: The TLS port of the nodes.
    type: int
    default: 6379
  username:
    description: The user that may change the cluster.
    type: str
    default: administrator
  password:
    description: That user's password.
    type: str
    required: true
  ca_file:
    description: The certificate of the authority that signed the nodes' certificates.
    type: path
    default: /etc/ssl/gym/ca.pem
  timeout:
    description: Seconds to wait until all nodes agree and all replicas have caught up.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says which steps it would take.
  diff_mode:
    support: full
    description: Shows the members before and after.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Form the cluster
  gym.platform.redis_cluster:
    nodes: [192.0.2.1, 192.0.2.2, 192.0.2.3]
    password: "{{ administrator_password }}"
  run_once: true
"""

RETURN = r"""
steps:
  description: What was done, or would be done, in words.
  type: list
  elements: str
  returned: always
  sample: ["192.0.2.2 meets 192.0.2.1", "192.0.2.1 takes the slots 0 to 16383"]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.redis_topology import (
    Meet,
    Member,
    Step,
    TakeSlots,
    agreed,
    parse_nodes,
    plan,
)


@dataclass(frozen=True)
class Client:
    """redis-cli, for one cluster."""

    module: AnsibleModule
    port: int
    username: str
    password: str
    ca_file: str

    def run(self, address: str, *words: str) -> str:
        """Send one command to one node; the password is in the environment and never among the arguments."""
        options = ["-h", address, "-p", str(self.port), "--tls", "--cacert", self.ca_file, "--user", self.username]
        code, output, error = self.module.run_command(
            ["redis-cli", "-e", *options, *words], environ_update={"REDISCLI_AUTH": self.password}
        )
        if code != 0:
            what = " ".join(words[:2]).upper()
            why = (error or output).strip() or f"redis-cli ended with {code}"
            self.module.fail_json(
                msg=f"{what} at {address}:{self.port} failed: {why}. Check that redis-server.service runs there in "
                f"cluster mode, and that the user '{self.username}' has this password."
            )
        return str(output)

    def members(self, nodes: Sequence[str]) -> dict[str, list[Member]]:
        """What every node knows about all members."""
        return {address: parse_nodes(self.run(address, "CLUSTER", "NODES")) for address in nodes}

    def apply(self, step: Step) -> None:
        """Take one step."""
        if isinstance(step, Meet):
            self.run(step.address, "CLUSTER", "MEET", step.other, str(self.port))
        elif isinstance(step, TakeSlots):
            self.run(step.address, "CLUSTER", "ADDSLOTSRANGE", str(step.first), str(step.last))
        else:
            self.run(step.address, "CLUSTER", "REPLICATE", step.primary_id)

    def caught_up(self, address: str) -> bool:
        """Whether this node is a primary, or a replica that has all of its primary's keys."""
        return "master_link_status:down" not in self.run(address, "INFO", "replication")


def wait(module: AnsibleModule, what: str, client: Client, nodes: Sequence[str], timeout: int) -> None:
    """Wait until every node knows every other one, and replicas have caught up."""
    deadline = time.monotonic() + timeout
    while not (agreed(client.members(nodes), nodes) and all(client.caught_up(address) for address in nodes)):
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"After {what}, the nodes {', '.join(nodes)} do not agree within {timeout} s. Check that each "
                f"reaches the others on the cluster bus, port {client.port + 10000}."
            )
        time.sleep(0.2)


def main() -> None:
    """Read, diff, apply, report."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "list", "elements": "str", "required": True},
            "replicas": {"type": "int", "default": 0},
            "port": {"type": "int", "default": 6379},
            "username": {"type": "str", "default": "administrator"},
            "password": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path", "default": "/etc/ssl/gym/ca.pem"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    nodes: list[str] = options["nodes"]
    primaries = len(nodes) // (options["replicas"] + 1)
    if primaries < 3:
        module.fail_json(
            msg=f"A cluster needs at least three primaries, and {len(nodes)} nodes with {options['replicas']} replicas "
            f"each make {primaries}. Name at least {3 * (options['replicas'] + 1)} nodes."
        )
    client = Client(module, options["port"], options["username"], options["password"], options["ca_file"])
    before = client.members(nodes)
    steps: list[str] = []
    # Each round makes the next one possible: nodes meet, then take slots, then replicate those that have slots.
    for name in ("the meeting", "sharing out the slots", "making replicas"):
        round_steps = plan(client.members(nodes), nodes, primaries)
        if not round_steps:
            break
        steps += [str(step) for step in round_steps]
        if module.check_mode:
            break
        for step in round_steps:
            client.apply(step)
        wait(module, name, client, nodes, options["timeout"])
    after = before if module.check_mode else client.members(nodes)
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        diff={
            "before": _text(before[nodes[0]]),
            "after": "\n".join(steps) if module.check_mode else _text(after[nodes[0]]),
        },
    )


def _text(members: Sequence[Member]) -> str:
    return "".join(f"{member}\n" for member in sorted(members, key=lambda member: member.address))


if __name__ == "__main__":
    main()
