"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install Debian packages, quickly where there is nothing to do
description:
  - Asks C(dpkg-query) first, which takes a hundredth of a second; only what is missing goes to M(ansible.builtin.apt).
  - Package lists older than a day are read anew, and once more when a package cannot be installed from a younger list.
    Recommended packages are left out, and another run of apt is waited for.
options:
  names:
    description: Names of Debian packages. A virtual package works, and costs a run of apt every time.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Says what would be installed.
  diff_mode:
    support: full
    description: What apt shows.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Install the engine
  gym.platform.packages:
    names: [docker.io, apparmor]
"""

RETURN = r"""
installed:
  description: What was missing.
  type: list
  elements: str
  returned: success
"""
