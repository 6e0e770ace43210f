"""What a release asks of Docker hosts: each call of a module costs its machine 0.3 CPU-s, and a small one has two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils import release_docker
from ansible_collections.gym.platform.plugins.module_utils.release_docker import Call
from ansible_collections.gym.platform.plugins.module_utils.release_judge import Nobody
from ansible_collections.gym.platform.plugins.module_utils.release_run import Procedure, Run
from ansible_collections.gym.platform.plugins.module_utils.release_smoke import SmokeTest
from ansible_collections.gym.platform.plugins.module_utils.release_store import Held, Lock, stamp
from ansible_collections.gym.platform.plugins.module_utils.release_story import Result, Story
from release_worlds import DockerWorld

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROCEDURE = Procedure(
    expand=["migrate", "expand"],
    contract=["migrate", "contract"],
    assets=["assets"],
    smoke=[SmokeTest("api", "/version", versioned=True)],
    inconclusive="promote",
)


class Counted(DockerWorld):
    """A world that counts the calls of each host."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, str]] = Counter()

    def call(self, calls: Sequence[Call]) -> list[Mapping[str, Any]]:
        self.calls.update((call.host, call.module) for call in calls)
        return super().call(calls)


def release(world: DockerWorld, version: str) -> Story:
    driver, store = world.connect()
    assert isinstance(driver, release_docker.DockerDriver)
    mine = Lock("person", "here", 1, "1", stamp(NOW), "")
    run = Run(
        driver,
        Held(store, mine, timedelta(minutes=3), lambda: NOW),
        Nobody(),
        PROCEDURE,
        mine=mine,
        now=lambda: NOW,
        alive=lambda lock: True,
        say=lambda text: None,
    )
    return run.release(version)


def test_a_release_asks_each_machine_only_for_what_it_needs() -> None:
    world = Counted()
    assert release(world, "1").result is Result.LIVE
    world.calls.clear()
    assert release(world, "2").result is Result.LIVE
    assert world.calls == {
        # The first host: the digest, a look, expand, assets, start, contract, retire. The second: a look, assets, ...
        ("app-1", "docker_services"): 7,
        ("app-2", "docker_services"): 4,
        # A look and three shares.
        **dict.fromkeys([("edge-1", "haproxy_map"), ("edge-2", "haproxy_map")], 4),
        # Until the new colour is up, and until the old one is drained.
        **dict.fromkeys([("edge-1", "haproxy_servers"), ("edge-2", "haproxy_servers")], 2),
        # The old colour before and after the database is expanded, and the new one.
        **dict.fromkeys([("edge-1", "preview_requests"), ("edge-2", "preview_requests")], 3),
        # Read, locked, committed, contracted, recorded.
        ("edge-1", "marked_file"): 5,
    }


def test_what_a_colour_has_too_much_goes_with_its_start() -> None:
    world = Counted()
    assert release(world, "1").result is Result.LIVE
    (colour,) = world.versions()
    stray = {**world.containers["app-2"][f"api-{colour}"], "name": f"api-{colour}-2"}
    world.containers["app-2"][stray["name"]] = stray
    story = release(world, "1")
    assert story.result is Result.LIVE, story.sentence
    assert stray["name"] not in world.containers["app-2"]
    assert f"api-{colour}" in world.containers["app-2"]
