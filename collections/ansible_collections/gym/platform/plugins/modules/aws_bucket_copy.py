#!/usr/bin/python
"""Copy what a bucket has and another one has not, or only older, from region to region."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_bucket_copy
short_description: Copy what a bucket has and another one has not, or only older
version_added: "0.2.0"
description:
  - Compares two buckets by the names and times of their objects, and copies what O(source) has alone or newer. What S3
    has replicated has the time of its original.
  - S3 itself copies, from region to region; nothing passes through the controller.
  - Nothing is deleted, and what O(target) has newer stays.
  - What an interrupted run has copied is not copied again.
options:
  source:
    description: The bucket that objects come from.
    type: str
    required: true
  source_region:
    description: Its region.
    type: str
    required: true
  target:
    description: The bucket that they go to, which has its own encryption and life cycle.
    type: str
    required: true
  region:
    description: Its region.
    type: str
    required: true
  workers:
    description: How many objects are copied at the same time.
    type: int
    default: 32
extends_documentation_fragment: [gym.platform.aws]
attributes:
  check_mode:
    support: full
    description: Counts what would be copied.
  diff_mode:
    support: none
    description: There could be millions.
author: The gym platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Bring back what was stored in the other region
  gym.platform.aws_bucket_copy:
    source: gym-production-assets-dr-123456789012
    source_region: eu-central-1
    target: gym-production-assets-123456789012
    region: eu-west-1
"""

RETURN = r"""
copied:
  description: How many objects were copied.
  returned: success
  type: int
bytes:
  description: How many bytes they have.
  returned: success
  type: int
"""

import datetime
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, finish


@dataclass(frozen=True)
class Stored:
    """An object: its size in bytes, and when it was stored."""

    size: int
    stored: datetime.datetime


def to_copy(source: Mapping[str, Stored], target: Mapping[str, Stored]) -> list[str]:
    """Return the names of what is only in the source, or younger there."""
    return sorted(name for name, one in source.items() if name not in target or one.stored > target[name].stored)


def listed(client: Any, bucket: str) -> dict[str, Stored]:
    """Return what a bucket has."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {one["Key"]: Stored(one["Size"], one["LastModified"]) for page in pages for one in page.get("Contents", [])}


def run(options: Mapping[str, Any], client: Callable[[str, str], Any], check: bool) -> dict[str, Any]:
    """Compare, copy, report."""
    there, here = client("s3", options["source_region"]), client("s3", options["region"])
    source = listed(there, options["source"])
    names = to_copy(source, listed(here, options["target"]))
    if not check:
        with ThreadPoolExecutor(options["workers"]) as pool:
            # In parts where it is large; an exception of a thread comes out here.
            list(
                pool.map(
                    lambda name: here.copy(
                        {"Bucket": options["source"], "Key": name}, options["target"], name, SourceClient=there
                    ),
                    names,
                )
            )
    return {"changed": bool(names), "copied": len(names), "bytes": sum(source[name].size for name in names)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "source_region": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "workers": {"type": "int", "default": 32},
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    finish(module, lambda client: run(module.params, client, module.check_mode))


if __name__ == "__main__":
    main()
