"""Who the primary is, from Sentinels of which some are gone."""

import asyncio
from typing import Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError

from gym_api.cache import Sentinels

PRIMARY = {"ip": "10.0.0.1", "port": 6379, "is_master": True, "is_sdown": False, "is_odown": False}


class Answering:
    """A Sentinel with this opinion."""

    def __init__(self, **state: Any) -> None:
        self._state = {**PRIMARY, "num-other-sentinels": 2, **state}

    async def sentinel_masters(self) -> dict[str, Any]:
        return {"cache": self._state}


class Refusing:
    """A Sentinel whose host runs, and nothing on it."""

    async def sentinel_masters(self) -> dict[str, Any]:
        raise ConnectionRefusedError


class Gone:
    """A Sentinel whose host takes no packet and answers none."""

    async def sentinel_masters(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("never")


def primary(*sentinels: Any) -> tuple[str, int]:
    async def discover() -> tuple[str, int]:
        asked = Sentinels([])  # type: ignore[no-untyped-call]
        asked.sentinels = list(sentinels)
        async with asyncio.timeout(1):
            return await asked.discover_master("cache")

    return asyncio.run(discover())


def test_a_sentinel_that_is_gone_holds_nobody_up() -> None:
    assert primary(Gone(), Refusing(), Answering()) == ("10.0.0.1", 6379)


def test_a_primary_that_a_sentinel_misses_is_none() -> None:
    assert primary(Answering(is_sdown=True), Answering(ip="10.0.0.2")) == ("10.0.0.2", 6379)


def test_without_an_answer_there_is_no_primary() -> None:
    with pytest.raises(MasterNotFoundError, match="cache"):
        primary(Refusing(), Answering(is_odown=True))
