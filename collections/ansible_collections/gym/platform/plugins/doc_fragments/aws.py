"""What is said once of every module that speaks to AWS."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of module_utils/aws_client.CONNECTION that means the same everywhere, and what it takes to use it."""

    DOCUMENTATION = r"""
options:
  endpoint_url:
    description: Another endpoint than AWS's own, such as an embedded cloud.
    type: str
requirements: [boto3]
"""
