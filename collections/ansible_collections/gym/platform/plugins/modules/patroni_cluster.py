"""Bring the settings of a Patroni cluster up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_cluster
short_description: Bring the settings of a running Patroni cluster up to date
description:
  - Patroni reads C(bootstrap.dcs) once in a cluster's life. This module compares the settings that the cluster has with
    those that it shall have, replaces them through the REST API, and restarts PostgreSQL where a setting asks for it -
    one member at a time, replicas first, each only when the one before is fed again.
  - Run it on every member. It waits until the member leads or is fed by the leader, and changes anything only on
    the leader.
  - What people set while the cluster runs, C(pause) and C(standby_cluster), is left alone.
options:
  name:
    description: The member's name.
    type: str
    required: true
  url:
    description: The member's REST API.
    type: str
    default: https://127.0.0.1:8008
  configuration:
    description: All dynamic settings of the cluster; one that is not here is removed.
    type: dict
    required: true
  timeout:
    description: Seconds that a member may take to join or to come back.
    type: int
    default: 300
extends_documentation_fragment: [gym.platform.patroni, gym.platform.patroni.api]
attributes:
  check_mode:
    support: full
    description: Says what would be set and restarted. A restart that a new setting will ask for is not foreseen.
  diff_mode:
    support: full
    description: Shows the settings before and after.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Bring the cluster's settings up to date
  gym.platform.patroni_cluster:
    name: "{{ inventory_hostname }}"
    configuration: {ttl: 20, loop_wait: 3, retry_timeout: 5, postgresql: {parameters: {max_connections: 100}}}
    username: patroni
    password: "{{ postgresql_patroni_password }}"
    certificate: /etc/ssl/gym/host.pem
    certificate_key: /etc/ssl/gym/host.pem.key
    certificate_authority: /etc/ssl/gym/ca.pem
"""

RETURN = r"""
leader:
  description: The member that leads.
  type: str
  returned: always
restarted:
  description: The members whose PostgreSQL was restarted, in order.
  type: list
  elements: str
  returned: always
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.patroni import (
    API,
    IDENTITY,
    Cluster,
    HttpsApi,
    PatroniError,
    UnreachableError,
    merge,
)


def bring_up_to_date(cluster: Cluster, name: str, desired: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Wait for the member; on the leader read, compare, apply; report."""
    if check:
        try:
            leader = (cluster.leader() or {}).get("name", "")
        except UnreachableError as error:
            return {"changed": True, "leader": "", "restarted": [], "msg": f"Would start the cluster here. {error}"}
    else:
        leader = cluster.wait_until_it_serves()
    if leader != name:
        return {"changed": False, "leader": leader, "restarted": []}
    before = cluster.configuration()
    after = merge(before, desired)
    restarted = [member["name"] for member in cluster.pending_restarts()]
    if not check:
        if before != after:
            cluster.replace_configuration(after)
        restarted = cluster.restart_what_needs_it()
    return {
        "changed": before != after or bool(restarted),
        "leader": leader,
        "restarted": restarted,
        "diff": {"before": _text(before), "after": _text(after)},
    }


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Read the options, and report in the words of Ansible."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "url": {"type": "str", "default": "https://127.0.0.1:8008"},
            "configuration": {"type": "dict", "required": True},
            **IDENTITY,
            **API,
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        api = HttpsApi(*(options[name] for name in (*API, *IDENTITY)))
        cluster = Cluster(api, options["url"], options["name"], options["timeout"])
        result = bring_up_to_date(cluster, options["name"], options["configuration"], module.check_mode)
    except OSError as error:
        if module.check_mode:
            module.exit_json(changed=True, leader="", restarted=[], msg=f"Would start the cluster here. {error}")
        module.fail_json(msg=f"The certificate of this host cannot be used: {error}")
    except PatroniError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
