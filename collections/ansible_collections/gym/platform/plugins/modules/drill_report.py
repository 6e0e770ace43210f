#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: drill_report
short_description: Look for every acknowledged marker of a drill, and judge it
description:
  - Reads the journal and the steps of a drill, looks for the markers, and writes C(<UTC time>.json) and a
    self-contained C(.html) beside the journal, with the trend of earlier drills of the same scenario.
  - A drill that has failed fails the task, and its C(exit_status) is 5; the callback C(gym.platform.outcome) makes it
    that of C(ansible-playbook).
options:
  environment:
    description: The environment's name.
    type: str
    required: true
  scenario:
    description: What was practised.
    type: str
    required: true
  policy:
    description: What it may cost.
    type: dict
    required: true
    suboptions:
      rto_seconds:
        description: How long clients may be unable to write.
        type: float
        required: true
      rpo_seconds:
        description: How far back acknowledged markers may be missing.
        type: float
        required: true
      lossless:
        description: Whether none may be missing at all.
        type: bool
        required: true
  live:
    description: Whether all acknowledged markers have to be in the live database.
    type: bool
    default: true
  back:
    description:
      - When clients had their data again, in seconds since 1970, where that is not told by writes that failed; 0 for
        never.
    type: float
  failure:
    description: Why the drill did not come to its end.
    type: str
    default: ""
  killed:
    description: Whether the run of the drill was killed, so that nobody knows when clients could write again.
    type: bool
    default: false
  timeout:
    description: How many seconds the markers are tried to be read.
    type: int
    default: 60
extends_documentation_fragment: [gym.platform.drill, gym.platform.drill.clients, gym.platform.drill.restored]
attributes:
  check_mode:
    description: Does nothing.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Judge
  gym.platform.drill_report:
    drill: reports/development/dr_drill/20260101T000000Z
    environment: development
    scenario: failover
    policy: {rto_seconds: 3600, rpo_seconds: 3600, lossless: true}
    database: "{{ database_of_clients }}"
"""

RETURN = r"""
report:
  description: The report; C(passed), C(rto_seconds), C(rpo_seconds), C(rows_expected), C(rows_found) and more.
  type: dict
  returned: always
files:
  description: The report as JSON and as a page.
  type: list
  elements: str
  returned: always
"""
