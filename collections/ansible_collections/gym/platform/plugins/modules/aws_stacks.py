#!/usr/bin/python
# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Document the action plugin of the same name; everything happens on the controller."""

DOCUMENTATION = r"""
module: aws_stacks
short_description: Read, plan, apply, compare or delete all of an environment's CloudFormation stacks
description:
  - Takes a directory of templates, one for each capability, and works on all of their stacks at the same time.
  - A template's parameter without a default that is named after another stack's output (C(NetworkVpcId) after C(VpcId)
    of C(network.yml)) is filled from it, and the order of the stacks follows from that.
  - A plan says field by field what will be added, adopted, modified, replaced and deleted, also in stacks that only get
    another value. Check mode is the plan, and C(--diff) prints it.
  - What holds data is not replaced or deleted unless O(confirm_destroy) names it. Its stacks are protected from being
    deleted, and by a stack policy.
  - A stack that another run works on is waited for, and one whose creation failed is made again. An interrupted run can
    simply be repeated.
  - Runs on the controller, with boto3 and the credentials that it finds there.
options:
  state:
    description:
      - V(read) only reads the stacks.
      - V(planned) only works out the changes; V(applied) carries them out.
      - V(drift) compares what is there with what was applied.
      - V(absent) deletes the stacks, those first that nobody needs any more.
    type: str
    choices: [read, planned, applied, drift, absent]
    default: applied
  directory:
    description:
      - The rendered templates, C(<capability>.yml) each. Needed to plan and to apply.
      - C(Metadata.Platform.Region) puts a stack into another region; C(Metadata.Platform.Stateful) lists logical ids
        that hold data, beside those that do by their type.
    type: path
  live:
    description:
      - A file for the templates of the stacks as they are before anything is changed, as JSON by C(<capability>), which
        the O(gym.platform.aws_cost#module:before) of a price is. Written by V(read), V(planned) and V(applied), in
        check mode as well.
    type: path
  stacks:
    description: Only these stacks, by the names of their templates; without it, all of them.
    type: list
    elements: str
    default: []
  platform:
    description: The platform's name. A stack's name is C(<platform>-<environment>-<capability>).
    type: str
    required: true
  environment:
    description: The environment's name.
    type: str
    required: true
  region:
    description: The region of the environment.
    type: str
    required: true
  regions:
    description: Other regions in which the environment can have stacks that no template asks for any more.
    type: list
    elements: str
    default: []
  stands_in_for:
    description:
      - The environment whose place this one takes. What its stacks in O(region) and in us-east-1 give out fills the
        parameters that begin with C(Primary); its own region is not asked.
    type: str
    default: ""
  parameters:
    description: Values of parameters that are nobody's output.
    type: dict
    default: {}
  confirm_destroy:
    description:
      - What may be replaced or deleted although it holds data, as C(<stack>.<logical id>).
      - C(<platform>-<environment>) is everything in the environment.
    type: list
    elements: str
    default: []
  prune:
    description: Whether stacks of the environment are deleted that have no template any more.
    type: bool
    default: true
  keep:
    description:
      - Whether what the templates keep stays when stacks are deleted by V(absent). Buckets, repositories and vaults do
        in any case, because they may have been there before.
    type: bool
    default: true
  workers:
    description: How many stacks are worked on at the same time.
    type: int
    default: 8
  timeout:
    description: Seconds that one stack may take; the largest database takes an hour.
    type: int
    default: 7200
extends_documentation_fragment: [gym.platform.aws]
attributes:
  check_mode:
    description: Plans.
    support: full
  diff_mode:
    description: Prints the plan.
    support: full
author: The gym platform's authors
"""

EXAMPLES = r"""
- name: Apply all stacks
  gym.platform.aws_stacks:
    directory: build/production/aws
    platform: gym
    environment: production
    region: eu-west-1

- name: Replace a database on purpose
  gym.platform.aws_stacks:
    directory: build/staging/aws
    stacks: [database]
    platform: gym
    environment: staging
    region: eu-west-1
    confirm_destroy: [database.Primary]
"""

RETURN = r"""
plan:
  description: What will be changed, or was to be.
  type: dict
  returned: O(state=planned), O(state=applied) and O(state=absent)
  contains:
    changes:
      description: One record for each resource.
      type: list
      elements: dict
      sample:
        - name: queue.Reports
          stack: queue
          logical_id: Reports
          type: AWS::SQS::Queue
          action: modify
          properties: [{path: VisibilityTimeout, before: "30", after: "60"}]
          stateful: true
          certain: true
    ripples:
      description: Stacks that get another value because of what happens in another stack.
      type: list
      elements: dict
    stacks:
      description: What happens to each stack, V(create), V(update), V(delete) or V(none).
      type: dict
    summary:
      description: How many resources are added, adopted, modified, replaced and deleted.
      type: dict
refused:
  description: What the plan would destroy although nobody confirmed it.
  type: list
  elements: str
  returned: O(state=planned), O(state=applied) and O(state=absent)
text:
  description: The plan, or the drift, to be read.
  type: str
  returned: unless O(state=read)
live:
  description: The file with the templates of the stacks as they were before.
  type: str
  returned: when O(live) is given, for V(read), V(planned) and V(applied)
applied:
  description: What was really changed, as the records of a plan.
  type: list
  elements: dict
  returned: when something was carried out
failures:
  description: By stack, the resource that failed, why, and what remains.
  type: dict
  returned: when something was carried out
untouched:
  description: Stacks that were left alone because one before them failed.
  type: list
  elements: str
  returned: when something was carried out
kept:
  description: By deleted stack, the resources that its template retains.
  type: dict
  returned: when something was carried out
seconds:
  description: By stack, how long it took.
  type: dict
  returned: when something was carried out
elapsed:
  description: Seconds that the task took.
  type: float
  returned: always
outputs:
  description: By stack, the outputs.
  type: dict
  returned: unless O(state=absent)
resources:
  description: All resources of all stacks, with their physical ids.
  type: list
  elements: dict
  returned: O(state=applied) and O(state=drift)
drifted:
  description: Resources that are not as they were applied, with the properties.
  type: list
  elements: dict
  returned: O(state=drift)
strangers:
  description: ARNs of what carries the environment's tags and belongs to no stack.
  type: list
  elements: str
  returned: O(state=drift)
unchecked:
  description: Resource types that cannot be compared.
  type: list
  elements: str
  returned: O(state=drift)
"""
