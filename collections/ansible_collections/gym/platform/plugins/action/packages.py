"""Install Debian packages, and ask a host that has them all no more than that."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# A line a package: what is wanted, what is, whether it is broken. See dpkg-query(1), db:Status-Abbrev.
QUERY = "dpkg-query --show --showformat '${db:Status-Abbrev}\\t${Package}\\n' --"
INSTALLED = ("ii", "hi")
# How old a package list may be before it is read anew, in seconds: security updates have their own timer.
LISTS_MAY_BE_OLD = 86_400
# Another run of apt, such as unattended-upgrades, is waited for this long, in seconds.
LOCK_TIMEOUT = 300


def missing(names: list[str], listing: str) -> list[str]:
    """Return the packages that the listing of QUERY does not show as installed, in their order."""
    rows = (line.split("\t") for line in listing.splitlines() if "\t" in line)
    installed = {name for status, name in rows if status.strip() in INSTALLED}
    return [name for name in names if name not in installed]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """One question to dpkg; ansible.builtin.apt for what is missing."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what apt returned, or that nothing was missing. Raises AnsibleActionFail with apt's reason."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={"names": {"type": "list", "elements": "str", "required": True}}
        )
        names = list(dict.fromkeys(arguments["names"]))
        if not names:
            return {"changed": False, "installed": []}
        # A login that is fast costs a tenth of starting Python and reading apt's lists, and needs no root.
        asked = self._low_level_execute_command(f"{QUERY} {shlex.join(names)}", sudoable=False)
        wanted = missing(names, asked["stdout"])
        if not wanted:
            return {"changed": False, "installed": []}
        result = self._install(wanted, task_vars, cache_valid_time=LISTS_MAY_BE_OLD)
        if result.get("failed"):
            # A fresh image can have a young directory of lists and no list in it, and a young list can name a package
            # that has been superseded: both are cured by reading the lists whatever their age.
            result = self._install(wanted, task_vars)
        if result.get("failed"):
            raise AnsibleActionFail(
                f"{', '.join(wanted)} cannot be installed: {result.get('msg')}", obj=self._task.args.get("names")
            )
        return {**result, "installed": wanted}

    def _install(self, names: list[str], task_vars: dict[str, Any] | None, **lists: int) -> dict[str, Any]:
        arguments = {"name": names, "install_recommends": False, "update_cache": True, "lock_timeout": LOCK_TIMEOUT}
        result: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.apt", module_args={**arguments, **lists}, task_vars=task_vars
        )
        return result
