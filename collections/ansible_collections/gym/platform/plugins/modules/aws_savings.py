#!/usr/bin/python
"""Say what AWS recommends to reserve, and buy only what a person has named."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_savings
short_description: Say what reserving would save, and buy only what a person has named
version_added: "0.2.0"
description:
  - Asks Cost Explorer for reserved instances and savings plans that fit what was really used, each with its offering.
  - Nothing is bought unless O(purchase) describes it and O(confirm_purchase) names its offering as well.
  - A purchase has a name. What was bought under that name is not bought again.
options:
  kinds:
    description: What to ask for.
    type: list
    elements: str
    choices: [rds, elasticache, savings_plan]
    default: [rds, elasticache, savings_plan]
  years:
    description: For how long.
    type: int
    choices: [1, 3]
    default: 1
  payment:
    description: How it is paid.
    type: str
    choices: [no_upfront, partial_upfront, all_upfront]
    default: no_upfront
  lookback_days:
    description: How many days of use it is judged by.
    type: int
    choices: [7, 30, 60]
    default: 30
  purchase:
    description: What to buy.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name by which it is found again.
        type: str
        required: true
      kind:
        description: What it is.
        type: str
        choices: [rds, elasticache, savings_plan]
        required: true
      offering:
        description: The offering, as a recommendation names it.
        type: str
        required: true
      quantity:
        description: How many instances or nodes; of a savings plan, how many US dollars an hour.
        type: float
        required: true
  confirm_purchase:
    description: The offerings that are really meant to be bought. A purchase cannot be taken back.
    type: list
    elements: str
    default: []
  region:
    description: The region of the instances.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws]
attributes:
  check_mode:
    support: full
    description: Says what would be bought, also without a confirmation.
  diff_mode:
    support: full
    description: Lists what was bought before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_cost
"""

EXAMPLES = r"""
- name: Ask what reserving would save
  gym.platform.aws_savings:
    region: eu-west-1

- name: Reserve the database for a year
  gym.platform.aws_savings:
    region: eu-west-1
    kinds: [rds]
    purchase:
      - {name: gym-production-2030, kind: rds, offering: 649fd0c8-cf6d-47a0-bfa6-060f8e75e95f, quantity: 2}
    confirm_purchase: [649fd0c8-cf6d-47a0-bfa6-060f8e75e95f]
"""

RETURN = r"""
recommendations:
  description: What AWS recommends, the largest saving first.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: rds
      what: 2 x db.r7g.large PostgreSQL Multi-AZ
      quantity: 2
      monthly_saving_usd: 251.1
      percent: 32.5
      upfront_usd: 0
      offering: 649fd0c8-cf6d-47a0-bfa6-060f8e75e95f
monthly_saving_usd:
  description: What all of them would save, in US dollars a month.
  returned: success
  type: float
bought:
  description: The names of what was bought, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import (
    CONNECTION,
    GLOBAL_REGION,
    RequestError,
    finish,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_price_savings import (
    GLOBAL_SERVICES,
    KINDS,
    LOOKBACKS,
    PAYMENTS,
    TERMS,
    Clients,
    Purchase,
    Terms,
    bought,
    buy,
    recommendations,
    unconfirmed,
)


def run(options: dict[str, Any], clients: Clients, check: bool) -> dict[str, Any]:
    """Ask, compare with what was bought, buy what is confirmed, report. Raises RequestError."""
    purchases = [Purchase(**record) for record in options["purchase"]]
    refused = unconfirmed(purchases, options["confirm_purchase"])
    if refused and not check:
        raise RequestError(refused)
    owned = {purchase.name for purchase in purchases if bought(clients, purchase)}
    new = [purchase for purchase in purchases if purchase.name not in owned]
    terms = Terms(options["years"], options["payment"], options["lookback_days"])
    found = recommendations(clients, options["region"], options["kinds"], terms)
    for purchase in () if check else new:
        buy(clients, purchase)
    names = [purchase.name for purchase in new]
    return {
        "changed": bool(new),
        "recommendations": [dataclasses.asdict(item) for item in found],
        "monthly_saving_usd": round(sum(item.monthly_saving_usd for item in found), 2),
        "bought": names,
        "diff": {"before": {"bought": sorted(owned)}, "after": {"bought": sorted([*owned, *names])}},
    }


def main() -> None:
    """Run the module."""
    purchase = {
        "name": {"type": "str", "required": True},
        "kind": {"type": "str", "choices": list(KINDS), "required": True},
        "offering": {"type": "str", "required": True},
        "quantity": {"type": "float", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "kinds": {"type": "list", "elements": "str", "choices": list(KINDS), "default": list(KINDS)},
            "years": {"type": "int", "choices": list(TERMS), "default": 1},
            "payment": {"type": "str", "choices": list(PAYMENTS), "default": "no_upfront"},
            "lookback_days": {"type": "int", "choices": list(LOOKBACKS), "default": 30},
            "purchase": {"type": "list", "elements": "dict", "default": [], "options": purchase},
            "confirm_purchase": {"type": "list", "elements": "str", "default": []},
            **CONNECTION,
        },
        supports_check_mode=True,
    )

    def work(make: Callable[[str, str], Any]) -> dict[str, Any]:
        @functools.cache
        def client(service: str) -> Any:
            return make(service, GLOBAL_REGION if service in GLOBAL_SERVICES else module.params["region"])

        # A region that does not exist would only have no recommendations.
        client("rds")
        return run(module.params, client, module.check_mode)

    finish(module, work)


if __name__ == "__main__":
    main()
