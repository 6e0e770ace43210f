"""The registry of an environment on AWS opens with a token of who runs the build."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar

PLATFORM = {"name": "gym", "environment": "staging", "provider": "aws", "region": "eu-west-1", "dr_region": ""}


def login(endpoint: str, **changed: str) -> dict[str, str]:
    lookup = lookup_loader.get("gym.platform.registry_login", loader=DataLoader(), templar=Templar(DataLoader()))
    (found,) = lookup.run([], {"platform": PLATFORM | changed, "__stacks_endpoint": endpoint})
    return dict(found)


def test_the_login_is_that_of_the_accounts_registry(endpoint: str) -> None:
    found = login(endpoint)
    assert re.fullmatch(r"\d{12}\.dkr\.ecr\.eu-west-1\.amazonaws\.com/gym/staging", found["address"])
    assert found["username"] == "AWS"
    assert found["password"]
    assert found["certificate_authority"] == ""


def test_only_a_cloud_has_one(endpoint: str) -> None:
    with pytest.raises(AnsibleLookupError, match="only aws has a registry to log in to"):
        login(endpoint, provider="docker")
