"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_store
short_description: Make the secrets of an environment that do not exist yet
description:
  - Generates each wanted secret once and keeps it in a file that Ansible Vault encrypts. A secret that exists is never
    replaced. Runs on the controller.
options:
  directory:
    description:
      - Where C(secrets.yml), C(vault_password) and the public C(ca.pem) are kept. Made with mode C(0700).
      - E(ANSIBLE_VAULT_PASSWORD_FILE) names another password file.
    type: path
    required: true
  generated:
    description: The wanted secrets.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name, such as V(database/owner).
        type: str
        required: true
      kind:
        description:
          - A V(password) has 32 letters and digits. A V(certificate_authority) is two secrets, C(<name>/key) and
            C(<name>/certificate). An V(access_key) has 20 upper-case letters and digits.
        type: str
        required: true
        choices: [password, access_key, certificate_authority]
attributes:
  check_mode:
    support: full
    description: Names what it would make.
  diff_mode:
    support: full
    description: Shows names and never values.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Make the secrets of the environment
  gym.platform.secrets_store:
    directory: "{{ state_directory }}"
    generated:
      - {name: certificate_authority, kind: certificate_authority}
      - {name: database/owner, kind: password}
"""

RETURN = r"""
made:
  description: The names that were made.
  type: list
  elements: str
  returned: always
"""
