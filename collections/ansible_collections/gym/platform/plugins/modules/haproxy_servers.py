"""Tell what HAProxy's servers do, and wait until those of one backend are ready or drained."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_servers
short_description: Read HAProxy's servers and wait for a condition of one backend
description:
  - Reads C(show stat) of the process that takes new connections, through the socket of HAProxy's master. Changes
    nothing.
options:
  socket:
    description: The socket of HAProxy's master.
    type: path
    default: /run/haproxy-master.sock
  backends:
    description: The backends that are waited for. Without any, the servers are read once.
    type: list
    elements: str
    default: []
  servers:
    description: The servers of these backends that are waited for. Without any, all of them.
    type: list
    elements: str
    default: []
  until:
    description:
      - V(up) waits until every server of the backends passes its health checks.
      - V(drained) waits until no server of the backends has an open or a queued request, and until the processes that
        an earlier reload has left have ended.
    type: str
    choices: [up, drained]
    default: up
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 30
extends_documentation_fragment: [gym.platform.reads]
author: The platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Wait until the new colour passes its health checks
  gym.platform.haproxy_servers:
    backends: [gym-api_green]
    until: up

- name: Let the old colour finish its open requests
  gym.platform.haproxy_servers:
    backends: [gym-api_blue]
    until: drained
"""

RETURN = r"""
servers:
  description: Every server of every backend.
  type: list
  elements: dict
  returned: always
problem:
  description: What was still missing at the end of the wait; empty on success.
  type: str
  returned: always
waited_seconds:
  description: How long it took.
  type: float
  returned: always
"""

import time
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import (
    MASTER_SOCKET,
    HaproxyError,
    Runtime,
    unmet,
)

POLL_SECONDS = 0.2


def main() -> None:
    """Ask until the condition holds or the time is up."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": MASTER_SOCKET},
            "backends": {"type": "list", "elements": "str", "default": []},
            "servers": {"type": "list", "elements": "str", "default": []},
            "until": {"type": "str", "choices": ["up", "drained"], "default": "up"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    runtime = Runtime(module.params["socket"])
    start = time.monotonic()
    try:
        while True:
            servers = runtime.servers()
            # Asked after the servers: a process that is replaced in between is among the older ones.
            older = runtime.older() if module.params["until"] == "drained" else []
            problem = unmet(servers, module.params["backends"], module.params["until"], older, module.params["servers"])
            waited = time.monotonic() - start
            if not problem or waited > module.params["timeout"]:
                break
            time.sleep(POLL_SECONDS)
    except HaproxyError as error:
        module.fail_json(msg=str(error), problem=str(error))
    if problem:
        problem = f"After {module.params['timeout']} s: {problem}"
    result = {
        "changed": False,
        "servers": [{**asdict(server), "up": server.up} for server in servers],
        "problem": problem,
        "waited_seconds": round(waited, 2),
    }
    if problem:
        module.fail_json(msg=problem, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
