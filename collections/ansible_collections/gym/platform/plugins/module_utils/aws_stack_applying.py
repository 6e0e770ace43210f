"""Carrying out what was planned: every stack as soon as those are done that it waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import aws_template_needs
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_adoption import Adopted, with_imported
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_calls import Live
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_environment import Environment
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_events import remains, words
from ansible_collections.gym.platform.plugins.module_utils.aws_stack_planning import BEGINNING, Planner
from ansible_collections.gym.platform.plugins.module_utils.aws_template_protection import policy, unkept, unprotected
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import TemplateError
from ansible_collections.gym.platform.plugins.module_utils.stack_plan import (
    DESTROYING,
    Change,
    Plan,
    StackPlan,
    refusal,
    refused,
)
from botocore.exceptions import BotoCoreError, ClientError

CHANGED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


@dataclass
class Outcome:
    """What a run did: the changes of each stack that was worked on, and what went wrong, stack by stack."""

    done: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    untouched: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, later: Outcome) -> None:
        """Take in what was done after this."""
        for key in ("done", "failed", "kept", "seconds"):
            getattr(self, key).update(getattr(later, key))
        self.untouched += later.untouched

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for reports and callers of the module."""
        done = [StackPlan(name, "update", changes) for name, changes in self.done.items()]
        return {
            "applied": Plan(tuple(done)).as_dict()["changes"],
            "failures": self.failed,
            "untouched": self.untouched,
            "kept": self.kept,
            "seconds": self.seconds,
        }

    def complaint(self) -> str:
        """Say what failed, what was left alone because of it, and what is done."""
        parts = [f"{name}: {text}" for name, text in self.failed.items()]
        if self.untouched:
            parts.append(f"Not touched, because they come after it: {', '.join(self.untouched)}.")
        if self.done:
            parts.append(f"Done: {', '.join(sorted(self.done))}.")
        return " ".join(part if part.endswith(".") else f"{part}." for part in parts)


Work = Callable[[str, Outcome], tuple[Change, ...]]


class Applier:
    """Changes and deletes stacks."""

    def __init__(self, environment: Environment, planner: Planner) -> None:
        """Work on these stacks, by change sets of this planner."""
        self._env, self._calls, self._planner = environment, environment.calls, planner

    # --- what nobody confirmed

    def refused(self, changes: Iterable[Change]) -> list[Change]:
        """List what would be destroyed without having been confirmed, by its name or with the whole environment."""
        settings = self._env.settings
        return [] if settings.prefix in settings.confirmed else refused(list(changes), settings.confirmed)

    def _refuse(self, changes: Iterable[Change]) -> None:
        if found := self.refused(changes):
            raise RequestError(refusal(found))

    def _confirmed_in(self, name: str) -> frozenset[str]:
        settings = self._env.settings
        if settings.prefix in settings.confirmed:
            return self._env.templates[name].stateful
        return frozenset(item.removeprefix(f"{name}.") for item in settings.confirmed if item.startswith(f"{name}."))

    # --- apply

    def apply(self, plan: Plan) -> Outcome:
        """Carry a plan out. Raises RequestError if it is refused."""
        self._refuse(plan.changes)
        moving = {stack.stack for stack in plan.stacks if stack.operation in ("create", "update")}
        outcome = self._in_order(self._waits(moving), self._apply_one)
        deleted = [stack.stack for stack in plan.stacks if stack.operation == "delete"]
        if deleted and not outcome.failed:
            outcome.add(self.destroy(deleted))
        elif deleted:
            outcome.untouched += deleted
        return outcome

    def _waits(self, moving: Collection[str]) -> dict[str, set[str]]:
        """Say for each stack which others have to be done before it."""
        needs = self._env.needs
        before = {name: {need.stack for need in needs[name].values()} for name in moving}
        # Who no longer uses a thing lets go of it before it is removed, where the order allows that.
        for consumer in sorted(set(moving) & set(self._env.live)):
            for need in self._env.live_needs(self._env.live[consumer]).values():
                if need.stack in moving and need not in needs[consumer].values():
                    trial = {**before, need.stack: before[need.stack] | {consumer}}
                    try:
                        aws_template_needs.order(trial).prepare()
                    except TemplateError:
                        continue
                    before = trial
        return before

    def _apply_one(self, name: str, outcome: Outcome) -> tuple[Change, ...]:
        env, calls, planner = self._env, self._calls, self._planner
        live, template, region, begun = env.live.get(name), env.templates[name], env.region(name), time.time()
        if live and live.void and live.status != "REVIEW_IN_PROGRESS":
            calls.say(f"{name}: removing what an earlier creation left ({live.status})")
            self._delete_one(live, outcome)
            env.live.pop(name)
        adopted = planner.adoptable(name)
        if adopted:
            self._adopt(name, adopted)
        live = env.live.get(name)
        kind = "UPDATE" if live and not live.void else "CREATE"
        values = env.values(name)
        found = planner.change_set(name, values, kind)
        changes = planner.changes(name, found, values, adopted) if found else ()
        doomed = {change.logical_id for change in changes if change.action in DESTROYING}
        if found:
            if self.refused(changes):
                calls.drop(found)
            self._refuse(changes)
            if live and doomed:
                if ours := self._confirmed_in(name):
                    self._protect(name, ours)
                if unprotected(env.before[name], doomed):
                    calls.drop(found)
                    self._lift(live, env.before[name], doomed)
                    found = planner.change_set(name, values, kind) or found
            calls.execute(found, RetainExceptOnCreate=True)
        after = calls.wait(calls.describe(region, env.settings.name(name)), len(changes))
        # Protected before anything else is looked at: also a stack whose change was rolled back holds data.
        if after.status in (*CHANGED, "UPDATE_ROLLBACK_COMPLETE"):
            self._protect(name)
        env.live[name] = after
        if found and after.status not in CHANGED:
            raise RequestError(f"{calls.failures(after, begun)}. {remains(after.status)}")
        events = calls.events(after, begun) if doomed else []
        if left := [event for event in events if event["ResourceStatus"] == "DELETE_FAILED"]:
            # CloudFormation calls this a success, and forgets them.
            raise RequestError(f"{words(left)}. The stack is changed, and that is left outside of it.")
        told = {change.logical_id for change in changes}
        unchanged = [
            Change(name, key, item["ResourceType"], "adopt", (), key in template.stateful)
            for key, item in adopted.items()
            if key not in told
        ]
        return (*changes, *unchanged)

    def _adopt(self, name: str, adopted: Adopted) -> None:
        """Import what an earlier stack kept. A new stack is ours, by its tags, before there is anything in it."""
        env, calls = self._env, self._calls
        live, region = env.live.get(name), env.region(name)
        calls.say(f"{name}: adopting {', '.join(sorted(adopted))}, kept by an earlier stack")
        if live is None or live.void:
            tags = [{"Key": key, "Value": value} for key, value in env.settings.tags_of(name).items()]
            nothing = json.dumps({"Resources": {"Beginning": {"Type": BEGINNING}}})
            live = self._carried_out(name, region, "CREATE", TemplateBody=nothing, Tags=tags)
        document = with_imported(calls.body(live), env.templates[name], adopted)
        env.live[name] = self._carried_out(
            name, region, "IMPORT", **_as_it_is(live, document), ResourcesToImport=list(adopted.values())
        )
        env.before = {**env.before, name: document}

    def _carried_out(self, name: str, region: str, kind: str, **request: Any) -> Live:
        """Have a change set made and carried out, and wait. Raises RequestError when it is rolled back."""
        calls, begun = self._calls, time.time()
        found = calls.change_set(name, region, kind, **request)
        if found:
            calls.execute(found)
        after = calls.wait(calls.describe(region, self._env.settings.name(name)), len(found.raw) if found else 0)
        if found and after.status not in CHANGED:
            raise RequestError(f"{calls.failures(after, begun)}. {remains(after.status)}")
        return after

    def _protect(self, name: str, confirmed: frozenset[str] = frozenset()) -> None:
        if stateful := self._env.templates[name].stateful:
            client, stack = self._calls.client(self._env.region(name)), self._env.settings.name(name)
            client.update_termination_protection(StackName=stack, EnableTerminationProtection=True)
            client.set_stack_policy(StackName=stack, StackPolicyBody=policy(stateful, confirmed))

    def _lift(self, live: Live, document: Mapping[str, Any], names: Collection[str] | None, keep: bool = True) -> None:
        """Lift the protection of resources that will be deleted, by an update of the stack as it is."""
        wanted = document if keep else unkept(document)
        lifted = unprotected(wanted, names) or wanted
        if lifted != document:
            self._calls.say(f"{live.stack}: lifting the protection of what will be deleted")
            tags = [{"Key": key, "Value": value} for key, value in live.tags.items()]
            try:
                self._carried_out(live.stack, live.region, "UPDATE", **_as_it_is(live, lifted), Tags=tags)
            except RequestError as error:
                raise RequestError(f"its protection cannot be lifted: {error}") from error

    # --- delete

    def destroy(self, names: Collection[str], changes: Iterable[Change] = ()) -> Outcome:
        """Delete stacks, those first that nobody needs any more. Raises RequestError for data nobody confirmed."""
        self._refuse(changes)
        live = self._env.live
        before: dict[str, set[str]] = {name: set() for name in names}
        for name in names:
            for need in self._env.live_needs(live[name]).values():
                before.get(need.stack, set()).add(name)

        def delete(name: str, outcome: Outcome) -> tuple[Change, ...]:
            plan = self._env.deletion(name)
            self._delete_one(live[name], outcome)
            live.pop(name)
            return plan.changes

        return self._in_order(before, delete)

    def _delete_one(self, live: Live, outcome: Outcome) -> None:
        client, begun = self._calls.client(live.region), time.time()
        if live.protected:
            client.update_termination_protection(StackName=live.name, EnableTerminationProtection=False)
        if not live.void:
            self._lift(live, self._calls.body(live), None, keep=self._env.settings.keep)
        client.delete_stack(StackName=live.name)
        after = self._calls.wait(live)
        events = self._calls.events(live, begun)
        if kept := {event["LogicalResourceId"] for event in events if event["ResourceStatus"] == "DELETE_SKIPPED"}:
            outcome.kept[live.stack] = sorted(kept)
        if after.status != "DELETE_COMPLETE":
            raise RequestError(f"{self._calls.failures(after, begun)}. {remains(after.status)}")

    # --- in order

    def _in_order(self, before: Mapping[str, set[str]], work: Work) -> Outcome:
        """Work on every stack once those before it are done; what comes after a failed one is not touched."""
        outcome, order = Outcome(), aws_template_needs.order(before)
        order.prepare()
        running: dict[Future[tuple[Change, ...]], tuple[str, float]] = {}
        with ThreadPoolExecutor(self._env.settings.workers) as pool:
            while True:
                for name in order.get_ready():
                    running[pool.submit(work, name, outcome)] = (name, time.monotonic())
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name, begun = running.pop(future)
                    outcome.seconds[name] = round(time.monotonic() - begun, 2)
                    try:
                        outcome.done[name] = future.result()
                    except RequestError as error:
                        outcome.failed[name] = str(error)
                    except (BotoCoreError, ClientError) as error:
                        outcome.failed[name] = explain(error, self._env.region(name))
                    else:
                        order.done(name)
        outcome.untouched = sorted(set(before) - set(outcome.done) - set(outcome.failed))
        return outcome


def _as_it_is(live: Live, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for another template with everything else as it is."""
    previous = [{"ParameterKey": key, "UsePreviousValue": True} for key in live.parameters]
    return {"TemplateBody": json.dumps(document, separators=(",", ":")), "Parameters": previous}
