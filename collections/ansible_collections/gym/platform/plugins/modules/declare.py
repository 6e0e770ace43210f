#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: declare
short_description: Render the stacks of a capability
description:
  - Renders templates of the role into one directory, a file for each stack. A variable that nobody defines is an error.
  - A file that an earlier run rendered for the same role and that is no longer listed is removed, so that its stack is
    pruned.
  - Needs no cloud, no credentials and no host. The files are rendered in check mode as well, because a plan reads them.
author: The gym platform's authors
attributes:
  check_mode:
    description: What is rendered is no part of any environment, so check mode renders it as well.
    support: none
  diff_mode:
    description: Shows each file before and after.
    support: full
options:
  capability:
    description: The name that all files of this role begin with.
    type: str
    required: true
  directory:
    description: Where the files are rendered.
    type: path
    required: true
  stacks:
    description: The stacks. An empty list removes what was rendered earlier.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the file without C(.yml); the capability, or the capability with C(_) and a word.
        type: str
        required: true
      template:
        description: A template of the role.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Declare the network
  gym.platform.declare:
    capability: network
    directory: "{{ network_build_directory }}"
    stacks:
      - {name: network, template: aws.yml.j2}
"""

RETURN = r"""
files:
  description: The files that are declared now.
  returned: success
  type: list
  elements: str
"""
