"""Look up a secret of the environment by its name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: One secret of the environment
description:
  - Returns secrets by name from the store that the variable O(secret_store) describes.
  - The store is a file that Ansible Vault encrypts; see M(gym.platform.secrets_store).
options:
  _terms:
    description: Names of secrets, such as V(database/owner).
    required: true
    type: list
    elements: str
  secret_store:
    description: The store. C(provider) is V(file); C(directory) holds C(secrets.yml) and C(vault_password).
    type: dict
    vars: [{name: secret_store}]
    required: true
author: The gym platform's engineers
"""

EXAMPLES = r"""
secrets:
  database_owner_password: "{{ lookup('gym.platform.secret', 'database/owner') }}"
"""

RETURN = r"""
_raw:
  description: The values, in the order of the names.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore, SecretStoreError

PROVIDERS = ("file",)


class LookupModule(LookupBase):  # type: ignore[misc]
    """Secrets by name."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the secret of each name. Raises AnsibleLookupError with one sentence when there is none."""
        self.set_options(var_options=variables, direct=kwargs)
        store = self._templar.template(self.get_option("secret_store"))
        if store["provider"] not in PROVIDERS:
            raise AnsibleLookupError(
                f"secret_store.provider is '{store['provider']}'; the legal values are {', '.join(PROVIDERS)}."
            )
        opened = SecretStore(store["directory"])
        try:
            return [opened.get(term) for term in terms]
        except SecretStoreError as error:
            raise AnsibleLookupError(str(error)) from error
