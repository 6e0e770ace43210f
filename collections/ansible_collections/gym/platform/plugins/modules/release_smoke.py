#!/usr/bin/python
"""Ask a new release for its version at the preview address of the front door."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_smoke
short_description: Ask a release for its version before it gets traffic
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - Sends requests to the preview address of the front door, which leads to the colour that is named, and demands the
    wanted version in the JSON of every answer. Changes nothing.
options:
  services:
    description: What is asked.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The service, for messages.
        type: str
        required: true
      hostname:
        description: Its host name. The certificate of the front door must be valid for it.
        type: str
        required: true
      colour:
        description: The colour under test.
        type: str
        required: true
        choices: [blue, green]
  version:
    description: What the key C(version) of the answer must be.
    type: str
    required: true
  path:
    description: What is asked for.
    type: str
    default: /version
  address:
    description: The preview address.
    type: str
    default: 127.0.0.1
  port:
    description: Its port.
    type: int
    default: 8405
  ca_file:
    description: The authority that signed the certificate of the front door.
    type: path
    default: /etc/ssl/gym/ca.pem
  requests:
    description: How often each service is asked; more often than it has instances, so that each one is met.
    type: int
    default: 4
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: Ask the new colour for its version
  gym.platform.release_smoke:
    services:
      - {name: gym-api, hostname: api.gym.localhost, colour: green}
    version: "1.2"
"""

RETURN = r"""
problem:
  description: The first answer that was not the wanted one; empty on success.
  type: str
  returned: always
"""

import http.client
import json
import socket
import ssl

from ansible.module_utils.basic import AnsibleModule

TIMEOUT_SECONDS = 10


class PreviewConnection(http.client.HTTPSConnection):
    """A connection to one address that is checked for another name: the one that clients will use."""

    def __init__(self, hostname: str, address: str, port: int, context: ssl.SSLContext) -> None:
        """Remember both."""
        super().__init__(hostname, port, timeout=TIMEOUT_SECONDS, context=context)
        self._address = (address, port)
        self._hostname = hostname
        self._tls = context

    def connect(self) -> None:
        """Go to the address, and check the name."""
        plain = socket.create_connection(self._address, TIMEOUT_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._hostname)


def ask(connection: http.client.HTTPConnection, hostname: str, path: str, colour: str, version: str) -> str:
    """Return what is wrong with the answer to one request, or nothing."""
    try:
        connection.request("GET", path, headers={"Host": hostname, "X-Release-Colour": colour})
        response = connection.getresponse()
        body = response.read(65536)
    except (OSError, http.client.HTTPException) as error:
        return f"GET {path} was not answered: {error}"
    finally:
        connection.close()
    text = body.decode(errors="replace")[:200]
    if response.status != 200:
        return f"GET {path} was answered {response.status}: {text}"
    try:
        answered = json.loads(body)["version"]
    except (ValueError, KeyError, TypeError):
        return f"GET {path} was answered without a version: {text}"
    return "" if answered == version else f"GET {path} was answered by version {answered}, not {version}"


def main() -> None:
    """Ask each service, and stop at the first wrong answer."""
    module = AnsibleModule(
        argument_spec={
            "services": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "hostname": {"type": "str", "required": True},
                    "colour": {"type": "str", "required": True, "choices": ["blue", "green"]},
                },
            },
            "version": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/version"},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8405},
            "ca_file": {"type": "path", "default": "/etc/ssl/gym/ca.pem"},
            "requests": {"type": "int", "default": 4},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        context = ssl.create_default_context(cafile=options["ca_file"])
    except OSError as error:
        module.fail_json(msg=f"{options['ca_file']}: {error}", problem=f"{options['ca_file']}: {error}")
    for service in options["services"]:
        for _ in range(options["requests"]):
            connection = PreviewConnection(service["hostname"], options["address"], options["port"], context)
            wrong = ask(connection, service["hostname"], options["path"], service["colour"], options["version"])
            if wrong:
                problem = f"{service['name']} ({service['colour']}): {wrong}"
                module.fail_json(msg=problem, problem=problem)
    module.exit_json(changed=False, problem="")


if __name__ == "__main__":
    main()
