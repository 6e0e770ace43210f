#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: release
short_description: Release a version blue-green, judge it, and take it back when it is bad
description:
  - One procedure for every target. Lock, resolve the tag to a digest, expand the database, start the idle colour, smoke
    test it, shift the traffic step by step and judge after each, let it bake, contract the database, retire the old
    colour, write the ledger.
  - What fails before the contract goes back to the old colour by itself. An interrupted release is taken up where it
    stands by the next run of the same version, and taken back by one of another.
  - Check mode and C(--diff) show the steps.
  - The result's C(exit_status) is 2 for a release that failed unnoticed, 3 for one that had traffic and was taken back,
    4 for one that waits for a person. The callback C(gym.platform.outcome) makes it that of C(ansible-playbook).
  - Runs on the controller.
options:
  state:
    description:
      - V(released) brings O(version) to the target.
      - V(rolled_back) gives an unfinished release up, or else releases what was live before.
      - V(run) runs O(argv) once in the image of what is live.
      - V(read) returns what the target knows about its releases.
      - V(absent) removes both colours, before the environment is destroyed.
      - V(locked) keeps releases away until this run of C(ansible-playbook) ends, or gives the lock back by V(unlocked).
    type: str
    choices: [released, rolled_back, run, read, absent, locked, unlocked]
    default: released
  docker:
    description: The options of Docker hosts behind HAProxy, see C(module_utils/release_docker.py), C(Target).
    type: dict
  ecs:
    description: The options of ECS behind a balancer of AWS, see C(module_utils/release_ecs_records.py), C(Target).
    type: dict
  kubernetes:
    description: The options of a Kubernetes cluster, see the role C(release_kubernetes).
    type: dict
  version:
    description: What is released, a tag or a digest.
    type: str
    default: ""
  digest:
    description: The image's digest, where it is known already.
    type: str
    default: ""
  unvoid:
    description: Let a version in again that was rolled back.
    type: bool
    default: false
  confirm:
    description: Roll back although the database has lost what the version before needs.
    type: bool
    default: false
  argv:
    description: The command that V(run) runs.
    type: list
    elements: str
    default: []
  work:
    description: What is done with the lock, for those whom it keeps out, such as V(practising failover).
    type: str
    default: releasing
  procedure:
    description: >-
      The commands C(expand), C(contract) and C(assets), the C(shares), the C(smoke) tests, the times C(judge_seconds)
      and C(bake_seconds), whether the release is C(judged), and what an C(inconclusive) judgement leads to.
    type: dict
    default: {}
  judge:
    description: Where the metrics of the colours are, and by what they are judged.
    type: dict
    default: {}
  reports:
    description: Where dossiers are written.
    type: path
attributes:
  check_mode:
    description: Plans, and does nothing.
    support: full
  diff_mode:
    description: Shows the steps.
    support: full
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Bring a version to Docker hosts
  gym.platform.release:
    version: "1.2"
    procedure: {expand: [migrate], shares: [10, 50, 100]}
    docker: "{{ __release_docker_target }}"
    reports: reports/production/release
"""

RETURN = r"""
story:
  description: Everything that happened, as it is in the dossier.
  type: dict
  returned: for V(released) and V(rolled_back)
dossier:
  description: The files of the dossier.
  type: list
  elements: str
  returned: when anything was done
exit_status:
  description: What C(ansible-playbook) ends with.
  type: int
  returned: for V(released) and V(rolled_back)
document:
  description: What the target knows about its releases.
  type: dict
  returned: for V(read)
output:
  description: The last lines that the command wrote.
  type: str
  returned: for V(run)
"""
