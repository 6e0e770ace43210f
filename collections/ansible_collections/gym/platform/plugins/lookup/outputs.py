"""What the stacks of the environment give out, as they are now."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: outputs
short_description: What the stacks of the environment give out, as they are now
description:
  - Reads the outputs of the environment's stacks, and nothing else. Facts come from here, and never share a name with
    what is described.
  - A stack that is being worked on is waited for.
options:
  _terms:
    description: Stacks, such as V(network), for all outputs of each; or outputs, such as V(network.VpcId).
    required: true
extends_documentation_fragment: [gym.platform.aws.lookup]
author: [Gym Platform]
"""

EXAMPLES = r"""
- name: Show what the network is called
  ansible.builtin.debug:
    msg: "{{ lookup('gym.platform.outputs', 'network.VpcId') }}"
"""

RETURN = r"""
_raw:
  description: For each term a dict of outputs, or the value of one output.
  type: list
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gym.platform.plugins.module_utils.aws_client import GLOBAL_REGION, RequestError, clients
from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Settings, Stacks
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from botocore.exceptions import BotoCoreError, ClientError

PROVIDERS = ("aws",)
WORKERS = 4


def picked(term: str, outputs: Mapping[str, Mapping[str, str]]) -> Any:
    """Return a stack's outputs, or one of them. Raises LookupError with one sentence when it is not there."""
    stack, _, output = term.partition(".")
    if stack not in outputs:
        raise LookupError(f"There is no stack {stack}; there are {', '.join(outputs) or 'none'}: provision it first.")
    if not output:
        return dict(outputs[stack])
    if output not in outputs[stack]:
        raise LookupError(f"The stack {stack} gives out no {output}; it gives out {', '.join(outputs[stack])}.")
    return outputs[stack][output]


class LookupModule(LookupBase):  # type: ignore[misc]
    """Outputs of stacks."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return what each term asks for. Raises AnsibleLookupError with one sentence when it is not there."""
        self.set_options(var_options=variables, direct=kwargs)
        platform = self._templar.template(self.get_option("platform"))
        if platform["provider"] not in PROVIDERS:
            raise AnsibleLookupError(
                f"platform.provider is '{platform['provider']}'; outputs are read from {', '.join(PROVIDERS)} only."
            )
        settings = Settings(
            platform["name"],
            platform["environment"],
            platform["region"],
            (platform.get("dr_region") or platform["region"], GLOBAL_REGION),
            workers=WORKERS,
        )
        try:
            stacks = Stacks(settings, clients(self.get_option("endpoint_url"), WORKERS))
            stacks.read()
            return [picked(term, stacks.outputs()) for term in terms]
        except (LookupError, RequestError) as error:
            raise AnsibleLookupError(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            raise AnsibleLookupError(f"{explain(error, platform['region'])}.") from error
