#!/usr/bin/python
"""Price an environment on AWS from its rendered templates, and write the report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_cost
short_description: Price an environment on AWS from its rendered templates
version_added: "0.2.0"
description:
  - Reads the templates that C(playbooks/declare.yml) has rendered, and says what they cost in a month by capability and
    by resource, from a table of list prices. Needs no account and no credentials.
  - What has no price in the table is named with the reason, and is not part of the sum.
  - Counts the least that autoscaling keeps, with its schedules and its part on Spot.
options:
  templates:
    description: The directory of the rendered templates.
    type: path
    required: true
  prices:
    description: The table of prices.
    type: path
    required: true
  environment:
    description: The name of the environment, for the report.
    type: str
    required: true
  region:
    description: The region of stacks that ask for no other.
    type: str
    required: true
  zones:
    description: How many zones the environment spans.
    type: int
    required: true
  budget_usd:
    description: The budget of a month, in US dollars.
    type: float
    required: true
  usage:
    description: What the environment is used for in a month, where it is not the usual. The keys are in docs/cost.md.
    type: dict
    default: {}
  parameters:
    description: Values of parameters that the templates leave open.
    type: dict
    default: {}
  before:
    description:
      - The templates of the stacks as they are, as C(live) of M(gym.platform.aws_stacks) writes them. RV(text) and
        RV(plan) then say what going from these to O(templates) does to the price. Without a stack in it, all is new.
    type: path
  reports:
    description: Where the report is written, as JSON and as a page. Without it, there is none.
    type: path
requirements: [PyYAML]
attributes:
  check_mode:
    support: full
    description: Writes no report.
  diff_mode:
    support: none
    description: Nothing but reports is written, and they are no change of the environment.
author: The gym platform's engineers (@gym)
seealso:
  - module: gym.platform.aws_stacks
  - module: gym.platform.aws_prices
"""

EXAMPLES = r"""
- name: Price production
  gym.platform.aws_cost:
    templates: build/production/aws
    prices: collections/ansible_collections/gym/platform/prices/aws.yml
    environment: production
    region: eu-west-1
    zones: 3
    budget_usd: 4500
    usage: {requests_per_second: 50}
    reports: reports/production/cost
"""

RETURN = r"""
monthly:
  description: The price of a month, in US dollars.
  returned: success
  type: float
  sample: 2086.85
capabilities:
  description: The price of each capability, in US dollars a month.
  returned: success
  type: dict
  sample: {"database": 862.78, "network": 231.71}
savings:
  description:
    - What V(spot) and V(off_peak) schedules save already, and what reserving for a year would save more
      (V(reservable)), in US dollars a month.
  returned: success
  type: dict
  sample: {"spot": 41.2, "off_peak": 12.9, "reservable": 413.83}
unpriced:
  description: What has no price, and why.
  returned: success
  type: list
  elements: dict
  sample: [{"stack": "compute", "resource": "Cluster", "type": "AWS::ECS::Cluster", "reason": "…"}]
plan:
  description: The price before and after with every resource that changes it, in US dollars a month.
  returned: with O(before)
  type: dict
  sample: {"before": 1838.96, "after": 2158.98, "difference": 320.02, "changes": []}
refusal:
  description: Why the plan is to be refused unless somebody confirms it; empty where it keeps to the budget, or saves.
  returned: with O(before)
  type: str
  sample: "The plan brings the environment to 5,012.40 USD a month, 512.40 above its budget…"
text:
  description: The same as a table; with O(before), what changes, resource by resource, and the sum before and after.
  returned: success
  type: str
files:
  description: The files of the report.
  returned: success
  type: list
  elements: str
  sample: [reports/production/cost/20250102T030405Z.json, reports/production/cost/20250102T030405Z.html]
"""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_price import Quote
from ansible_collections.gym.platform.plugins.module_utils.aws_price_report import (
    PlanPrice,
    Pricing,
    page,
    plan_price,
    text,
)
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import TableError, parse
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import read_directory
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import UsageError, usage
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import TemplateError


def write(found: Quote, budget: float, environment: str, directory: Path, now: datetime.datetime) -> list[str]:
    """Write the report as JSON and as a page, and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    time = now.strftime("%Y%m%dT%H%M%SZ")
    record = {"environment": environment, "time": now.isoformat(), "budget": budget, **found.record()}
    files = {
        directory / f"{time}.json": json.dumps(record, indent=2) + "\n",
        directory / f"{time}.html": page(found, budget, environment, f"{now:%Y-%m-%d %H:%M} UTC"),
    }
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    return [str(path) for path in files]


def compared(pricing: Pricing, file: Path, given: Mapping[str, Any], after: Quote) -> PlanPrice:
    """Compare the live templates in a file with what is planned; both have the same values of parameters.

    Raises TemplateError for what is no such file.
    """
    try:
        live = json.loads(file.read_text(encoding="utf-8"))
        before = pricing.of_stacks({name: (body, given) for name, body in live.items()})
    except (ValueError, AttributeError, KeyError) as error:
        raise TemplateError(f"before is '{file}', which aws_stacks has not written: it has no templates.") from error
    return plan_price(pricing, before if live else None, after, confirmed=False)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "templates": {"type": "path", "required": True},
            "prices": {"type": "path", "required": True},
            "environment": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            "zones": {"type": "int", "required": True},
            "budget_usd": {"type": "float", "required": True},
            "usage": {"type": "dict", "default": {}},
            "parameters": {"type": "dict", "default": {}},
            "before": {"type": "path"},
            "reports": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    budget = options["budget_usd"]
    try:
        table = parse(Path(options["prices"]).read_text(encoding="utf-8"))
        pricing = Pricing(table, usage(options["usage"]), options["region"], options["zones"], budget)
        templates = read_directory(Path(options["templates"]), options["parameters"], options["region"])
        found = pricing.quote(templates)
        plan = None
        if options["before"]:
            plan = compared(pricing, Path(options["before"]), options["parameters"], found)
        files = []
        if options["reports"] and not module.check_mode:
            now = datetime.datetime.now(datetime.UTC)
            files = write(found, budget, options["environment"], Path(options["reports"]), now)
    except (TableError, TemplateError, UsageError, OSError) as error:
        module.fail_json(msg=str(error))
    record = found.record()
    shown = {key: record[key] for key in ("monthly", "capabilities", "savings", "unpriced")}
    if plan:
        shown |= {"plan": plan.record, "refusal": plan.refusal or ""}
    module.exit_json(changed=False, text=plan.text if plan else text(found, budget), files=files, **shown)


if __name__ == "__main__":
    main()
