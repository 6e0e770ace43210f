"""What is changed in etcd while no Patroni runs, over a dictionary in the place of etcd."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.gym.platform.plugins.modules.patroni_store import bring_about

PREFIX = "/patroni/gym"
SETTINGS = {"ttl": 20, "postgresql": {"parameters": {"max_connections": 100}}}


class Store:
    """Keys and values, and the gateway's words."""

    def __init__(self, **values: Any) -> None:
        self.values = {f"{PREFIX}/{key}": value for key, value in values.items()}

    def __call__(self, method: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        key = base64.b64decode(request["key"]).decode()
        if method == "put":
            self.values[key] = base64.b64decode(request["value"]).decode()
        elif method == "deleterange":
            del self.values[key]
        elif key in self.values:
            return {"kvs": [{"value": base64.b64encode(self.values[key].encode()).decode()}]}
        return {}

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.values[f"{PREFIX}/config"])
        return found


def test_a_cluster_is_paused_and_goes_on_with_its_settings() -> None:
    store = Store(config=json.dumps(SETTINGS))
    assert bring_about(store, PREFIX, True, False, False)["changed"] is True
    assert store.settings() == {**SETTINGS, "pause": True}
    again = bring_about(store, PREFIX, True, False, False)
    assert (again["changed"], again["was_paused"]) == (False, True)
    assert bring_about(store, PREFIX, False, False, False)["was_paused"] is True
    assert store.settings() == SETTINGS


def test_what_it_knows_of_the_database_is_forgotten_and_nothing_else() -> None:
    kept = {"config": json.dumps(SETTINGS), "members/db-1": "{}"}
    store = Store(initialize="7712", status="{}", sync="{}", **kept)
    assert bring_about(store, PREFIX, None, True, False)["forgotten"] == ["initialize", "status", "sync"]
    assert store.values == {f"{PREFIX}/{key}": value for key, value in kept.items()}


def test_a_check_only_looks() -> None:
    store = Store(config=json.dumps(SETTINGS), initialize="7712")
    before = dict(store.values)
    found = bring_about(store, PREFIX, True, True, True)
    assert (found["changed"], found["forgotten"], store.values) == (True, ["initialize"], before)


def test_without_a_wish_it_only_reads() -> None:
    store = Store(config=json.dumps({**SETTINGS, "pause": True}))
    assert bring_about(store, PREFIX, None, False, False) == {"changed": False, "was_paused": True, "forgotten": []}
    assert bring_about(Store(), PREFIX, None, False, False)["was_paused"] is False
