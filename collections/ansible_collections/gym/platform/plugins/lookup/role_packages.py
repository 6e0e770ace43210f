"""What the roles of a directory install on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: role_packages
short_description: What the roles of a directory install on a host
description:
  - Reads C(vars/main.yml) of every role below the directory and gathers the lists named C(__<role>_packages) and the
    requirements files named by C(__<role>_requirements).
  - The image of local hosts is baked from it, so that no role has to wait for a download.
options:
  _terms:
    description: One directory of roles.
    required: true
author: [Gym Platform]
"""

EXAMPLES = r"""
- name: Show all Debian packages
  ansible.builtin.debug:
    msg: "{{ lookup('gym.platform.role_packages', playbook_dir ~ '/../roles').packages }}"
"""

RETURN = r"""
_raw:
  description:
    - One record with C(packages), a sorted list without duplicates, and C(requirements), a mapping of a role's name to
      the path of its requirements file.
  type: list
  elements: dict
"""

import re
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# A Debian package's name; neither a version nor a template, because the image is made before any host exists.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def gather(directory: Path) -> dict[str, Any]:
    """Read the vars of all roles below the directory."""
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory of roles")
    packages: set[str] = set()
    requirements: dict[str, str] = {}
    for path in sorted(directory.glob("*/vars/main.yml")):
        role = path.parts[-3]
        try:
            variables = yaml.safe_load(path.read_text()) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        names = variables.get(f"__{role}_packages", [])
        if not isinstance(names, list):
            raise ValueError(f"{path}: __{role}_packages is {names!r}, but has to be a list of Debian packages")
        for name in names:
            if not isinstance(name, str) or not PACKAGE.fullmatch(name):
                raise ValueError(f"{path}: {name!r} in __{role}_packages is not the plain name of a Debian package")
        packages.update(names)
        file = variables.get(f"__{role}_requirements")
        # A role may call something else its requirements; a Python environment is named by a file.
        if isinstance(file, str):
            found = path.parent.parent / "files" / file
            if not found.is_file():
                raise ValueError(f"{path}: __{role}_requirements names {file!r}, but there is no {found}")
            requirements[role] = str(found.resolve())
    return {"packages": sorted(packages), "requirements": requirements}


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Gather the packages of one directory of roles."""
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 1:
            raise AnsibleError(f"gym.platform.role_packages takes one directory of roles, got {len(terms)}")
        try:
            return [gather(Path(terms[0]))]
        except ValueError as error:
            raise AnsibleError(str(error)) from error
