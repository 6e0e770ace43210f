"""Let another member of a Patroni cluster lead."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Let another member of a Patroni cluster lead
description:
  - Chooses the successor, hands over through the REST API, and waits until the successor leads and the former leader is
    fed by it.
  - Refuses, and says who could take over, when the successor is no member, is no synchronous standby although the
    cluster is synchronous, lags, or is on another timeline.
  - Run it on one member, whichever; Patroni takes requests from its own members only.
options:
  successor:
    description: The member that shall lead, or empty for the fit one that lags least. Nothing happens when it leads.
    type: str
    default: ""
  url:
    description: The REST API of the member that this runs on.
    type: str
    default: https://127.0.0.1:8008
  timeout:
    description: Seconds that the successor may take to lead, and the former leader to follow.
    type: int
    default: 60
extends_documentation_fragment: [gym.platform.patroni, gym.platform.patroni.api]
attributes:
  check_mode:
    support: full
    description: Chooses or refuses, and hands nothing over.
  diff_mode:
    support: full
    description: Shows who leads before and after.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Let db-2 lead
  gym.platform.patroni_switchover:
    successor: db-2
    username: patroni
    password: "{{ postgresql_patroni_password }}"
    certificate: /etc/ssl/gym/host.pem
    certificate_key: /etc/ssl/gym/host.pem.key
    certificate_authority: /etc/ssl/gym/ca.pem
"""

RETURN = r"""
former:
  description: The member that led before.
  type: str
  returned: always
leader:
  description: The member that leads afterwards, or would.
  type: str
  returned: always
away:
  description: The members that were not running, or not fed, before.
  type: list
  elements: str
  returned: always
seconds:
  description: From the request until the former leader was fed by the new one.
  type: float
  returned: always
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.patroni import (
    API,
    IDENTITY,
    Cluster,
    HttpsApi,
    PatroniError,
)
from ansible_collections.gym.platform.plugins.module_utils.patroni_switchover import FED, leader_of, successor


def switch_over(cluster: Cluster, wanted: str, check: bool) -> dict[str, Any]:
    """Choose, hand over, report."""
    members = list(cluster.members().values())
    former = str(leader_of(members)["name"])
    chosen = successor(members, cluster.configuration(), wanted)
    begun = time.monotonic()
    if chosen != former and not check:
        cluster.hand_over(former, chosen)
    return {
        "changed": chosen != former,
        "former": former,
        "leader": chosen,
        "away": sorted(str(member["name"]) for member in members if member.get("state") not in FED),
        "seconds": round(time.monotonic() - begun, 1),
        "diff": {"before": f"{former} leads\n", "after": f"{chosen} leads\n"},
    }


def main() -> None:
    """Read the options, and report in the words of Ansible."""
    module = AnsibleModule(
        argument_spec={
            "successor": {"type": "str", "default": ""},
            "url": {"type": "str", "default": "https://127.0.0.1:8008"},
            **IDENTITY,
            **API,
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        api = HttpsApi(*(options[name] for name in (*API, *IDENTITY)))
        cluster = Cluster(api, options["url"], "the cluster", options["timeout"])
        result = switch_over(cluster, options["successor"], module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"The certificate of this host cannot be used: {error}")
    except PatroniError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
