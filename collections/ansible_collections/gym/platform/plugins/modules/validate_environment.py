#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: validate_environment
short_description: Refuse an environment whose description is wrong
description:
  - Reads the files of the environment that C(-i) names, and those that all environments share, with the line of each
    key.
  - Checks every noun against its JSON Schema, then the policy.
  - Reports everything that is wrong at once, each with file, line, key, the legal values and the fix.
  - Needs no host, no cloud and no secret.
author: The gym platform's authors
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
"""

EXAMPLES = r"""
- name: Check the form of every noun, then the policy
  gym.platform.validate_environment:
"""

RETURN = r"""
environment:
  description: The name of the environment's directory.
  returned: success
  type: str
  sample: production
files:
  description: The files that describe the environment, from the root of the project.
  returned: success
  type: list
  elements: str
"""
