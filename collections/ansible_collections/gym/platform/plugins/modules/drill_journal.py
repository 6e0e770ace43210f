#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: drill_journal
short_description: Have markers written while a disaster is practised
description:
  - A process on the controller writes a marker every O(interval_seconds), through what the clients of the platform
    use, and a journal of what it was told. It ends with the run of C(ansible-playbook) that started it.
  - Markers of the database are rows of C(drill.markers), a schema that the drill makes and removes, or messages in the
    write-ahead log, which are replicated and acknowledged like rows and leave nothing behind. Those of the cache are
    keys, which count as acknowledged when a replica has them.
options:
  state:
    description:
      - V(begun) starts the process, and refuses an environment in which clients cannot write.
      - V(good) waits until writes have been acknowledged for five seconds without a failure.
      - V(ended) lets the process end.
      - V(absent) does so, too, and removes what was written. The drill has ended then, unless something that it has
        done was not taken back; then the next one takes it back, see M(gym.platform.drill_killed).
    type: str
    choices: [begun, good, ended, absent]
    required: true
  rows:
    description: Whether markers of the database are rows.
    type: bool
    default: true
  scenario:
    description: What is practised. It is noted until the drill has ended; without one, nothing has to be taken back.
    type: str
    default: ""
  tenants:
    description: The tenants to whom markers belong, by turns.
    type: list
    elements: str
    default: []
  clients:
    description: How many clients take turns, so that one that is not answered keeps no other waiting.
    type: int
    default: 6
  interval_seconds:
    description: The time between two markers.
    type: float
    default: 0.1
  at_most_seconds:
    description: The process ends after this time, whatever happens.
    type: int
    default: 7200
  timeout:
    description: How many seconds the states V(begun) and V(good) may take.
    type: int
    default: 60
extends_documentation_fragment: [gym.platform.drill, gym.platform.drill.clients]
attributes:
  check_mode:
    description: Does nothing.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Wait until clients write again
  gym.platform.drill_journal:
    drill: reports/development/dr_drill/20260101T000000Z
    state: good
"""

RETURN = r"""
attempts:
  description: How many markers clients tried to write.
  type: int
  returned: when ended
outages:
  description: How long each time was in which writes failed, in seconds; null for one that did not end.
  type: list
  elements: float
  returned: when ended
longest_gap_seconds:
  description: The longest time without an acknowledged write.
  type: float
  returned: when ended
"""
