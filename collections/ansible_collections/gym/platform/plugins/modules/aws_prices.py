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
  endpoint_url:
    description: Another endpoint than AWS's own.
    type: str
requirements: [boto3, PyYAML]
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
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.aws_price_refresh import API_REGION, refresh
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import TableError, parse, render

try:
    import boto3
    from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "endpoint_url": {"type": "str"}},
        supports_check_mode=True,
    )
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    path = Path(module.params["path"])
    try:
        before = path.read_text(encoding="utf-8")
        retries = Config(retries={"mode": "standard", "max_attempts": 10})
        client = boto3.client(
            "pricing", region_name=API_REGION, endpoint_url=module.params["endpoint_url"], config=retries
        )
        found = refresh(parse(before), client, datetime.datetime.now(datetime.UTC).date())
        after = render(found.table)
        if after != before and not module.check_mode:
            path.write_text(after, encoding="utf-8")
    except (TableError, OSError) as error:
        module.fail_json(msg=str(error))
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"{explain(error, API_REGION)}.")
    module.exit_json(
        changed=after != before,
        changes=found.changes,
        kept=found.kept,
        diff={"before_header": str(path), "after_header": str(path), "before": before, "after": after},
    )


if __name__ == "__main__":
    main()
