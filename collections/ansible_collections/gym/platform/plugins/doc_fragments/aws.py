"""What is said once of everything that speaks to AWS."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of module_utils/aws_client.CONNECTION and WAITING that mean the same everywhere, and of lookups."""

    DOCUMENTATION = r"""
options:
  endpoint_url:
    description: Another endpoint than AWS's own, such as an embedded cloud.
    type: str
requirements: [boto3]
"""

    WAITING = r"""
options:
  timeout:
    description: How many seconds to wait for one step. A large database takes hours.
    type: int
    default: 14400
"""

    LOOKUP = r"""
options:
  platform:
    description: The noun C(platform), which says whose they are and where.
    type: dict
    required: true
    vars:
      - name: platform
  endpoint_url:
    description: Another endpoint than the cloud's own, such as an embedded cloud.
    type: str
    vars:
      - name: __stacks_endpoint
requirements: [boto3]
"""
