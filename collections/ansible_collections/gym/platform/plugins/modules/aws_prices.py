#!/usr/bin/python
"""Renew the table of AWS's list prices."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_prices
short_description: Renew the table of AWS's list prices
version_added: "0.2.0"
description:
  - Asks the AWS Price List API for every figure of the table that has a query, and writes what it answers, with the day
    and the SKU beside it.
  - A figure for which the API has no price, or more than one, is kept as it is and named.
options:
  path:
    description: The table.
    type: path
    required: true
requirements: [PyYAML]
extends_documentation_fragment: [gym.platform.aws]
attributes:
  check_mode:
    support: full
    description: Asks, and says what would change.
  diff_mode:
    support: full
    description: Shows the table before and after.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_cost
"""

EXAMPLES = r"""
- name: Renew the prices
  gym.platform.aws_prices:
    path: collections/ansible_collections/gym/platform/prices/aws.yml
"""

RETURN = r"""
changes:
  description: The prices that changed, in words.
  returned: success
  type: list
  elements: str
  sample: ["nat_gateway_hour in eu-west-1: 0.048 -> 0.05"]
kept:
  description: What the API did not tell, and was kept.
  returned: success
  type: list
  elements: str
  sample: ["fargate_spot_gb_hour of arm in eu-west-1: the Price List has no price for AmazonECS …"]
"""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import GLOBAL_REGION, RequestError, finish
from ansible_collections.gym.platform.plugins.module_utils.aws_price_refresh import refresh
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import TableError, parse, render


def run(path: Path, client: Any, check: bool) -> dict[str, Any]:
    """Read, ask, write, report. Raises RequestError."""
    try:
        before = path.read_text(encoding="utf-8")
        found = refresh(parse(before), client, datetime.datetime.now(datetime.UTC).date())
        after = render(found.table)
        if after != before and not check:
            path.write_text(after, encoding="utf-8")
    except (TableError, OSError) as error:
        raise RequestError(str(error)) from error
    return {
        "changed": after != before,
        "changes": found.changes,
        "kept": found.kept,
        "diff": {"before_header": str(path), "after_header": str(path), "before": before, "after": after},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "endpoint_url": {"type": "str"}},
        supports_check_mode=True,
    )

    # The Price List is served from few regions, and knows the prices of all.
    def work(client: Callable[[str, str], Any]) -> dict[str, Any]:
        return run(Path(module.params["path"]), client("pricing", GLOBAL_REGION), module.check_mode)

    finish(module, work)


if __name__ == "__main__":
    main()
