#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: show_config
short_description: Show every value of an environment and where it comes from
description:
  - Prints each value of the environment that C(-i) names with the file and line it comes from, and what it overrides.
  - Values are shown as they are written. Nothing is templated, so that secrets are shown as references.
author: The gym platform's authors
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Show every value and its file
  gym.platform.show_config:
"""

RETURN = r"""
settings:
  description: Every value, those of the environment first.
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: The path of the value.
      type: str
      sample: services[gym-api].port
    value:
      description: The value as it is written.
      type: raw
    source:
      description: File and line.
      type: str
      sample: inventories/production/group_vars/all/services.yml:6
    overrides:
      description: Files and lines that set the same noun and do not count.
      type: list
      elements: str
"""
