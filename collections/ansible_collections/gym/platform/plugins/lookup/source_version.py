"""The version of a service, named by its content."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: source_version
short_description: The version of a service, named by its content
description:
  - Hashes everything in a service's folder that goes into its image, and what the image is built on.
  - The same content has the same version on every machine. Tests and documentation do not count.
options:
  _terms:
    description: One folder with C(Dockerfile), C(requirements.txt) and C(src/).
    required: true
  suite:
    description: The Debian release under the service.
    type: str
    default: bookworm
  packages:
    description: The Debian packages under the service.
    type: list
    elements: str
    default: []
author: [Gym Platform]
"""

EXAMPLES = r"""
- name: Show which version the sources are
  ansible.builtin.debug:
    msg: "{{ lookup('gym.platform.source_version', 'examples/gym_api', packages=['python3']) }}"
"""

RETURN = r"""
_raw:
  description: Twelve hexadecimal characters.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gym.platform.plugins.module_utils.service_image import Base, SourceError, source_version


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Name the version of one folder."""
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 1:
            raise AnsibleError(f"gym.platform.source_version takes one folder, got {len(terms)}")
        base = Base(self.get_option("suite"), tuple(self.get_option("packages")))
        try:
            return [source_version(Path(terms[0]), base)]
        except SourceError as error:
            raise AnsibleError(str(error)) from error
