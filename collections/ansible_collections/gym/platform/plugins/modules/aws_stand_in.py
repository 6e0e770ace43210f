#!/usr/bin/python
"""Look whether a region has all the copies that a stand-in begins with; nothing is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_stand_in
short_description: Look whether a region has all the copies that a stand-in begins with
version_added: "0.2.0"
description:
  - Looks for the replicated backups of the database, and how old they are, the copies of secrets, buckets and images.
  - Asks O(region) alone, because the one that it is needed for may be lost.
options:
  instances:
    description: The instances of the primary's database.
    type: list
    elements: str
    required: true
  age_seconds:
    description: How far their backups may be behind, where O(to) is V(latest).
    type: int
    required: true
  to:
    description:
      - What the database is restored to, V(latest) or a time with its zone. A time is taken however long ago it is,
        because a region can be given up long after its backups have ended.
    type: str
    default: latest
  secrets:
    description: The secrets whose copies are needed.
    type: list
    elements: str
    default: []
  buckets:
    description: The copies of buckets, by their names.
    type: list
    elements: str
    default: []
  repository:
    description: The repository of the images.
    type: str
    default: ""
  version:
    description: The image that is going to be released, by its tag or digest; empty for none.
    type: str
    default: ""
  region:
    description: The region of the stand-in.
    type: str
    required: true
extends_documentation_fragment: [gym.platform.aws, gym.platform.reads]
author: The gym platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: See whether the other region could take over
  gym.platform.aws_stand_in:
    instances: [gym-production-1]
    age_seconds: 3600
    repository: gym/production/gym-api
    version: "1.2.3"
    region: eu-central-1
"""

RETURN = r"""
missing:
  description: What is missing, in sentences; empty when the region is fit.
  returned: success
  type: list
  elements: str
latest:
  description: The last moment to which the database can be restored.
  returned: when it can be
  type: str
  sample: "2030-01-31T11:55:00Z"
restored_to:
  description: The moment to which it is restored, the one of O(to) or the last one.
  returned: when it can be
  type: str
  sample: "2030-01-31T11:55:00Z"
parameters:
  description: What the stack of the stand-in's database is told, C(RestoreTime) and the backups of each shard.
  returned: when it can be restored
  type: dict
"""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils import moments
from ansible_collections.gym.platform.plugins.module_utils.aws_client import CONNECTION, RequestError, finish, unless
from ansible_collections.gym.platform.plugins.module_utils.aws_restore_rds import Instances
from ansible_collections.gym.platform.plugins.module_utils.aws_stand_in import Found, Wanted, missing, window
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import LATEST

# Describing answers at once.
TIMEOUT_SECONDS = 60


def run(options: Mapping[str, Any], client: Callable[[str], Any], now: datetime.datetime) -> dict[str, Any]:
    """Look for everything, and report. `client` makes a client of a service in the region. Raises RequestError."""
    instances = Instances(client("rds"), TIMEOUT_SECONDS)
    backups = {name: instances.replicated(name) for name in options["instances"]}
    earliest, latest = window([(one.earliest, one.latest) if one else None for one in backups.values()])
    wanted = Wanted(
        options["secrets"],
        options["buckets"],
        options["repository"],
        options["version"],
        options["age_seconds"],
        _moment(options["to"]),
    )
    found = Found(
        secrets=[name for name in wanted.secrets if _has_secret(client("secretsmanager"), name)],
        buckets=_buckets(client("s3")) if wanted.buckets else [],
        tags=_tags(client("ecr"), wanted.repository) if wanted.version else [],
        earliest=earliest,
        latest=latest,
    )
    restored_to = moments.show(wanted.to or latest) if latest else None
    arns = {f"Shard{number}BackupsArn": one.arn for number, one in enumerate(backups.values(), 1) if one}
    return {
        "changed": False,
        "missing": missing(wanted, found, options["region"], now),
        "latest": moments.show(latest) if latest else None,
        "restored_to": restored_to,
        "parameters": {"RestoreTime": restored_to, **arns} if latest else {},
    }


def _moment(text: str) -> datetime.datetime | None:
    """Read what the database is restored to; None for the latest moment. Raises RequestError."""
    if text == LATEST:
        return None
    try:
        return moments.read(text)
    except ValueError as error:
        raise RequestError(f"evacuate_to: {error}") from error


def _has_secret(client: Any, name: str) -> bool:
    found = unless("ResourceNotFoundException", lambda: client.describe_secret(SecretId=name))
    return found is not None and "DeletedDate" not in found


def _buckets(client: Any) -> list[str]:
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


def _tags(client: Any, repository: str) -> list[str] | None:
    """Return the tags and digests of a repository's images, the newest first; None without a repository."""
    pages = client.get_paginator("describe_images").paginate(repositoryName=repository)
    found = unless("RepositoryNotFoundException", lambda: [image for page in pages for image in page["imageDetails"]])
    if found is None:
        return None
    newest = sorted(found, key=lambda image: image["imagePushedAt"], reverse=True)
    tags = [tag for image in newest for tag in image.get("imageTags", [])]
    return tags + [image["imageDigest"] for image in newest]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "str", "required": True},
            "age_seconds": {"type": "int", "required": True},
            "to": {"type": "str", "default": LATEST},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "buckets": {"type": "list", "elements": "str", "default": []},
            "repository": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            **CONNECTION,
        },
        supports_check_mode=True,
    )
    options, now = module.params, datetime.datetime.now(datetime.UTC)
    finish(module, lambda client: run(options, lambda service: client(service, options["region"]), now))


if __name__ == "__main__":
    main()
