#!/usr/bin/python
"""Ask the front door for one colour, whatever the traffic does."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preview_requests
short_description: Ask one colour of services at the front door's preview address
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - Sends GET requests to the preview address of HAProxy on the host itself, with the certificate checked for the name
    that clients use, and returns the answers. What they have to be is decided by the release.
options:
  colour:
    description: The colour that shall answer.
    type: str
    choices: [blue, green]
    required: true
  requests:
    description: The requests, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      hostname:
        description: The name by which clients reach the service.
        type: str
        required: true
      path:
        description: The path.
        type: str
        required: true
  address:
    description: Where the preview address listens.
    type: str
    default: 127.0.0.1
  port:
    description: Its port.
    type: int
    default: 8405
  ca_file:
    description: The authority of its certificate.
    type: path
    default: /etc/ssl/gym/ca.pem
extends_documentation_fragment: [gym.platform.reads]
"""

EXAMPLES = r"""
- name: Ask the new colour for its version
  gym.platform.preview_requests:
    colour: green
    requests:
      - {hostname: api.gym.localhost, path: /version}
"""

RETURN = r"""
answers:
  description: For each request its C(status), and the C(body) as text, of at most 4096 bytes.
  type: list
  elements: dict
  returned: success
problem:
  description: The first request that was not answered at all; empty on success.
  type: str
  returned: always
"""

import http.client
import socket
import ssl
from typing import Any

from ansible.module_utils.basic import AnsibleModule

TIMEOUT_SECONDS = 10
BODY_BYTES = 4096


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


def ask(connection: http.client.HTTPConnection, hostname: str, path: str, colour: str) -> dict[str, Any]:
    """Return the answer to one request. Raises OSError and HTTPException when there is none."""
    try:
        connection.request("GET", path, headers={"Host": hostname, "X-Release-Colour": colour})
        response = connection.getresponse()
        return {"status": response.status, "body": response.read(BODY_BYTES).decode(errors="replace")}
    finally:
        connection.close()


def main() -> None:
    """Ask, and stop at the first request that is not answered."""
    module = AnsibleModule(
        argument_spec={
            "colour": {"type": "str", "required": True, "choices": ["blue", "green"]},
            "requests": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "hostname": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                },
            },
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8405},
            "ca_file": {"type": "path", "default": "/etc/ssl/gym/ca.pem"},
        },
        supports_check_mode=True,
    )
    options = module.params
    answers = []
    path = options["ca_file"]
    try:
        context = ssl.create_default_context(cafile=path)
        for request in options["requests"]:
            hostname, path = request["hostname"], request["path"]
            connection = PreviewConnection(hostname, options["address"], options["port"], context)
            answers.append(ask(connection, hostname, path, options["colour"]))
    except (OSError, http.client.HTTPException) as error:
        problem = f"the {options['colour']} colour did not answer {path}: {error}"
        module.fail_json(msg=problem, problem=problem)
    module.exit_json(changed=False, answers=answers, problem="")


if __name__ == "__main__":
    main()
