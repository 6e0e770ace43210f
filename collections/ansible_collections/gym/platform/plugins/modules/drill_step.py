#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name."""

DOCUMENTATION = r"""
module: drill_step
short_description: Take one step of a drill, as a person would
description:
  - Runs a command of a runbook in a shell of the host, and remembers it with its times for the report of the drill.
  - A command, because what is practised is what a person does by hand; C(docs/runbooks) has the same commands, and a
    contract compares them.
options:
  run:
    description: The command.
    type: str
    required: true
  directory:
    description: The directory in which it runs.
    type: path
  says:
    description:
      - A regular expression for what the command has to say, line by line. It is run again until it does, whatever its
        exit status. Without one it is run once, and has to end with 0.
    type: str
    default: ""
  timeout:
    description: For how many seconds it is run again; one run takes no longer either. Only with O(says).
    type: int
    default: 60
  disaster:
    description: Whether this step is what is practised for. Losses are counted from its beginning.
    type: bool
    default: false
  undo:
    description:
      - The command that takes back what this step does, and all steps before it, on the same host and in the same
        directory; it can be repeated without harm. It is noted before the step is taken, so that another run can give
        it when this one was killed. Without one, what was noted stays.
    type: str
    default: ""
  undoes:
    description: Whether nothing has to be taken back any more when this step has gone well.
    type: bool
    default: false
extends_documentation_fragment: [gym.platform.drill]
attributes:
  check_mode:
    description: Says what would be run.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: See who leads now
  gym.platform.drill_step:
    drill: reports/development/dr_drill/20260101T000000Z
    run: patronictl -c /etc/patroni/config.yml list
    says: '\| Leader +\| running'
"""

RETURN = r"""
begun:
  description: When it began, in seconds since 1970.
  type: float
  returned: when it ran
ended:
  description: When it ended.
  type: float
  returned: when it ran
stdout:
  description: What the command said.
  type: str
  returned: when it ran
rc:
  description: How it ended; 255 where the host could not be reached.
  type: int
  returned: when it ran
"""
