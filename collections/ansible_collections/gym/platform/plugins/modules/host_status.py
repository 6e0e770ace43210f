#!/usr/bin/python
"""Ask a machine about everything that runs on it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_status
short_description: Ask a machine about everything that runs on it
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - Runs all probes of a host in one call, at the same time. Changes nothing, and never fails because of what it finds.
options:
  probes:
    description:
      - What is asked, by kind, with the options of the probe. The kinds are C(units), C(containers), C(traffic),
        C(database), C(cache) and C(queues), see C(module_utils/host_probes.py).
    type: dict
    required: true
  secrets:
    description: Options of probes that are never shown, by kind.
    type: dict
    default: {}
extends_documentation_fragment: [gym.platform.reads]
"""

EXAMPLES = r"""
- name: Ask the machine about itself
  gym.platform.host_status:
    probes:
      units: {names: [haproxy.service]}
      traffic: {map: /etc/haproxy/maps/colours.map}
"""

RETURN = r"""
observations:
  description: Records with C(service), C(healthy), C(state), and where they mean something C(version), C(colour),
    C(traffic) and C(detail).
  type: list
  elements: dict
  returned: always
"""

from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.host_probes import PROBES, ask


def main() -> None:
    """Ask everything at once."""
    module = AnsibleModule(
        argument_spec={
            "probes": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    probes, secrets = module.params["probes"], module.params["secrets"]
    if unknown := sorted(set(probes) - set(PROBES)):
        module.fail_json(msg=f"unknown probes {', '.join(unknown)}; there are {', '.join(PROBES)}")
    with ThreadPoolExecutor(max_workers=len(PROBES)) as pool:
        answers = [pool.submit(ask, kind, {**probes[kind], **secrets.get(kind, {})}) for kind in probes]
        observations = [row for answer in answers for row in answer.result()]
    module.exit_json(changed=False, observations=observations)


if __name__ == "__main__":
    main()
