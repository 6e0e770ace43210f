#!/usr/bin/python
"""Judge two colours of a service that both serve, by what monitoring counts of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_verdict
short_description: Judge a new colour against the one that it replaces
version_added: "0.3.0"
author: The gym platform's engineers (@gym)
description:
  - Reads the counters of both colours again and again until a sequential test on errors and a rank test on latency
    decide, or until the deadline. Changes nothing; what is done about the verdict is for the caller.
  - What cannot be read is no verdict. One reading that fails is repeated; the module fails when none came for
    O(patience_seconds).
options:
  new:
    description: The colour that is judged.
    type: str
    required: true
    choices: [blue, green]
  service:
    description: The service, as its backends and its metrics are called. Needed with O(prometheus).
    type: str
  prometheus:
    description: The address of Prometheus. Either this or O(balancer).
    type: str
  ca_file:
    description: The authority that signed the certificate of Prometheus, where it has one.
    type: path
  balancer:
    description: The load balancer, as CloudWatch's dimension C(LoadBalancer) names it.
    type: str
  target_groups:
    description: The target group of each colour, as CloudWatch's dimension C(TargetGroup) names it.
    type: dict
  region:
    description: The region of the balancer.
    type: str
  endpoint_url:
    description: Another address of CloudWatch, for tests.
    type: str
  policy:
    description: What differs from the usual policy; the keys are in docs/verdict.md.
    type: dict
    default: {}
  history_seconds:
    description: For how long back the old colour's errors are counted.
    type: int
    default: 600
  interval_seconds:
    description: The time between two readings.
    type: float
    default: 1
  patience_seconds:
    description: For how long readings may fail.
    type: float
    default: 15
requirements: [boto3 for CloudWatch]
extends_documentation_fragment: [gym.platform.reads]
"""

EXAMPLES = r"""
- name: Judge green
  gym.platform.release_verdict:
    new: green
    service: gym-api
    prometheus: http://192.0.2.10:9090
    policy: {deadline_seconds: 120, inconclusive: hold}
"""

RETURN = r"""
outcome:
  description: One of V(promote), V(roll_back), V(hold).
  type: str
  returned: success
reason:
  description: Why, in one sentence.
  type: str
  returned: success
verdict:
  description: Everything that the verdict rests on, the path of the sequential test and the spec's own rules among it.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.release_judge import Rhythm, readings, source_of
from ansible_collections.gym.platform.plugins.module_utils.release_metrics import Source, SourceError
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import (
    Policy,
    PolicyError,
    Trial,
    Verdict,
    policy_of,
)


def judge(source: Source, policy: Policy, new: str, rhythm: Rhythm) -> Verdict:
    """Read until there is a verdict. Raises SourceError."""
    verdicts = (verdict for _, verdict in readings(source, Trial(policy), new, rhythm))
    return next(verdict for verdict in verdicts if verdict.outcome != "undecided")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "new": {"type": "str", "required": True, "choices": ["blue", "green"]},
            "service": {"type": "str"},
            "prometheus": {"type": "str"},
            "ca_file": {"type": "path"},
            "balancer": {"type": "str"},
            "target_groups": {"type": "dict"},
            "region": {"type": "str"},
            "endpoint_url": {"type": "str"},
            "policy": {"type": "dict", "default": {}},
            "history_seconds": {"type": "int", "default": 600},
            "interval_seconds": {"type": "float", "default": 1},
            "patience_seconds": {"type": "float", "default": 15},
        },
        required_one_of=[("prometheus", "balancer")],
        mutually_exclusive=[("prometheus", "balancer")],
        required_by={"prometheus": ("service",), "balancer": ("target_groups", "region")},
        supports_check_mode=True,
    )
    options = module.params
    try:
        verdict = judge(
            source_of(options),
            policy_of(options["policy"]),
            options["new"],
            Rhythm(options["history_seconds"], options["interval_seconds"], options["patience_seconds"]),
        )
    except (PolicyError, SourceError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, outcome=verdict.outcome, reason=verdict.reason, verdict=verdict.record())


if __name__ == "__main__":
    main()
