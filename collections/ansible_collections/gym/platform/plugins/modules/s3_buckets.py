"""Make the buckets of a store that speaks S3 on a machine that we configure."""

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_buckets
short_description: Make the buckets of a store that speaks S3
description:
  - Lists all buckets and makes those that are missing. One call for all of them.
  - A bucket that is not named is left alone, with its objects. On a cloud, buckets are stacks and not made by this.
options:
  buckets:
    description: Names of the buckets.
    type: list
    elements: str
    required: true
  endpoint_url:
    description: Where the store answers.
    type: str
    required: true
  region:
    description: The region that requests are signed for.
    type: str
    required: true
  access_key:
    description: The access key.
    type: str
    required: true
  secret_key:
    description: The secret key.
    type: str
    required: true
  ca_file:
    description: The authority that signed the store's certificate, where it is not a public one.
    type: path
requirements: [boto3]
attributes:
  check_mode:
    support: full
    description: Says which buckets it would make.
  diff_mode:
    support: full
    description: Shows the names before and after.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Make the buckets
  gym.platform.s3_buckets:
    endpoint_url: https://192.0.2.1:9000
    region: local-2
    access_key: "{{ secrets.object_store_access_key }}"
    secret_key: "{{ secrets.object_store_secret_key }}"
    ca_file: /etc/ssl/gym/ca.pem
    buckets: [gym-backup]
"""

RETURN = r"""
made:
  description: The buckets that were missing.
  type: list
  elements: str
  returned: always
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True

if TYPE_CHECKING:
    from botocore.client import BaseClient

HINTS = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "AuthorizationHeaderMalformed": "the store belongs to another region",
    "BucketAlreadyExists": "the name belongs to somebody else: choose another one",
    "InvalidBucketName": "a name has 3 to 63 lower-case letters, digits and hyphens",
}


def apply(client: Any, wanted: Sequence[str], check: bool) -> dict[str, Any]:
    """Read, diff, apply, report."""
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    missing = [name for name in dict.fromkeys(wanted) if name not in existing]
    for name in missing if not check else []:
        client.create_bucket(Bucket=name)
    after = existing | set(missing)
    return {
        "changed": bool(missing),
        "made": missing,
        "diff": {"before": _listing(existing), "after": _listing(after)},
    }


def _listing(names: set[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))


def _client(options: dict[str, Any]) -> BaseClient:
    client: BaseClient = boto3.session.Session(
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        region_name=options["region"],
    ).client(
        "s3",
        endpoint_url=options["endpoint_url"],
        verify=options["ca_file"],
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 5},
            # A store on a machine has no name for each bucket.
            s3={"addressing_style": "path"},
        ),
    )
    return client


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "buckets": {"type": "list", "elements": "str", "required": True},
            "endpoint_url": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            "access_key": {"type": "str", "required": True, "no_log": False},
            "secret_key": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    try:
        module.exit_json(**apply(_client(options), options["buckets"], module.check_mode))
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""
        hint = HINTS.get(code, "check that the store runs and can be reached from here")
        module.fail_json(msg=f"{options['endpoint_url']} refused: {error} ({hint}).")


if __name__ == "__main__":
    main()
