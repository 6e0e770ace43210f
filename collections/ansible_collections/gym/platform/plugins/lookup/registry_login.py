"""Where the environment's images are pushed on a cloud, and what opens it for some hours."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: registry_login
short_description: Where the environment's images are pushed on a cloud, and what opens it for some hours
description:
  - Asks AWS for a token of the account's ECR, for whoever runs this. Nothing has to be kept.
options:
  _terms:
    description: There are none.
extends_documentation_fragment: [gym.platform.aws.lookup]
author: [Gym Platform]
"""

EXAMPLES = r"""
- name: Show where images go
  ansible.builtin.debug:
    msg: "{{ lookup('gym.platform.registry_login').address }}"
"""

RETURN = r"""
_raw:
  description: C(address), which is a host and a path; C(username), C(password), and an empty C(certificate_authority).
  type: list
"""

import base64
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, clients
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain
from botocore.exceptions import BotoCoreError, ClientError


class LookupModule(LookupBase):  # type: ignore[misc]
    """The login of a registry."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return the login. Raises AnsibleLookupError with one sentence when there is none."""
        self.set_options(var_options=variables, direct=kwargs)
        platform = self._templar.template(self.get_option("platform"))
        if platform["provider"] != "aws":
            raise AnsibleLookupError(
                f"platform.provider is '{platform['provider']}'; only aws has a registry to log in to."
            )
        try:
            client = clients(self.get_option("endpoint_url"))("ecr", platform["region"])
            (given,) = client.get_authorization_token()["authorizationData"]
        except RequestError as error:
            raise AnsibleLookupError(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            raise AnsibleLookupError(f"{explain(error, platform['region'])}.") from error
        username, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
        host = urlsplit(given["proxyEndpoint"]).netloc
        # The path of the role `registry`.
        path = f"{platform['name']}/{platform['environment']}"
        return [{"address": f"{host}/{path}", "username": username, "password": password, "certificate_authority": ""}]
