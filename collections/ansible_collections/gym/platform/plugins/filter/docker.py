"""The files that a container engine reads, from the noun that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

# A name or an IPv4 address, with the port that clients use; what is not a registry's address is not a directory either.
REGISTRY = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


def registry_trust(registries: Sequence[str], authority: str) -> list[dict[str, str]]:
    """Return records for gym.platform.config_files: the engine trusts each registry by this authority."""
    for registry in registries:
        if not REGISTRY.fullmatch(registry):
            raise AnsibleFilterError(
                f"'{registry}' is not the address of a registry: write host or host:port, without a scheme or a path."
            )
    return [
        {"path": f"/etc/docker/certs.d/{registry}/ca.crt", "state": "link", "target": authority}
        for registry in registries
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name them for Ansible."""
        return {"registry_trust": registry_trust}
