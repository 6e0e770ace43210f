"""The files of a container engine."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gym.platform.plugins.filter.docker import registry_trust


def test_each_registry_is_trusted_by_the_authority() -> None:
    assert registry_trust(["registry.gym.internal:5000"], "/ca.pem") == [
        {"path": "/etc/docker/certs.d/registry.gym.internal:5000/ca.crt", "state": "link", "target": "/ca.pem"}
    ]


@pytest.mark.parametrize("address", ["https://registry", "../../x", "a/b", ""])
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is not the address of a registry"):
        registry_trust([address], "/ca.pem")
