"""What systemd says about units, and which steps lead from there to what is wanted. Pure: nothing is run here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.pending import UNIT_SUFFIXES, is_unit_name

STATES = ("started", "stopped")
PROPERTIES = (
    "Id", "LoadState", "LoadError", "ActiveState", "SubState", "UnitFileState", "Type", "RemainAfterExit",
    "CanReload", "NeedDaemonReload", "InactiveExitTimestampMonotonic",
    "ConditionResult", "ConditionTimestampMonotonic", "NRestarts",
)  # fmt: skip

_ENABLED = ("enabled", "static", "alias", "indirect", "generated", "transient")
_DISABLED = ("disabled", "static", "alias", "indirect", "generated", "transient", "masked", "")


class UnitError(ValueError):
    """A unit that cannot be brought to what is wanted; the message is for a person."""


@dataclass(frozen=True)
class Wanted:
    """One unit, as it has to be."""

    name: str
    enabled: bool
    state: str
    masked: bool
    ready: tuple[str, ...]
    ready_timeout: float


@dataclass(frozen=True)
class Actual:
    """One unit, as it is."""

    load: str
    load_error: str
    active: str
    sub: str
    unit_file: str
    can_reload: bool
    need_daemon_reload: bool
    once: bool
    has_run: bool
    # Asked to start, it found that it does not belong on this host, as its own Condition…= lines say.
    not_meant_here: bool = False
    # How often systemd has restarted it by itself since somebody started it.
    restarts: int = 0

    @property
    def masked(self) -> bool:
        """Whether it cannot be started by anything."""
        return self.load == "masked" or self.unit_file in ("masked", "masked-runtime")

    @property
    def failing(self) -> bool:
        """Whether it broke down, or keeps breaking down and being restarted."""
        return self.active == "failed" or self.sub == "auto-restart"

    @property
    def running(self) -> bool:
        """Whether it does what a started unit does.

        A unit that runs once and ends has done it when it has run, and one that is not meant for this host by staying
        where it is: systemd counts it as started, too.
        """
        if self.active in ("active", "reloading"):
            return True
        if self.failing:
            return False
        return (self.once and self.has_run) or (self.active == "inactive" and self.not_meant_here)


@dataclass(frozen=True)
class Plan:
    """The steps for one unit, in order: words of systemctl."""

    unit: Wanted
    steps: tuple[str, ...]

    @property
    def starts(self) -> bool:
        """Whether the unit runs anew afterwards, so that somebody has to see that it does."""
        return bool({"start", "restart", "reload"} & set(self.steps))


def parse_units(raw: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """Read the records of one call; the first that cannot be meant ends it."""
    units: list[Wanted] = []
    for record in raw:
        name = str(record["name"])
        if not is_unit_name(name):
            raise UnitError(
                f"'{name}' is not the full name of a unit: end it with one of .{', .'.join(UNIT_SUFFIXES)}, "
                f"as in '{name.split('.')[0] or 'ssh'}.service'."
            )
        if any(name == unit.name for unit in units):
            raise UnitError(f"The unit {name} is listed twice in `units`: keep one of the two records.")
        masked = bool(record.get("masked") or False)
        enabled, state = record.get("enabled"), record.get("state")
        if masked and (enabled or state == "started"):
            raise UnitError(
                f"{name} cannot be masked and {'enabled' if enabled else 'started'}: "
                f"leave `enabled` and `state` out beside `masked: true`."
            )
        timeout = float(record.get("ready_timeout") or 60)
        if timeout <= 0:
            raise UnitError(f"{name}: ready_timeout {timeout:g} is not a positive number of seconds.")
        units.append(
            Wanted(
                name=name,
                enabled=not masked if enabled is None else bool(enabled),
                state=str(state or ("stopped" if masked else "started")),
                masked=masked,
                ready=tuple(str(word) for word in record.get("ready") or ()),
                ready_timeout=timeout,
            )
        )
    return units


def parse_show(output: str, names: Sequence[str]) -> dict[str, Actual]:
    """Read the answer of one `systemctl show`: a block a unit, in the order in which they were asked for."""
    blocks = [block for block in output.strip().split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        raise UnitError(f"systemctl described {len(blocks)} units when asked for {len(names)}: {', '.join(names)}.")
    found: dict[str, Actual] = {}
    for name, block in zip(names, blocks, strict=True):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        found[name] = Actual(
            load=values.get("LoadState", ""),
            load_error=values.get("LoadError", "").partition('"')[2].rstrip('"'),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            unit_file=values.get("UnitFileState", ""),
            can_reload=values.get("CanReload") == "yes",
            need_daemon_reload=values.get("NeedDaemonReload") == "yes",
            once=values.get("Type") == "oneshot" and values.get("RemainAfterExit") != "yes",
            has_run=values.get("InactiveExitTimestampMonotonic", "0") not in ("", "0"),
            not_meant_here=values.get("ConditionResult") == "no"
            and values.get("ConditionTimestampMonotonic", "0") not in ("", "0"),
            restarts=int(values.get("NRestarts") or 0),
        )
    return found


def make_plan(wanted: Wanted, actual: Actual, restart: bool, reload: bool) -> Plan:
    """Say which steps lead a unit to what is wanted; restart and reload say that its files changed."""
    steps: list[str] = []
    if wanted.masked:
        if actual.active in ("active", "reloading", "activating"):
            steps.append("stop")
        if not actual.masked and actual.unit_file in ("enabled", "enabled-runtime"):
            steps.append("disable")
        if not actual.masked:
            steps.append("mask")
        return Plan(wanted, tuple(steps))
    if actual.masked:
        steps.append("unmask")
    if wanted.enabled and actual.unit_file not in _ENABLED:
        steps.append("enable")
    if not wanted.enabled and actual.unit_file not in _DISABLED:
        steps.append("disable")
    if wanted.state == "stopped":
        if actual.active in ("active", "reloading", "activating"):
            steps.append("stop")
    elif not actual.running:
        # It reads the new files whatever happens; a unit that breaks down again and again has to be stopped first.
        steps.append("restart" if actual.sub == "auto-restart" else "start")
    elif restart or (reload and not actual.can_reload):
        steps.append("restart")
    elif reload:
        steps.append("reload")
    return Plan(wanted, tuple(steps))


def after(plan: Plan, actual: Actual) -> Actual:
    """Say what systemd will answer when the steps are done, for a diff."""
    result = actual
    for step in plan.steps:
        if step in ("start", "restart", "reload"):
            result = replace(result, active="active")
        elif step == "stop":
            result = replace(result, active="inactive")
        elif step in ("enable", "disable", "mask"):
            result = replace(result, unit_file=step + "d" if step != "mask" else "masked")
        elif step == "unmask":
            result = replace(result, unit_file="disabled", load="loaded")
    return result


def describe(plans: Iterable[Plan], states: Mapping[str, Actual]) -> dict[str, str]:
    """Show all changes for Ansible's diff mode: one line a unit."""
    before, later = "", ""
    for plan in plans:
        actual = states[plan.unit.name]
        will = after(plan, actual)
        again = [f"{step}ed" for step in ("restart", "reload") if step in plan.steps]
        before += f"{plan.unit.name}: {actual.unit_file or actual.load}, {actual.active}\n"
        later += f"{plan.unit.name}: {', '.join([will.unit_file or will.load, will.active, *again])}\n"
    return {"before_header": "units", "after_header": "units", "before": before, "after": later}


def not_found(name: str, existing: Iterable[str]) -> str:
    """Say that a unit does not exist, with the nearest name that does; for an instance its template counts."""
    names = sorted(set(existing))
    template = name.partition("@")[0] + "@." + name.rpartition(".")[2] if "@" in name else name
    close = difflib.get_close_matches(template, names, n=1)
    hint = f"; the nearest existing name is {close[0]}" if close else ""
    instance = f" (an instance of {template})" if template != name else ""
    return f"The unit {name}{instance} does not exist on this host{hint}. Correct the name, or install what brings it."
