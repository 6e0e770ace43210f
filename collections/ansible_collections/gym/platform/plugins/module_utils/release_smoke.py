"""Smoke tests: does a colour answer as its version, before anybody depends on it?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Address, Request

# A colour has several instances, and the front door chooses.
REQUESTS = 4
SHOWN_CHARACTERS = 200


class SmokeError(Exception):
    """A colour did not answer as it should; the message says which request and how it was answered."""


@dataclass(frozen=True)
class SmokeTest:
    """One request: `contains` is a text of the answer; with `versioned` it is JSON whose `version` is the release's."""

    service: str
    path: str
    status: int = 200
    contains: str = ""
    versioned: bool = False


def smoke(address: Address, tests: Sequence[SmokeTest], version: str) -> str:
    """Make all requests and return what was asked, in words. Raises SmokeError, and DriverError for no answer."""
    asked = [test for test in tests for _ in range(REQUESTS)]
    answers = address.ask([Request(test.service, test.path) for test in asked])
    for test, answer in zip(asked, answers, strict=True):
        shown = f"{test.service}: GET {test.path} was answered {answer.status}: {answer.body[:SHOWN_CHARACTERS]}"
        if answer.status != test.status:
            raise SmokeError(f"{shown} (wanted: {test.status})")
        if test.contains not in answer.body:
            raise SmokeError(f"{shown} (wanted: a text with {test.contains!r})")
        if test.versioned and (answered := _version(answer.body)) != version:
            raise SmokeError(f"{test.service}: GET {test.path} was answered by version {answered}, not {version}")
    return f"{len(asked)} requests answered as wanted"


def _version(body: str) -> str:
    try:
        return str(json.loads(body)["version"])
    except (ValueError, KeyError, TypeError):
        return f"unknown ({body[:SHOWN_CHARACTERS]})"
