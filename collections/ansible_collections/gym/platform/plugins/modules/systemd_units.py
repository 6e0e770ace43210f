#!/usr/bin/python
"""Keep all units of a role as they have to be, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: systemd_units
short_description: Keep many units enabled, running and up to date, in one call
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - All units of a role in one task. Their states are read with one C(systemctl show); what differs is changed in the
    order of the list.
  - A listed unit for which C(gym.platform.config_files) left a marker is restarted or reloaded. The marker is removed
    only when the unit runs again, so an interrupted or failed run is completed by the next one.
  - Units are read anew (C(daemon-reload)) first when one of their files changed.
  - A unit that was started has to prove it, by its O(units[].ready) command or by staying up; else the task fails with
    the unit's last journal lines.
options:
  units:
    description: The units, each at most once, in the order in which they are to be started.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name. Instances of templates, sockets and timers are welcome.
        type: str
        required: true
      enabled:
        description:
          - Whether it starts at boot. A unit that cannot be enabled (static, generated) counts as it has to be.
          - V(true) when left out, V(false) beside O(units[].masked=true).
        type: bool
      state:
        description:
          - V(started) when left out, V(stopped) beside O(units[].masked=true).
          - A unit that runs once and ends (C(Type=oneshot)) counts as started when it has run since the boot. systemd
            remembers that for enabled units only, so list the timer and not the service that it starts.
          - A unit that does not exist is stopped.
        type: str
        choices: [started, stopped]
      masked:
        description: Whether nothing at all may start it.
        type: bool
        default: false
      ready:
        description: Command as a list of words, run after a start, restart or reload until it exits with 0.
        type: list
        elements: str
        default: []
      ready_timeout:
        description: Seconds after which a unit that is not ready has failed.
        type: float
        default: 60
  restart:
    description: Units to restart besides those with a marker, as RV(gym.platform.config_files#module:restart) has them.
    type: list
    elements: str
    default: []
  reload:
    description: Units to reload besides those with a marker.
    type: list
    elements: str
    default: []
  settle:
    description:
      - Seconds for which a unit without O(units[].ready) has to stay up before it counts as started. Spent once a call,
        and only when such a unit was started.
    type: float
    default: 1
  pending_directory:
    description: Where the markers are.
    type: path
    default: /run/gym-platform
attributes:
  check_mode:
    support: full
    description:
      - Says what would change; a unit need not exist yet. Markers are left by real runs only, so pass O(restart) and
        O(reload) where the plan should show the restarts that follow from changed files.
  diff_mode:
    support: full
    description: One line a unit.
seealso:
  - module: gym.platform.config_files
"""

EXAMPLES = r"""
- name: Run Redis
  gym.platform.systemd_units:
    units:
      - name: redis-server.service
        ready: [redis-cli, ping]
      - name: redis-backup.timer
      - name: exim4.service
        masked: true
    restart: "{{ __redis_files.restart }}"

- name: Run one etcd after the other
  gym.platform.systemd_units:
    units:
      - name: etcd.service
        ready: [etcdctl, endpoint, health]
        ready_timeout: 90
  throttle: 1
"""

RETURN = r"""
changed_units:
  description: What was done, or would be done in check mode, for each unit that changed.
  returned: always
  type: dict
  sample: {redis-server.service: [enable, start]}
daemon_reloaded:
  description: Whether systemd had to read its units anew.
  returned: always
  type: bool
  sample: false
"""

import os
import time
from collections.abc import Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.pending import PENDING_DIRECTORY, Pending
from ansible_collections.gym.platform.plugins.module_utils.unit_states import (
    PROPERTIES,
    STATES,
    Actual,
    Plan,
    UnitError,
    Wanted,
    describe,
    make_plan,
    not_found,
    parse_show,
    parse_units,
)

JOURNAL_LINES = 15
POLL_SECONDS = 0.2


class Systemd:
    """The service manager of this host, spoken to by systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        """Refuse a host without systemd in one sentence."""
        self._run = module.run_command
        self._systemctl = module.get_bin_path("systemctl")
        if not self._systemctl or not os.path.isdir("/run/systemd/system"):  # noqa: PTH112 - the usual, cheap test
            raise UnitError("This host is not run by systemd (no /run/systemd/system): boot it with systemd.")

    def states(self, names: Sequence[str]) -> dict[str, Actual]:
        """Read all units with one call."""
        command = [self._systemctl, "show", f"--property={','.join(PROPERTIES)}", "--", *names]
        code, output, errors = self._run(command)
        if code != 0:
            raise UnitError(f"systemctl could not describe {', '.join(names)}: {errors.strip() or output.strip()}")
        return parse_show(output, names)

    def daemon_reload(self) -> None:
        """Have systemd read its units anew."""
        code, output, errors = self._run([self._systemctl, "daemon-reload"])
        if code != 0:
            raise UnitError(f"systemd could not read its units anew: {(errors + output).strip()}")

    def step(self, word: str, unit: str) -> None:
        """Take one step; a unit that was started too often in the past may be started now."""
        if word in ("start", "restart"):
            self._run([self._systemctl, "reset-failed", "--", unit])  # fails, harmlessly, when it is not loaded
        code, output, errors = self._run([self._systemctl, word, "--", unit])
        if code != 0:
            raise UnitError(self.explain(unit, f"could not {word}: {(errors + output).strip()}"))

    def wait_ready(self, unit: Wanted) -> None:
        """Wait until the unit's own command says that it is ready, or until it breaks down."""
        deadline = time.monotonic() + unit.ready_timeout
        while True:
            try:
                code, output, errors = self._run(list(unit.ready), handle_exceptions=False)
            except OSError as error:
                raise UnitError(f"{unit.name}: its ready command {unit.ready[0]} cannot be run: {error}.") from error
            if code == 0:
                return
            said = (output + errors).strip() or "nothing"
            if self.states([unit.name])[unit.name].active == "failed":
                raise UnitError(self.explain(unit.name, f"failed before it was ready; `{unit.ready[0]}` said: {said}"))
            if time.monotonic() >= deadline:
                shown = " ".join(unit.ready)
                problem = f"was not ready within {unit.ready_timeout:g} s; `{shown}` exited with {code}: {said}"
                raise UnitError(self.explain(unit.name, problem))
            time.sleep(POLL_SECONDS)

    def wait_settled(self, units: Mapping[str, int], seconds: float) -> None:
        """Watch the units for a while; one that starts and then breaks down is caught.

        The number of restarts that each may have had tells when one came up again between two looks.
        """
        deadline = time.monotonic() + seconds
        while True:
            for unit, actual in self.states(list(units)).items():
                if actual.failing or not actual.running or actual.restarts > units[unit]:
                    often = f", restarted {actual.restarts} times" if actual.restarts > units[unit] else ""
                    problem = f"did not stay up: it is {actual.active} ({actual.sub}{often})"
                    raise UnitError(self.explain(unit, problem))
            if time.monotonic() >= deadline:
                return
            time.sleep(POLL_SECONDS)

    def explain(self, unit: str, problem: str) -> str:
        """Add what the unit itself wrote last."""
        lines = ["journalctl", f"--lines={JOURNAL_LINES}", "--no-pager", "--output=short-iso", f"--unit={unit}"]
        try:
            _, journal, _ = self._run(lines, handle_exceptions=False)
        except OSError:
            journal = ""
        return f"{unit} {problem}\nIts last journal lines:\n{journal.strip() or '(none)'}"

    def existing(self) -> set[str]:
        """List the names that a unit could have had."""
        names: set[str] = set()
        for what in ("list-unit-files", "list-units"):
            _, output, _ = self._run([self._systemctl, what, "--all", "--no-legend", "--plain", "--no-pager"])
            names.update(line.split()[0] for line in output.splitlines() if line.strip())
        return names


def check_usable(systemd: Systemd, unit: Wanted, actual: Actual) -> None:
    """Refuse a unit that does not exist, or that systemd cannot read."""
    if actual.load == "not-found" and (unit.enabled or unit.state == "started"):
        raise UnitError(not_found(unit.name, systemd.existing() - {unit.name}))
    if actual.load in ("bad-setting", "error"):
        raise UnitError(f"systemd cannot use {unit.name}: {actual.load_error or actual.load}. Correct its unit file.")


def carry_out(
    systemd: Systemd, pending: Pending, plans: Sequence[Plan], states: Mapping[str, Actual], settle: float
) -> None:
    """Take the steps of all units in order; a marker goes only when its unit runs."""
    unproven: dict[str, int] = {}
    for plan in plans:
        unit = plan.unit
        for step in plan.steps:
            systemd.step(step, unit.name)
        if plan.starts and unit.ready:
            systemd.wait_ready(unit)
        # For what runs once and ends, for a timer and for a socket, systemctl has waited already.
        if plan.starts and not unit.ready and unit.name.endswith(".service") and not states[unit.name].once:
            # A start counts from nought; a reload does not.
            unproven[unit.name] = states[unit.name].restarts if "reload" in plan.steps else 0
        elif "reload" in plan.steps:
            pending.clear_reload(unit.name)
        else:
            pending.clear_restart(unit.name)
    if unproven:
        systemd.wait_settled(unproven, settle)
        for name in unproven:
            pending.clear_restart(name)


def main() -> None:
    """Read, plan, apply, report."""
    unit_options = {
        "name": {"type": "str", "required": True},
        "enabled": {"type": "bool"},
        "state": {"type": "str", "choices": list(STATES)},
        "masked": {"type": "bool", "default": False},
        "ready": {"type": "list", "elements": "str", "default": []},
        "ready_timeout": {"type": "float", "default": 60},
    }
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "dict", "required": True, "options": unit_options},
            "restart": {"type": "list", "elements": "str", "default": []},
            "reload": {"type": "list", "elements": "str", "default": []},
            "settle": {"type": "float", "default": 1},
            "pending_directory": {"type": "path", "default": PENDING_DIRECTORY},
        },
        supports_check_mode=True,
    )
    plans: list[Plan] = []
    states: dict[str, Actual] = {}
    daemon_reload = False
    try:
        units = parse_units(module.params["units"])
        systemd = Systemd(module)
        pending = Pending(module.params["pending_directory"])
        restarts = pending.restarts() | set(module.params["restart"])
        reloads = pending.reloads() | set(module.params["reload"])
        names = [unit.name for unit in units]
        states = systemd.states(names) if names else {}
        daemon_reload = pending.daemon_reload() or any(actual.need_daemon_reload for actual in states.values())
        if daemon_reload and not module.check_mode:
            systemd.daemon_reload()
            pending.clear_daemon_reload()
            states = systemd.states(names) if names else {}
        for unit in units:
            if not module.check_mode:
                check_usable(systemd, unit, states[unit.name])
            plans.append(make_plan(unit, states[unit.name], unit.name in restarts, unit.name in reloads))
        if not module.check_mode:
            carry_out(systemd, pending, plans, states, module.params["settle"])
    except UnitError as error:
        module.fail_json(msg=str(error))
    changed = [plan for plan in plans if plan.steps]
    module.exit_json(
        changed=bool(changed) or daemon_reload,
        changed_units={plan.unit.name: list(plan.steps) for plan in changed},
        daemon_reloaded=daemon_reload,
        diff=describe(changed, states) if module._diff else {},
    )


if __name__ == "__main__":
    main()
