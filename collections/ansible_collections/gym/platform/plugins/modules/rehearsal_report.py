#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: rehearsal_report
short_description: Write what a rehearsal has shown, as data and as a page
description:
  - Writes C(<UTC time>.json) and a self-contained C(<UTC time>.html) into a directory.
  - The rehearsal has passed when every step has.
options:
  directory:
    description: Where the report is written.
    type: path
    required: true
  environment:
    description: The name of the environment.
    type: str
    required: true
  begun:
    description: When the rehearsal began, in seconds since 1970.
    type: float
    required: true
  steps:
    description: What was done, in order. The first one that was not reached, or failed, is the last that is told.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it was.
        type: str
        required: true
      results:
        description: The variables that its tasks registered.
        type: list
        elements: str
        required: true
  failure:
    description: Why a step failed.
    type: str
    default: ""
  found:
    description: What else is to be told, such as C(resources), C(edits), C(unreadable), C(kept), C(restorations),
      C(price).
    type: dict
    required: true
  checkov:
    description: The output of checkov as JSON.
    type: str
    default: ""
  accepted:
    description: Checks that a resource may fail, each with C(check), C(resource) (a pattern) and C(reason).
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Writes nothing.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Write the report
  gym.platform.rehearsal_report:
    directory: reports/staging/rehearsal
    environment: staging
    begun: 1767225600.0
    steps: [{name: Apply everything, results: [__applied]}]
    found: {resources: []}
"""

RETURN = r"""
passed:
  description: Whether every step has passed.
  type: bool
  returned: success
files:
  description: The report as JSON and as a page.
  type: list
  elements: str
  returned: success
"""
