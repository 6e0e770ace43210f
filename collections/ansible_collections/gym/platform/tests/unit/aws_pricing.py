"""What the tests of prices share: the table of the repository, and templates of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_price import Line, Quote, quote
from ansible_collections.gym.platform.plugins.module_utils.aws_price_resources import PRICERS
from ansible_collections.gym.platform.plugins.module_utils.aws_price_table import Table, parse
from ansible_collections.gym.platform.plugins.module_utils.aws_price_template import Template
from ansible_collections.gym.platform.plugins.module_utils.aws_price_usage import usage
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import parse as parse_template

PLATFORM = Path(__file__).parents[2]
TEXT = (PLATFORM / "prices/aws.yml").read_text(encoding="utf-8")
TABLE: Table = parse(TEXT)
IRELAND, FRANKFURT = "eu-west-1", "eu-central-1"


def template(resources: str, head: str = "", stack: str = "part", **given: Any) -> Template:
    """Return a template of these resources in Ireland."""
    indented = "\n".join(f"  {line}" for line in resources.strip("\n").splitlines())
    return Template.of(stack, parse_template(f"{head}\nResources:\n{indented}\n"), given, IRELAND)


def priced(*templates: Template, table: Table = TABLE, **assumed: Any) -> Quote:
    """Price templates over three zones."""
    return quote(templates, table, usage(assumed), PRICERS, zones=3)


def lines(found: Quote) -> dict[str, Line]:
    """Return all lines by what they are for."""
    return {line.what: line for resource in found.resources for line in resource.lines}


def usd(figure: str, variant: str | None = None, region: str = IRELAND) -> float:
    """Return a figure of the table."""
    return TABLE.find(figure, region, variant).usd
