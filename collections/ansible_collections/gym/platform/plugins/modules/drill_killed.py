#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: drill_killed
short_description: Find the drills of an environment that were killed
description:
  - A drill whose run of C(ansible-playbook) was killed has taken back nothing. This finds those of this controller, and
    ends their clients and the step that outlives its run. What they have noted is taken back by
    M(gym.platform.drill_step), with the lookup P(gym.platform.drill_undo#lookup).
options:
  reports:
    description: The directory of the environment's reports; each kind has a folder in it.
    type: path
    required: true
attributes:
  check_mode:
    description: Finds them, and ends nothing.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Look for drills that were killed
  gym.platform.drill_killed:
    reports: reports/development
"""

RETURN = r"""
drills:
  description: >-
    For each C(drill), which is what the names of its files begin with, its C(scenario), what is C(said) of it, and
    whether it was C(judged) and has only left something that could not be taken back.
  type: list
  elements: dict
  returned: always
"""
