"""What the module local_hosts makes of its options, and its diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.gym.platform.plugins.module_utils.local_engine import Engine, EngineError
from ansible_collections.gym.platform.plugins.module_utils.local_plan import Container, Current, PlanError, Step
from ansible_collections.gym.platform.plugins.modules import local_hosts as module

OPTIONS: dict[str, Any] = {
    "environment": "test",
    "networks": [{"name": "gym-local", "subnet": "10.203.0.0/24"}],
    "prefix": "gym-",
    "addresses": {"edge-1": "10.203.0.11", "app-1": "10.203.0.21"},
    "published": [{"host": "edge-1", "port": 443, "at": 8443}],
    "engines": ["app-1"],
}


def test_options_become_hosts() -> None:
    edge, app = module.desired_from(OPTIONS).hosts
    assert [(port.inside, port.outside) for port in edge.ports] == [(443, 8443)]
    assert (edge.engine, app.engine, app.ports) == (False, True, ())


@pytest.mark.parametrize("changed", [{"engines": ["app-3"]}, {"published": [{"host": "app-3", "port": 1, "at": 1}]}])
def test_a_host_that_is_not_there_is_named_with_those_that_are(changed: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="app-3 is no host of this environment: its hosts are app-1, edge-1"):
        module.desired_from({**OPTIONS, **changed})


def test_a_diff_shows_hosts_as_they_will_be() -> None:
    ours = {"gym.platform": "test"}
    current = Current(
        containers=(
            Container("gym-b", "exited", ours),
            Container("gym-a", "running", ours),
            Container("other", "running", {}),
        )
    )
    before = module.picture(current, "test")
    assert before == "gym-a: running\ngym-b: exited\n"
    steps = [Step("remove", "gym-a", ""), Step("start", "gym-b", ""), Step("create", "gym-c", "")]
    assert module.sketch(before, steps) == "gym-b: running\ngym-c: running\n"
    assert module.sketch(before, []) == before


class Miscounting:
    """An engine that takes a host for being on a network, which is there or is gone."""

    def __init__(self, *there: str) -> None:
        self.there: dict[str, dict[str, Any]] = {key: {} for key in there}

    def call(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        assert path == "/networks/gym-local"
        if method == "DELETE":
            raise EngineError("error while removing network: network gym-local id 1 has active endpoints", 403)
        return {"Containers": self.there}


def removing(engine: Miscounting) -> module.Hosts:
    hosts = module.Hosts(cast("Engine", engine), module.desired_from(OPTIONS), Path("/nowhere"), "", 1)
    hosts.take([Step("remove_network", "gym-local", "empty")])
    return hosts


def test_a_network_that_the_engine_miscounts_stays_and_one_that_is_in_use_is_an_error() -> None:
    assert removing(Miscounting()).kept == ["gym-local"]
    with pytest.raises(EngineError, match="active endpoints"):
        removing(Miscounting("1"))
