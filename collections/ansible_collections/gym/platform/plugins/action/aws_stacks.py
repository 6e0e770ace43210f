"""Read, plan, apply, compare or delete an environment's stacks, and tell how far each of them is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.plugin_utils.terminal import say

try:
    from ansible_collections.gym.platform.plugins.module_utils import (
        aws_stack_drift,
        aws_template_needs,
        aws_templates,
        stack_plan,
    )
    from ansible_collections.gym.platform.plugins.module_utils.aws_client import GLOBAL_REGION, RequestError, clients
    from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Outcome, Settings, Stacks
    from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    raise AnsibleActionFail(f"gym.platform.aws_stacks needs boto3 where ansible-playbook runs: {error}.") from error

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["read", "planned", "applied", "drift", "absent"], "default": "applied"},
    "directory": {"type": "path"},
    "live": {"type": "path"},
    "stacks": {"type": "list", "elements": "str", "default": []},
    "platform": {"type": "str", "required": True},
    "environment": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "regions": {"type": "list", "elements": "str", "default": []},
    "stands_in_for": {"type": "str", "default": ""},
    "parameters": {"type": "dict", "default": {}},
    "confirm_destroy": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "bool", "default": True},
    "keep": {"type": "bool", "default": True},
    "workers": {"type": "int", "default": 8},
    "timeout": {"type": "int", "default": 7200},
    "endpoint_url": {"type": "str"},
}


def write_live(templates: Mapping[str, Mapping[str, Any]], file: str | None) -> dict[str, str]:
    """Write templates by the names of their stacks, if a file is asked for. Raises RequestError if it cannot be."""
    if file is None:
        return {}
    path = Path(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(templates, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"live is '{path}', which cannot be written: {error.strerror}.") from error
    return {"live": file}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is described in the module of the same name. Raises AnsibleActionFail with one sentence."""
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec=ARGUMENTS,
            required_if=[("state", "planned", ["directory"]), ("state", "applied", ["directory"])],
        )
        begun = time.monotonic()
        try:
            return {**self._act(options), "elapsed": round(time.monotonic() - begun, 2)}
        # A result, and no exception: a task may expect it.
        except (aws_templates.TemplateError, RequestError) as error:
            return {"failed": True, "msg": str(error)}
        except (BotoCoreError, ClientError) as error:
            return {"failed": True, "msg": f"{explain(error, options['region'])}."}

    def _act(self, options: Mapping[str, Any]) -> dict[str, Any]:
        state = options["state"]
        declared = aws_templates.load(Path(options["directory"])) if state in ("planned", "applied") else {}
        client = clients(options["endpoint_url"], options["workers"])
        given = {name: str(value) for name, value in options["parameters"].items()}
        settings = Settings(
            options["platform"],
            options["environment"],
            options["region"],
            tuple(options["regions"]),
            parameters={**self._primary(options, client), **given},
            confirmed=frozenset(options["confirm_destroy"]),
            prune=options["prune"],
            keep=options["keep"],
            workers=options["workers"],
            timeout=options["timeout"],
        )
        stacks = Stacks(settings, client, declared, options["stacks"] if declared else (), say)
        if state == "drift":
            found = stacks.drift()
            return {**found, "changed": False, "outputs": stacks.outputs(), "text": aws_stack_drift.rendered(found)}
        if state == "absent":
            plan, act = stacks.destroy(options["stacks"])
            return self._carry_out(stacks, plan, act, only_plan=False)
        if state == "read":
            live = write_live(stacks.read_templates(), options["live"])
            return {**live, "changed": False, "outputs": stacks.outputs()}
        plan = stacks.plan()
        live = write_live(stacks.before, options["live"])
        return live | self._carry_out(stacks, plan, lambda: stacks.apply(plan), only_plan=state == "planned")

    def _primary(self, options: Mapping[str, Any], client: Callable[[str, str], Any]) -> dict[str, str]:
        """Return what the primary of a stand-in has in this region and where no region can be lost, as parameters."""
        if not (primary := options["stands_in_for"]):
            return {}
        # Its own region is not asked: a stand-in is needed when that does not answer.
        stacks = Stacks(Settings(options["platform"], primary, options["region"], (GLOBAL_REGION,)), client)
        stacks.read()
        return aws_template_needs.as_parameters("primary", stacks.outputs())

    def _carry_out(
        self, stacks: Stacks, plan: stack_plan.Plan, act: Callable[[], Outcome], only_plan: bool
    ) -> dict[str, Any]:
        text = stack_plan.rendered(plan)
        result: dict[str, Any] = {
            "plan": plan.as_dict(),
            "refused": [change.name for change in stacks.refused(plan)],
            "text": text,
            "changed": not (plan.empty or only_plan),
            "outputs": stacks.outputs(),
        }
        if self._task.diff:
            result["diff"] = {"prepared": text}
        if only_plan or self._task.check_mode:
            return result
        outcome = Outcome() if plan.empty else act()
        result |= {**outcome.as_dict(), "outputs": stacks.outputs(), "resources": stacks.resources()}
        if outcome.failed:
            result |= {"failed": True, "msg": outcome.complaint()}
        return result
