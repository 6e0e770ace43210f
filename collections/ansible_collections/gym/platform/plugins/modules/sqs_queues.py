"""Make the SQS queues that the noun `queues` describes, with their dead-letter queues."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sqs_queues
short_description: Make the queues that an environment describes, with their dead-letter queues
description:
  - Reads all queues, works out what is missing or different, applies that, and reports it queue by queue.
  - One call for all queues. Works against SQS itself and against an endpoint that speaks its protocol.
  - A queue that is not described is left alone unless O(prune=true).
  - A queue cannot become a FIFO queue or cease to be one.
options:
  queues:
    description: The queues.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name, without C(.fifo).
        type: str
        required: true
      fifo:
        description: Whether messages keep their order.
        type: bool
        default: false
      visibility_timeout_seconds:
        description: How long a message that was received stays hidden from others.
        type: int
        required: true
      retention_days:
        description: How long a message is kept.
        type: int
        required: true
      backoff:
        description:
          - How workers wait between attempts. A queue of SQS has no such property, but whole records can be given.
        type: dict
      dead_letter:
        description: Where a message goes that could not be handled.
        type: dict
        suboptions:
          name:
            description: The name of that queue, without C(.fifo).
            type: str
            required: true
          max_receives:
            description: After so many receives without a deletion.
            type: int
            required: true
          retention_days:
            description: How long it is kept there.
            type: int
            required: true
  prefix:
    description: Stands before every name, so that environments can share an account.
    type: str
    default: ""
  prune:
    description: Whether queues with the prefix that are not described are deleted, with their messages. Needs a prefix.
    type: bool
    default: false
  endpoint_url:
    description: The endpoint; without it, SQS itself.
    type: str
  region:
    description: The region.
    type: str
    required: true
  access_key:
    description: The access key; without it, boto3 looks for credentials in its own places.
    type: str
  secret_key:
    description: The secret key.
    type: str
  ca_file:
    description: The authority that signed the endpoint's certificate, where it is not a public one.
    type: path
requirements: [boto3]
attributes:
  check_mode:
    support: full
    description: Reports what it would do.
  diff_mode:
    support: full
    description: Shows the attributes of each queue before and after.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Make the queues
  gym.platform.sqs_queues:
    endpoint_url: http://192.0.2.1:4566
    region: eu-central-1
    queues:
      - name: notifications
        visibility_timeout_seconds: 30
        retention_days: 4
        dead_letter: {name: notifications-dead, max_receives: 5, retention_days: 14}
"""

RETURN = r"""
queues:
  description: The queues by name, with URL and ARN. Those that check mode would create are missing.
  type: dict
  returned: always
  sample: {"notifications": {"url": "http://192.0.2.1:4566/000000000000/notifications", "arn": "arn:aws:sqs:..."}}
changes:
  description: What was done, or would be done, in words.
  type: list
  elements: str
  returned: always
  sample: ["create notifications", "set VisibilityTimeout of reports"]
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.sqs import (
    Existing,
    Queue,
    QueueError,
    attributes_with_references,
    differences,
    strangers,
    wished,
)

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


class Queues:
    """The queues of one account and region."""

    def __init__(self, client: BaseClient) -> None:
        """Use this SQS client."""
        self._client: Any = client

    def read(self, prefix: str) -> dict[str, Existing]:
        """All queues with this prefix, by name, with all of their attributes."""
        arguments = {"QueueNamePrefix": prefix} if prefix else {}
        pages = self._client.get_paginator("list_queues").paginate(**arguments, PaginationConfig={"PageSize": 1000})
        urls = [url for page in pages for url in page.get("QueueUrls", [])]
        return {url.rsplit("/", 1)[1]: self.get(url) for url in urls}

    def get(self, url: str) -> Existing:
        """One queue."""
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return Existing(url, answer["Attributes"])

    def create(self, queue: Queue) -> Existing:
        """Create a queue with what does not refer to another queue."""
        answer = self._client.create_queue(QueueName=queue.name, Attributes=dict(queue.attributes))
        return self.get(answer["QueueUrl"])

    def set(self, url: str, attributes: Mapping[str, str]) -> None:
        """Set some attributes."""
        self._client.set_queue_attributes(QueueUrl=url, Attributes=dict(attributes))

    def delete(self, url: str) -> None:
        """Delete a queue with its messages."""
        self._client.delete_queue(QueueUrl=url)


def apply(queues: Queues, wishes: Sequence[Queue], prefix: str, prune: bool, check: bool) -> dict[str, Any]:
    """Read, diff, apply, report."""
    existing = queues.read(prefix)
    before = {name: _shown(queue.attributes, wishes, name) for name, queue in existing.items()}
    after = {name: dict(shown) for name, shown in before.items()}
    changes: list[str] = []
    for wish in wishes:
        if wish.name not in existing:
            changes.append(f"create {wish.name}")
            after[wish.name] = dict(wish.attributes)
            if not check:
                existing[wish.name] = queues.create(wish)
    # Only now does every queue have an ARN by which another one can refer to it.
    arns = {name: queue.attributes["QueueArn"] for name, queue in existing.items()}
    for wish in wishes:
        if wish.name not in existing:
            continue
        wanted = differences(attributes_with_references(wish, arns), existing[wish.name])
        if not wanted:
            continue
        if "FifoQueue" in wanted:
            raise QueueError(f"queue '{wish.name}' exists with another kind of order; give the new one another name.")
        if wish.name in before:
            changes.append(f"set {', '.join(sorted(wanted))} of {wish.name}")
        after[wish.name].update(wanted)
        if not check:
            queues.set(existing[wish.name].url, wanted)
    for name in strangers(wishes, before, prefix) if prune else []:
        changes.append(f"delete {name}")
        del after[name]
        if not check:
            queues.delete(existing.pop(name).url)
    named = {wish.name for wish in wishes}
    return {
        "changed": bool(changes),
        "changes": changes,
        "queues": {
            name: {"url": queue.url, "arn": queue.attributes["QueueArn"]}
            for name, queue in sorted(existing.items())
            if name in named
        },
        "diff": {"before": _text(before), "after": _text(after)},
    }


def _shown(attributes: Mapping[str, str], wishes: Sequence[Queue], name: str) -> dict[str, str]:
    """The attributes that are ours to say; counters and time stamps would make every diff differ."""
    ours = {key for wish in wishes if wish.name == name for key in (*wish.attributes, "RedrivePolicy")}
    return {key: value for key, value in attributes.items() if key in ours | {"RedriveAllowPolicy"}}


def _text(queues: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps(queues, indent=2, sort_keys=True) + "\n"


def prefixed(records: Sequence[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """The records with the prefix before every name."""
    result = []
    for record in records:
        letter = record.get("dead_letter")
        dead = {**letter, "name": prefix + letter["name"]} if letter else None
        result.append({**record, "name": prefix + record["name"], "dead_letter": dead})
    return result


def _client(options: Mapping[str, Any]) -> BaseClient:
    session = boto3.session.Session(
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        region_name=options["region"],
    )
    client: BaseClient = session.client(
        "sqs",
        endpoint_url=options["endpoint_url"],
        verify=options["ca_file"],
        config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 5}),
    )
    return client


def _fail(module: AnsibleModule, error: Exception) -> NoReturn:
    where = module.params["endpoint_url"] or f"SQS in {module.params['region']}"
    hints = {
        "AccessDenied": "the key may not manage queues",
        "InvalidClientTokenId": "the access key is not known there",
        "SignatureDoesNotMatch": "the secret key does not belong to the access key",
        "AWS.SimpleQueueService.QueueDeletedRecently": "wait a minute: SQS keeps the name of a deleted queue so long",
    }
    code = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""
    hint = hints.get(code, "check that the endpoint runs and can be reached from here")
    module.fail_json(msg=f"{where} refused: {error} ({hint}).")
    raise AssertionError("fail_json ends the module")


def main() -> None:
    """Run the module."""
    dead_letter = {
        "name": {"type": "str", "required": True},
        "max_receives": {"type": "int", "required": True},
        "retention_days": {"type": "int", "required": True},
    }
    queue = {
        "name": {"type": "str", "required": True},
        "fifo": {"type": "bool", "default": False},
        "visibility_timeout_seconds": {"type": "int", "required": True},
        "retention_days": {"type": "int", "required": True},
        "backoff": {"type": "dict"},
        "dead_letter": {"type": "dict", "options": dead_letter},
    }
    module = AnsibleModule(
        argument_spec={
            "queues": {"type": "list", "elements": "dict", "required": True, "options": queue},
            "prefix": {"type": "str", "default": ""},
            "prune": {"type": "bool", "default": False},
            "endpoint_url": {"type": "str"},
            "region": {"type": "str", "required": True},
            "access_key": {"type": "str", "no_log": False},
            "secret_key": {"type": "str", "no_log": True},
            "ca_file": {"type": "path"},
        },
        required_together=[("access_key", "secret_key")],
        supports_check_mode=True,
    )
    options = module.params
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    if options["prune"] and not options["prefix"]:
        module.fail_json(msg="prune deletes the queues with a prefix that are not described; give the prefix.")
    try:
        wishes = wished(prefixed(options["queues"], options["prefix"]))
        result = apply(Queues(_client(options)), wishes, options["prefix"], options["prune"], module.check_mode)
    except QueueError as error:
        module.fail_json(msg=str(error))
    except (BotoCoreError, ClientError) as error:
        _fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
