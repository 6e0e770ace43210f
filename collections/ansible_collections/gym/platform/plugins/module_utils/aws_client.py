"""How everything here speaks to AWS: one way to connect, one to wait, one to end with a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils.restore_plan import RefusedError

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

# The options of every module that speaks to one region.
CONNECTION: dict[str, dict[str, Any]] = {
    "region": {"type": "str", "required": True},
    "endpoint_url": {"type": "str"},
}
# The option of every module that waits for what AWS does with a database or a backup.
WAITING: dict[str, dict[str, Any]] = {"timeout": {"type": "int", "default": 14400}}
# What serves the whole account or the whole world (prices, costs, hosted zones) is asked for here.
GLOBAL_REGION = "us-east-1"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ATTEMPTS = 10
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.1, 5.0


class RequestError(ValueError):
    """A request that cannot be fulfilled; the message is for the person who made it."""


def clients(endpoint_url: str | None, workers: int = 1) -> Callable[[str, str], Any]:
    """Return what makes a client of a service in a region: ten attempts with growing pauses, as fast as AWS lets us.

    `workers` call at the same time. Raises RequestError for an endpoint that is no address; what is returned raises it
    for a region that does not exist.
    """
    address = urlsplit(endpoint_url or "https://")
    if address.scheme not in ("http", "https") or (endpoint_url and not address.hostname):
        raise RequestError(f"endpoint_url is '{endpoint_url}'; it is an address such as http://127.0.0.1:4566.")
    # What serves on this machine is a rehearsal, and gets to see no real credentials.
    rehearsal = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
    session = boto3.session.Session(**(rehearsal if address.hostname in LOOPBACK else {}))
    known = session.get_available_regions("cloudformation")
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=2 * workers,
        retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
    )

    def client(service: str, region: str) -> Any:
        if wrong := unknown_region(region, known):
            raise RequestError(wrong)
        return session.client(service, region_name=region, endpoint_url=endpoint_url, config=config)

    return client


def finish(module: AnsibleModule, work: Callable[[Callable[[str, str], Any]], dict[str, Any]]) -> NoReturn:
    """End the module with what `work` returns, which is given what makes clients, or with what stopped it."""
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    try:
        result = work(clients(module.params["endpoint_url"]))
    except (RequestError, RefusedError) as error:
        module.fail_json(msg=str(error))
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"{explain(error, module.params.get('region', GLOBAL_REGION))}.")
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
