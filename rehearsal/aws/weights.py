"""Forwarding to several target groups by weight, which MiniStack's balancer forgets; and what AWS asks of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import alb, ecs


def parsed(parse: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    """Return what reads actions with their weights."""

    def actions(params: Mapping[str, Any], prefix: str = "DefaultActions") -> list[dict[str, Any]]:
        found = parse(params, prefix)
        for number, action in enumerate(found, 1):
            groups: list[dict[str, str]] = []
            base = f"{prefix}.member.{number}.ForwardConfig.TargetGroups.member"
            while arn := alb._p(params, f"{base}.{len(groups) + 1}.TargetGroupArn"):
                weight = alb._p(params, f"{base}.{len(groups) + 1}.Weight", "1")
                groups.append({"TargetGroupArn": arn, "Weight": weight})
            if groups:
                action["ForwardConfig"] = {"TargetGroups": groups}
        return found

    return actions


def written(write: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """Return what writes an action with its weights."""

    def xml(action: Mapping[str, Any]) -> str:
        groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
        members = "".join(
            f"<member>{''.join(f'<{key}>{group[key]}</{key}>' for key in group)}</member>" for group in groups
        )
        forward = f"<ForwardConfig><TargetGroups>{members}</TargetGroups></ForwardConfig>" if groups else ""
        return f"{write(action).removesuffix('</member>')}{forward}</member>"

    return xml


def attached(create: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what creates a service of ECS, and refuses as AWS does when no listener knows its target group."""

    def created(data: Mapping[str, Any]) -> Any:
        known = str([rule["Actions"] for rule in alb._rules.values()])
        for balancer in data.get("loadBalancers", []):
            if balancer["targetGroupArn"] not in known:
                text = f"The target group with targetGroupArn {balancer['targetGroupArn']} does not have an associated"
                return error_response_json("InvalidParameterException", f"{text} load balancer.", 400)
        return create(data)

    return created


def register() -> None:
    """Teach MiniStack."""
    alb._parse_actions, alb._action_xml = parsed(alb._parse_actions), written(alb._action_xml)
    ecs._ACTION_MAP["CreateService"] = attached(ecs._ACTION_MAP["CreateService"])
