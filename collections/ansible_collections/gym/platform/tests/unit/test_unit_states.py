"""From what systemd says about a unit to the steps that lead to what is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.unit_states import (
    Actual,
    UnitError,
    Wanted,
    describe,
    make_plan,
    not_found,
    parse_show,
    parse_units,
)

RUNNING = Actual(
    load="loaded", load_error="", active="active", sub="running", unit_file="enabled", can_reload=True,
    need_daemon_reload=False, once=False, has_run=True,
)  # fmt: skip
STOPPED = replace(RUNNING, active="inactive", sub="dead", has_run=False)
NEW = replace(STOPPED, unit_file="disabled")
FAILED = replace(RUNNING, active="failed", sub="failed")
LOOPING = replace(RUNNING, active="activating", sub="auto-restart")
MISSING = replace(STOPPED, load="not-found", unit_file="")
MASKED = replace(STOPPED, load="masked", unit_file="masked")
TASK = replace(RUNNING, active="inactive", sub="dead", once=True)

SHOWN = """\
Id=ssh.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
Type=notify
RemainAfterExit=no
CanReload=yes
NeedDaemonReload=yes
InactiveExitTimestampMonotonic=1095383425
NRestarts=3
LoadError=

LoadState=not-found
ActiveState=inactive
UnitFileState=
LoadError=org.freedesktop.systemd1.NoSuchUnit "Unit nope.service not found."

LoadState=loaded
ActiveState=inactive
Type=oneshot
RemainAfterExit=no
InactiveExitTimestampMonotonic=0
"""


def unit(**values: Any) -> Wanted:
    return parse_units([{"name": "demo.service", **values}])[0]


def test_what_systemctl_shows_is_read_in_the_order_of_the_question() -> None:
    found = parse_show(SHOWN, ["sshd.service", "nope.service", "once.service"])
    assert found["sshd.service"] == replace(RUNNING, need_daemon_reload=True, restarts=3)
    assert found["nope.service"].load == "not-found"
    assert found["nope.service"].load_error == "Unit nope.service not found."
    assert found["once.service"].once
    assert not found["once.service"].running


def test_an_answer_about_other_units_than_asked_for_is_refused() -> None:
    with pytest.raises(UnitError, match=r"described 3 units when asked for 1: ssh\.service"):
        parse_show(SHOWN, ["ssh.service"])


@pytest.mark.parametrize(
    ("wanted", "actual", "restart", "reload", "steps"),
    [
        # at rest
        (unit(), RUNNING, False, False, ()),
        (unit(enabled=False, state="stopped"), NEW, False, False, ()),
        (unit(enabled=False, state="stopped"), MISSING, False, False, ()),
        (unit(masked=True), MASKED, False, False, ()),
        (unit(), TASK, False, False, ()),
        (unit(), replace(RUNNING, unit_file="static"), False, False, ()),
        (unit(), replace(RUNNING, unit_file="generated"), False, False, ()),
        (unit(enabled=False), replace(RUNNING, unit_file="static"), False, False, ()),
        # not as wanted
        (unit(), NEW, False, False, ("enable", "start")),
        (unit(), FAILED, False, False, ("start",)),
        (unit(), LOOPING, False, False, ("restart",)),
        (unit(), replace(RUNNING, unit_file="enabled-runtime"), False, False, ("enable",)),
        (unit(enabled=False), RUNNING, False, False, ("disable",)),
        (unit(state="stopped"), RUNNING, False, False, ("stop",)),
        (unit(state="stopped"), replace(RUNNING, active="activating"), False, False, ("stop",)),
        (unit(), replace(TASK, has_run=False), False, False, ("start",)),
        (unit(), replace(TASK, active="failed"), False, False, ("start",)),
        # masks
        (unit(masked=True), RUNNING, False, False, ("stop", "disable", "mask")),
        (unit(masked=True), replace(STOPPED, unit_file="static"), False, False, ("mask",)),
        (unit(), MASKED, False, False, ("unmask", "enable", "start")),
        (unit(enabled=False, state="stopped"), MASKED, False, False, ("unmask",)),
        # changed files
        (unit(), RUNNING, True, False, ("restart",)),
        (unit(), RUNNING, False, True, ("reload",)),
        (unit(), RUNNING, True, True, ("restart",)),
        (unit(), replace(RUNNING, can_reload=False), False, True, ("restart",)),
        (unit(), STOPPED, True, True, ("start",)),
        (unit(), TASK, True, False, ("restart",)),
        (unit(state="stopped", enabled=False), NEW, True, True, ()),
        (unit(masked=True), MASKED, True, False, ()),
    ],
)
def test_the_steps_lead_to_what_is_wanted_and_are_not_more_than_needed(
    wanted: Wanted, actual: Actual, restart: bool, reload: bool, steps: tuple[str, ...]
) -> None:
    assert make_plan(wanted, actual, restart, reload).steps == steps


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"name": "redis"}], "'redis' is not the full name of a unit: end it with one of .service"),
        ([{"name": "redis"}], "as in 'redis.service'."),
        ([{"name": "-h.service x"}], "is not the full name of a unit"),
        ([{"name": "a.service"}, {"name": "a.service"}], "a.service is listed twice in `units`"),
        ([{"name": "a.service", "masked": True, "enabled": True}], "a.service cannot be masked and enabled"),
        ([{"name": "a.service", "masked": True, "state": "started"}], "a.service cannot be masked and started"),
        ([{"name": "a.service", "ready_timeout": -1}], "ready_timeout -1 is not a positive number of seconds"),
    ],
)
def test_a_bad_record_is_refused_in_one_sentence(records: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UnitError) as refused:
        parse_units(records)
    assert said in str(refused.value)


def test_a_missing_unit_is_named_with_the_nearest_that_exists() -> None:
    existing = ["redis-server.service", "redis-server@.service", "ssh.service"]
    assert "the nearest existing name is redis-server.service." in not_found("redis-serve.service", existing)
    said = not_found("redis-sever@one.service", existing)
    assert "(an instance of redis-sever@.service)" in said
    assert "the nearest existing name is redis-server@.service." in said
    assert "nearest" not in not_found("zzz.timer", existing)


def test_a_diff_has_one_line_a_unit() -> None:
    plans = [make_plan(unit(), NEW, False, False)]
    plans.append(make_plan(replace(unit(), name="b.service"), RUNNING, True, False))
    shown = describe(plans, {"demo.service": NEW, "b.service": RUNNING})
    assert shown["before"] == "demo.service: disabled, inactive\nb.service: enabled, active\n"
    assert shown["after"] == "demo.service: enabled, active\nb.service: enabled, active, restarted\n"
