# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rule of the policy is: it is given the description of an environment, and says what it finds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.environment import Document, Path_


class UnsoundError(Exception):
    """A rule asked for a noun that is missing or whose form is broken."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule found: where, what, and how to put it right."""

    path: Path_
    message: str
    legal: str = ""
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Description:
    """The nouns of one environment and its hosts, as the rules see them."""

    environment: str
    nouns: Mapping[str, Document]
    hosts: Document | None = None

    def __getitem__(self, noun: str) -> Any:
        """Return the value of a noun."""
        if noun not in self.nouns:
            raise UnsoundError(noun)
        return self.nouns[noun].value[noun]

    def records(self, noun: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Return the records of a noun that is a list, each with its place."""
        yield from enumerate(self[noun])

    @functools.cached_property
    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the hosts of every inventory group, those of its children included."""
        if self.hosts is None:
            raise UnsoundError("hosts")
        found: dict[str, dict[str, dict[str, Any]]] = {}

        def visit(name: str, group: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
            hosts = {host: dict(variables or {}) for host, variables in ((group or {}).get("hosts") or {}).items()}
            for child, content in ((group or {}).get("children") or {}).items():
                for host, variables in visit(child, content).items():
                    hosts[host] = {**hosts.get(host, {}), **variables}
            for host, variables in hosts.items():
                found.setdefault(name, {}).setdefault(host, {}).update(variables)
            found.setdefault(name, {})
            return hosts

        for name, group in (self.hosts.value or {}).items():
            visit(name, group)
        return found

    @functools.cached_property
    def addresses(self) -> dict[str, str]:
        """Return the address of every host that is listed with one."""
        hosts = {host: given for group in self.groups.values() for host, given in group.items() if given}
        return {host: str(given["ansible_host"]) for host, given in hosts.items() if "ansible_host" in given}


Rule = Callable[[Description], Iterable[Finding]]


def repeated(values: Iterable[tuple[Path_, Any]]) -> Iterator[tuple[Path_, Any, Path_]]:
    """Find values that stand in two places."""
    seen: dict[Any, Path_] = {}
    for path, value in values:
        if value in seen:
            yield path, value, seen[value]
        else:
            seen[value] = path
