"""Sign a host's certificate on the controller: the half of gym.platform.host_certificate that has the CA's key."""

from __future__ import annotations

import datetime
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils import host_certificates as certificates

MODULE = "gym.platform.host_certificate"


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """One call to a host at rest; a second one to a host that needs a certificate."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the host what it needs, sign it, and send it back."""
        del tmp
        super().run(None, task_vars)
        if "certificate" in self._task.args:
            raise AnsibleActionFail("`certificate` is not for playbooks: it is made here. Remove it.")
        _, checked = self.validate_argument_spec(certificates.ARGUMENTS)
        # From here on the key is only in this process.
        authority_key = checked.pop("ca_private_key") or ""
        arguments = {key: value for key, value in checked.items() if value is not None}
        try:
            wanted = certificates.parse_wanted(
                checked["names"], checked["addresses"], checked["valid_days"], checked["renew_before_days"]
            )
            result: dict[str, Any] = self._execute_module(MODULE, arguments, task_vars=task_vars)
            if (request := result.pop("request", None)) is None:
                return result
            if not authority_key:
                raise AnsibleActionFail(
                    f"A new certificate is needed ({'; '.join(result['reasons'])}), and `ca_private_key` is empty: "
                    f"give the key that belongs to `ca_certificate`."
                )
            now = datetime.datetime.now(datetime.UTC)
            signed = certificates.sign(request, wanted, checked["ca_certificate"], authority_key, now)
        except certificates.CertificateError as error:
            raise AnsibleActionFail(str(error)) from error
        installed: dict[str, Any] = self._execute_module(
            MODULE, {**arguments, "certificate": signed}, task_vars=task_vars
        )
        # What the first call found is the whole story: it may have made the key, which the second one then finds.
        if not installed.get("failed"):
            installed |= {key: result[key] for key in ("reasons", "diff") if key in result}
        return installed
