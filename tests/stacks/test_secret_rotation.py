"""The function that replaces passwords, on a store and a cache that remember what they are told."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from typing import Any

import pytest

from tests.project import ROOT


class NotFound(Exception):  # noqa: N818  the name is not ours
    pass


class Store:
    """Secrets Manager, as far as a rotation asks it."""

    exceptions = types.SimpleNamespace(ResourceNotFoundException=NotFound)

    def __init__(self, tags: list[dict[str, str]]) -> None:
        self.tags = tags
        self.stages = {"old": ["AWSCURRENT"], "new": ["AWSPENDING"]}
        self.values = {"old": json.dumps({"username": "sessions", "password": "first"})}

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803
        return {"VersionIdsToStages": self.stages, "Tags": self.tags}

    def get_secret_value(self, SecretId: str, VersionStage: str, VersionId: str = "") -> dict[str, str]:  # noqa: N803
        version = VersionId or next(one for one, held in self.stages.items() if VersionStage in held)
        if version not in self.values:
            raise NotFound
        return {"SecretString": self.values[version]}

    def get_random_password(self, **_: Any) -> dict[str, str]:
        return {"RandomPassword": f"made-{len(self.values)}"}

    def put_secret_value(self, ClientRequestToken: str, SecretString: str, **_: Any) -> None:  # noqa: N803
        self.values[ClientRequestToken] = SecretString

    def update_secret_version_stage(self, MoveToVersionId: str, RemoveFromVersionId: str, **_: Any) -> None:  # noqa: N803
        self.stages[RemoveFromVersionId].remove("AWSCURRENT")
        self.stages[MoveToVersionId].append("AWSCURRENT")


class Cache:
    def __init__(self) -> None:
        self.users: dict[str, list[str]] = {}

    def modify_user(self, UserId: str, Passwords: list[str]) -> None:  # noqa: N803
        self.users[UserId] = Passwords


class Rotation:
    """The function with what it asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tags: list[dict[str, str]]) -> None:
        self.store, self.cache = Store(tags), Cache()
        clients = {"secretsmanager": self.store, "elasticache": self.cache}
        monkeypatch.setitem(sys.modules, "boto3", types.SimpleNamespace(client=clients.__getitem__))
        spec = importlib.util.spec_from_file_location("rotation", ROOT / "roles/secrets/files/rotation.py")
        assert spec and spec.loader
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def step(self, name: str, version: str = "new") -> None:
        self.module.handler({"SecretId": "arn", "ClientRequestToken": version, "Step": name}, None)

    def passwords(self) -> dict[str, str]:
        return {version: json.loads(text)["password"] for version, text in self.store.values.items()}


@pytest.fixture
def rotation(monkeypatch: pytest.MonkeyPatch) -> Rotation:
    return Rotation(monkeypatch, [{"Key": "CacheUser", "Value": "gym-production-sessions"}])


def test_a_rotation_makes_tells_and_finishes(rotation: Rotation) -> None:
    for name in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        rotation.step(name)
    assert rotation.passwords() == {"old": "first", "new": "made-1"}
    # Whoever still holds the older one is let in.
    assert rotation.cache.users == {"gym-production-sessions": ["made-1", "first"]}
    assert "AWSCURRENT" in rotation.store.stages["new"]
    assert json.loads(rotation.store.values["new"])["username"] == "sessions"


@pytest.mark.parametrize("repeated", ["createSecret", "setSecret", "finishSecret"])
def test_every_step_may_be_repeated(rotation: Rotation, repeated: str) -> None:
    for name in ("createSecret", "setSecret", "finishSecret"):
        rotation.step(name)
        if name == repeated:
            rotation.step(name)
    assert rotation.passwords()["new"] == "made-1"
    assert rotation.store.stages["new"].count("AWSCURRENT") == 1


def test_a_secret_of_nobody_in_the_cache_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rotation = Rotation(monkeypatch, [])
    rotation.step("createSecret")
    rotation.step("setSecret")
    assert not rotation.cache.users


def test_a_version_that_nobody_announced_is_refused(rotation: Rotation) -> None:
    with pytest.raises(ValueError, match="no pending version other"):
        rotation.step("createSecret", "other")
