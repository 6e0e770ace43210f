"""How a module speaks to AWS outside of stacks: one way to connect, one to wait, one to end with a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import boto3
    from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain, unknown_region
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True

T = TypeVar("T")

# The options of every such module.
CONNECTION: dict[str, dict[str, Any]] = {
    "region": {"type": "str", "required": True},
    "endpoint_url": {"type": "str"},
}
ATTEMPTS = 10
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.2, 15.0


class RequestError(ValueError):
    """A request that cannot be fulfilled; the message is for the person who made it."""


def connect(options: Mapping[str, Any], service: str, region: str = "") -> Any:
    """Return a client of a service, with ten attempts and growing pauses. Raises RequestError for an unknown region."""
    session = boto3.session.Session()
    region = region or options["region"]
    if wrong := unknown_region(region, session.get_available_regions("rds")):
        raise RequestError(wrong)
    retries = {"mode": "adaptive", "total_max_attempts": ATTEMPTS}
    config = Config(connect_timeout=10, read_timeout=60, retries=retries)
    return session.client(service, region_name=region, endpoint_url=options["endpoint_url"], config=config)


def finish(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> NoReturn:
    """End the module with what `work` returns, or with one sentence of what stopped it."""
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    try:
        result = work()
    except RequestError as error:
        module.fail_json(msg=str(error))
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"{explain(error, module.params['region'])}.")
    module.exit_json(**result)
    raise AssertionError("exit_json ends the module")


def unless(absent: str, ask: Callable[[], T]) -> T | None:
    """Return what is asked for, or None when AWS answers with the code that says that it is not there."""
    try:
        return ask()
    except ClientError as error:
        if str(error.response.get("Error", {}).get("Code", "")).removesuffix("Fault") == absent:
            return None
        raise


def wait_until(ask: Callable[[], T], ended: Callable[[T], bool], what: str, timeout: float) -> T:
    """Ask again and again, ever less often, for at most `timeout` seconds. Raises RequestError."""
    end, delay = time.monotonic() + timeout, FIRST_DELAY_SECONDS
    while not ended(answer := ask()):
        if time.monotonic() > end:
            raise RequestError(
                f"{what} is not finished after {timeout:.0f} seconds: AWS carries on; repeat the run, which waits."
            )
        time.sleep(delay)
        delay = min(delay * 1.5, LONGEST_DELAY_SECONDS)
    return answer
