"""Where the balancer sends requests: by two weights on the live listener, by a header on the test listener."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import (
    BLUE,
    COLOURS,
    GREEN,
    Answer,
    DriverError,
    Request,
)
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_aws import Aws
from ansible_collections.gym.platform.plugins.module_utils.release_ecs_records import Record, Target, tags

HEADER = "X-Release-Colour"
FIRST_PRIORITY = 10
REQUEST_SECONDS = 10


class Traffic:
    """The rules of both listeners. Both answer 404 where there is no rule; that is the stack's."""

    def __init__(self, target: Target, aws: Aws) -> None:
        """Remember both; nothing is asked yet."""
        self._target, self._aws = target, aws
        self._web = target.of_kind("web")

    def share(self) -> int | None:
        """Return the per cent of requests that goes to green, None where the services' rules do not agree."""
        rules = self._rules("Live")
        shares = {self._green(rules.get(key(self._target.host(service)))) for service in self._web}
        return shares.pop() if len(shares) == 1 else None

    def shift(self, share: int) -> None:
        """Give green this per cent of the requests of every web service, and blue the rest."""
        rules = self._rules("Live")
        for service in self._web:
            weights = {BLUE: 100 - share, GREEN: share}
            groups = [
                {"TargetGroupArn": self._target.targets(service, colour), "Weight": weight}
                for colour, weight in weights.items()
            ]
            self._have("Live", rules, [host_is(self._target.host(service))], groups)

    def try_out(self) -> None:
        """Let the test listener send a request to the colour that its header names.

        ECS starts a service only when a listener knows its target group, so this comes before anything is started.
        """
        rules = self._rules("Trial")
        for service in self._web:
            for colour in COLOURS:
                conditions = [host_is(self._target.host(service)), header_is(colour)]
                groups = [{"TargetGroupArn": self._target.targets(service, colour), "Weight": 1}]
                self._have("Trial", rules, conditions, groups)

    def tidy(self, hosts: Collection[str]) -> None:
        """Remove the rules of all names but these."""
        for listener in ("Live", "Trial"):
            for found, rule in self._rules(listener).items():
                if found.split()[0] not in hosts:
                    self._aws.ask("elbv2", "delete_rule", RuleArn=rule["RuleArn"])

    def _rules(self, listener: str) -> dict[str, Any]:
        arn = self._target.fact(f"Compute{listener}ListenerArn")
        rules = self._aws.every("elbv2", "describe_rules", "Rules", ListenerArn=arn)
        return {key_of(rule["Conditions"]): rule for rule in rules if not rule["IsDefault"]}

    def _green(self, rule: Record | None) -> int | None:
        if rule is None:
            return None
        weights = weights_of(rule)
        green = sum(weight for arn, weight in weights.items() if arn in self._greens())
        return round(100 * green / (sum(weights.values()) or 1))

    def _greens(self) -> set[str]:
        return {self._target.targets(service, GREEN) for service in self._web}

    def _have(self, listener: str, rules: dict[str, Any], conditions: list[Any], groups: list[dict[str, Any]]) -> None:
        name = key_of(conditions)
        actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
        if rule := rules.get(name):
            if weights_of(rule) != {group["TargetGroupArn"]: group["Weight"] for group in groups}:
                self._aws.ask("elbv2", "modify_rule", RuleArn=rule["RuleArn"], Actions=actions)
            return
        taken = {int(rule["Priority"]) for rule in rules.values()}
        made = self._aws.ask(
            "elbv2",
            "create_rule",
            ListenerArn=self._target.fact(f"Compute{listener}ListenerArn"),
            Priority=next(number for number in range(FIRST_PRIORITY, FIRST_PRIORITY + 1000) if number not in taken),
            Conditions=conditions,
            Actions=actions,
            Tags=[{"Key": tag["key"], "Value": tag["value"]} for tag in tags(self._target)],
        )
        rules[name] = made["Rules"][0]


@dataclass(frozen=True)
class TrialListener:
    """The balancer's second listener, which answers what runs in the network of the environment only."""

    url: str
    colour: str
    # The name that each web service answers at.
    hosts: Mapping[str, str]

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask for the colour by its header."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        headers = {"Host": self.hosts[request.service], HEADER: self.colour}
        asked = urllib.request.Request(f"{self.url}{request.path}", headers=headers)  # noqa: S310  ours, or the role's
        try:
            with urllib.request.urlopen(asked, timeout=REQUEST_SECONDS) as answer:  # noqa: S310
                return Answer(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(errors="replace"))
        except OSError as error:
            raise DriverError(
                f"{request.service}: the test listener {self.url} does not answer ({error}). It answers only within the"
                " environment's network, so that is where a release has to run"
            ) from error


def host_is(name: str) -> dict[str, Any]:
    """Return the condition that a request is for this name."""
    return {"Field": "host-header", "HostHeaderConfig": {"Values": [name]}}


def header_is(colour: str) -> dict[str, Any]:
    """Return the condition that a request asks for this colour."""
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": HEADER, "Values": [colour]}}


def key(host: str, colour: str = "") -> str:
    """Return what tells a rule from others of its listener."""
    return f"{host} {colour}".rstrip()


def key_of(conditions: list[Record]) -> str:
    """Return the key of a rule with these conditions."""
    values = {one["Field"]: one.get("HostHeaderConfig") or one.get("HttpHeaderConfig") or {} for one in conditions}
    host, header = (values.get(field, {}).get("Values", [""])[0] for field in ("host-header", "http-header"))
    return key(host, header)


def weights_of(rule: Record) -> Mapping[str, int]:
    """Return the weight of each target group of a rule."""
    action = rule["Actions"][0]
    # AWS may tell of a single target group without the list.
    groups = action.get("ForwardConfig", {}).get("TargetGroups") or [action]
    return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
