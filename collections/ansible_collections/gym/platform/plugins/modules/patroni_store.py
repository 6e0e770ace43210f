#!/usr/bin/python
"""What Patroni keeps in etcd about a cluster, changed while no Patroni has to run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_store
short_description: Pause a Patroni cluster, or let it forget its database, while no Patroni has to run
version_added: "0.2.0"
description:
  - While a database is restored in place, Patroni is stopped on all nodes. A node that reboots meanwhile starts it, and
    with its old data it would lead. C(pause) in etcd keeps it from that, however long the restoration takes.
  - What Patroni remembers of the database that was replaced - its identity, how far it had written, who was synchronous
    - would keep it from leading with the restored one.
options:
  scope:
    description: The cluster's name in Patroni.
    type: str
    required: true
  paused:
    description: Whether Patroni leaves everything as it is; nothing is changed without this option.
    type: bool
  forget:
    description: Whether what it remembers of the database is removed; before O(paused) is changed.
    type: bool
    default: false
  url:
    description: A member of etcd.
    type: str
    default: https://127.0.0.1:2379
  namespace:
    description: What all of Patroni's keys begin with.
    type: str
    default: /patroni/
extends_documentation_fragment: [gym.platform.patroni]
attributes:
  check_mode:
    support: full
    description: Says what would be changed.
  diff_mode:
    support: none
    description: There are two states.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.patroni_cluster
"""

EXAMPLES = r"""
- name: Let no node lead with old data
  gym.platform.patroni_store:
    scope: gym
    paused: true
    certificate: /etc/ssl/gym/host.pem
    certificate_key: /etc/ssl/gym/host.pem.key
    certificate_authority: /etc/ssl/gym/ca.pem
"""

RETURN = r"""
was_paused:
  description: Whether it was paused before.
  type: bool
  returned: success
forgotten:
  description: The keys that were removed.
  type: list
  elements: str
  returned: success
"""

import base64
import json
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.patroni import IDENTITY

# What Patroni 3 keeps of the database itself, beside the settings and the members (its `dcs/__init__.py`).
MEMORY = ("initialize", "leader", "status", "optime/leader", "sync", "history", "failover", "failsafe")
TIMEOUT_SECONDS = 10

Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def etcd(options: Mapping[str, Any]) -> Call:
    """Return a function that calls etcd's key-value service by its JSON gateway."""
    context = ssl.create_default_context(cafile=options["certificate_authority"])
    context.load_cert_chain(options["certificate"], options["certificate_key"])

    def call(method: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        message = urllib.request.Request(  # noqa: S310 - https from our options
            f"{options['url']}/v3/kv/{method}", json.dumps(request).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(message, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
            found: Mapping[str, Any] = json.load(answer)
            return found

    return call


def coded(text: str) -> str:
    """Write a text as the gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def read(call: Call, key: str) -> str | None:
    """Return the value of a key; None where it is not there."""
    found = call("range", {"key": coded(key)}).get("kvs") or []
    return base64.b64decode(found[0]["value"]).decode() if found else None


def bring_about(call: Call, prefix: str, paused: bool | None, forget: bool, check: bool) -> dict[str, Any]:
    """Read, compare, forget, pause or go on."""
    settings = json.loads(read(call, f"{prefix}/config") or "{}")
    was_paused = bool(settings.get("pause"))
    known = [key for key in MEMORY if read(call, f"{prefix}/{key}") is not None] if forget else []
    other = paused is not None and paused != was_paused
    if not check:
        for key in known:
            call("deleterange", {"key": coded(f"{prefix}/{key}")})
        if other:
            changed = {name: value for name, value in settings.items() if name != "pause"}
            changed |= {"pause": True} if paused else {}
            call("put", {"key": coded(f"{prefix}/config"), "value": coded(json.dumps(changed))})
    return {"changed": other or bool(known), "was_paused": was_paused, "forgotten": known}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "scope": {"type": "str", "required": True},
            "paused": {"type": "bool"},
            "forget": {"type": "bool", "default": False},
            "url": {"type": "str", "default": "https://127.0.0.1:2379"},
            "namespace": {"type": "str", "default": "/patroni/"},
            **IDENTITY,
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        result = bring_about(
            etcd(options),
            options["namespace"] + options["scope"],
            options["paused"],
            options["forget"],
            module.check_mode,
        )
    except OSError as error:
        module.fail_json(
            msg=f"etcd at {options['url']} does not answer ({error}): most of its members have to run."
            " `systemctl status etcd` on the database's machines says which do."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
