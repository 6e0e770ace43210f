"""How the release to ECS asks AWS: what AWS refuses is a sentence, and what takes its time is waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, wait_until
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError
from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")


class RefusedError(DriverError):
    """AWS did not do what it was asked; `code` is AWS's own word for why, empty where it gave no answer."""

    def __init__(self, message: str, code: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code = code


class Aws:
    """The services of one region."""

    def __init__(self, clients: Callable[[str, str], Any], region: str) -> None:
        """Take what makes a client of a service in a region; none is made yet."""
        self._make, self.region = clients, region
        self._clients: dict[str, Any] = {}

    def ask(self, service: str, operation: str, /, **request: Any) -> dict[str, Any]:
        """Call an operation, by the name that boto3 gives it. Raises RefusedError."""
        answer: dict[str, Any] = self._told(lambda: getattr(self._client(service), operation)(**request))
        return answer

    def every(self, service: str, operation: str, key: str, /, **request: Any) -> list[Any]:
        """Return what all pages of an operation have under a key. Raises RefusedError."""
        pages = self._told(lambda: list(self._client(service).get_paginator(operation).paginate(**request)))
        return [item for page in pages for item in page[key]]

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._make(service, self.region)
        return self._clients[service]

    def _told(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RequestError as error:
            raise DriverError(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
            raise RefusedError(explain(error, self.region), code) from error


def until(ask: Callable[[], T], ended: Callable[[T], bool], seconds: float) -> T:
    """Ask until it has ended, or for so many seconds: the last answer tells which."""
    try:
        return wait_until(ask, ended, "", seconds)
    except RequestError:
        return ask()
