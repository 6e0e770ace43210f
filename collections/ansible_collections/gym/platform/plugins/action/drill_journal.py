"""Have markers written while a disaster is practised, and wait for what their clients are told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.drill_book import DRILL, Book, BookError, Step
from ansible_collections.gym.platform.plugins.module_utils.drill_clients import (
    CLIENTS,
    CacheClient,
    Database,
    clear,
    prepare,
)
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import SETTLED_SECONDS, longest_gap, outages
from ansible_collections.gym.platform.plugins.plugin_utils.terminal import say

POLL_SECONDS = 0.2
ARGUMENTS: dict[str, dict[str, Any]] = {
    **DRILL,
    **CLIENTS,
    "state": {"type": "str", "choices": ["begun", "good", "ended", "absent"], "required": True},
    "rows": {"type": "bool", "default": True},
    "scenario": {"type": "str", "default": ""},
    "tenants": {"type": "list", "elements": "str", "default": []},
    "clients": {"type": "int", "default": 6},
    "interval_seconds": {"type": "float", "default": 0.1},
    "at_most_seconds": {"type": "int", "default": 7200},
    "timeout": {"type": "int", "default": 60},
}


def begun(journal: Sequence[Attempt], tenants: Sequence[str], clients: int) -> bool:
    """Tell whether each tenant has an acknowledged marker, and every client is likely to have had its turn."""
    good = [attempt for attempt in journal if attempt.acknowledged]
    return len(good) >= 2 * clients and {attempt.tenant for attempt in good} >= set(tenants)


def good(journal: Sequence[Attempt], now: float) -> bool:
    """Tell whether writes have been acknowledged for a while, and none of them failed."""
    since = now - SETTLED_SECONDS
    late = [attempt for attempt in journal if attempt.ended > since]
    failed = any(not attempt.acknowledged for attempt in late)
    return len(journal) > len(late) > 0 and not failed and late[-1].ended > now - 1


def owner(database: Mapping[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a session of the user who may make a schema. Raises psycopg.Error."""
    return Database(**database["place"]).connect(database["owner"], database["owner_password"])


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if self._task.check_mode:
            return {"changed": True}
        book = Book(Path(options["drill"]))
        try:
            result: dict[str, Any] = getattr(self, f"_{options['state']}")(book, options)
        except BookError as error:
            raise AnsibleActionFail(f"The drill cannot go on: {error}") from error
        return result

    def _begun(self, book: Book, options: Mapping[str, Any]) -> dict[str, Any]:
        if other := book.another():
            raise AnsibleActionFail(
                f"This environment is not fit for a drill: {other} is under way, and each would measure the other's"
                " disaster. Wait until it has ended."
            )
        if options["scenario"]:
            book.open(options["scenario"], os.getppid())
        if options["database"] and options["rows"]:
            with self._reached(options["database"]) as session:
                prepare(session, options["database"]["user"])
        keys = ("database", "cache", "rows", "tenants", "clients", "interval_seconds", "at_most_seconds")
        told = {key: options[key] for key in keys}
        if told["database"]:
            told["database"] = {key: told["database"][key] for key in ("place", "user", "password")}
        book.start(told, os.getppid())
        try:
            self._wait(book, options["timeout"], lambda: begun(book.attempts(), options["tenants"], options["clients"]))
        except BookError as error:
            book.stop()
            raise AnsibleActionFail(
                f"This environment is not fit for a drill: clients cannot write to it. {str(error).capitalize()}"
            ) from error
        return {"changed": True, "begun": time.time()}

    def _good(self, book: Book, options: Mapping[str, Any]) -> dict[str, Any]:
        name, since, failure = str(self._task.name), time.time(), ""
        try:
            self._wait(book, options["timeout"], lambda: good(book.attempts(), time.time()))
        except BookError as error:
            failure = str(error)
        step = Step(name, "controller", "", since, time.time(), failure)
        book.add(step)
        say(f"  {step.ended - step.begun:6.1f} s  {name}{f': {failure}' if failure else ''}")
        result = {"changed": False, "begun": step.begun, "ended": step.ended}
        return {**result, "failed": True, "msg": f"Clients do not write again: {failure}"} if failure else result

    @staticmethod
    def _ended(book: Book, _: Mapping[str, Any]) -> dict[str, Any]:
        book.stop()
        journal = book.attempts()
        seconds = [outage.seconds for outage in outages(journal)]
        return {
            "changed": True,
            "attempts": len(journal),
            "outages": seconds,
            "longest_gap_seconds": round(longest_gap(journal), 2),
        }

    def _absent(self, book: Book, options: Mapping[str, Any]) -> dict[str, Any]:
        book.stop()
        book.close()
        if book.another():
            return {"changed": False}
        # What cannot be reached now is cleared away by the next drill; the drill itself says what is wrong.
        with suppress(psycopg.Error, redis.RedisError, OSError):
            if options["database"] and options["rows"]:
                with owner(options["database"]) as session:
                    clear(session)
            if options["cache"]:
                CacheClient(options["cache"]).forget([attempt.marker for attempt in book.attempts()])
        return {"changed": True}

    @staticmethod
    def _reached(database: Mapping[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
        try:
            return owner(database)
        except psycopg.Error as error:
            place = database["place"]
            where = ", ".join(f"{address}:{place['port']}" for address in place["addresses"])
            raise AnsibleActionFail(
                f"This environment is not fit for a drill: the database cannot be reached at {where} from here:"
                f" {str(error).strip()} Is the address of this controller in access.controllers?"
            ) from error

    @staticmethod
    def _wait(book: Book, seconds: float, condition: Callable[[], bool]) -> None:
        """Wait for a condition, and say in BookError what the last failed attempt was told, when it does not come."""
        end = time.monotonic() + seconds
        while not condition():
            if not book.writes():
                raise BookError(f"the writer of markers has ended: {book.said()}")
            if time.monotonic() > end:
                failed = [attempt.error for attempt in book.attempts() if attempt.error]
                raise BookError(f"not within {seconds:.0f} s; the last failure: {failed[-1] if failed else 'none'}.")
            time.sleep(POLL_SECONDS)
