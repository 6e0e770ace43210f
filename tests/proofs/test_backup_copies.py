"""What no database keeps comes back from its copies on the running platform: each is laid down and looked into."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore

from tests.end_to_end.platform_access import STATE, on_host, wait_for
from tests.proofs.playbook_runs import playbook, run

PROGRAM = "/usr/local/lib/gym-platform/backup_copy.py"
TARGET = "/root/laid-down"
PORT = 39379


def shell(host: str, script: str) -> str:
    """Run a script as root on a host."""
    return on_host(host, "bash", "-ec", script)


@pytest.fixture(scope="module", autouse=True)
def copied() -> None:
    """Make all copies now, as a person does."""
    done = run(playbook("backup", "-e", "backup_kind=copies"))
    assert done.code == 0, done.text


@pytest.fixture
def laid_down(request: pytest.FixtureRequest) -> Iterator[str]:
    """Lay the newest copy down on the host that made it."""
    host, name = request.param
    shell(host, f"rm -rf {TARGET} && {PROGRAM} restore {name} --target {TARGET}")
    yield host
    shell(host, f"rm -rf {TARGET}")


@pytest.mark.parametrize("laid_down", [("cache-1", "redis"), ("cache-2", "redis")], indirect=True)
@pytest.mark.parametrize("log", ["yes", "no"], ids=["from the log", "from the snapshot"])
def test_redis(laid_down: str, log: str) -> None:
    """A Redis of its own starts from either of the two."""
    saved = f"{TARGET}/var/lib/redis/saved"
    client = f"redis-cli -p {PORT}"
    shell(
        laid_down,
        f"redis-server --port {PORT} --dir {saved} --appendonly {log} --daemonize yes --save '' --logfile {saved}/log",
    )
    try:
        wait_for(lambda: "loading:0" in shell(laid_down, f"{client} INFO persistence"), 30, "Redis has read its files")
        keys = int(shell(laid_down, f"{client} DBSIZE"))
        ours = int(shell(laid_down, "python3 -B -c \"import sys; sys.path.insert(0, '/usr/local/lib/gym-platform');"
                   "import redis_node as n; s = n.Settings.read(n.SETTINGS); c = n.Connection(s, s.address, s.port);"
                   "print(sum(1 for _ in n.lives(c)))\""))  # fmt: skip
        # Keys come and go while a copy is made, and those of rate limits end within the hour.
        assert keys > 0
        assert keys >= ours // 2
    finally:
        shell(laid_down, f"{client} SHUTDOWN NOSAVE || true")


@pytest.mark.parametrize("laid_down", [("queue-1", "queue")], indirect=True)
def test_the_queues(laid_down: str) -> None:
    state = json.loads(shell(laid_down, f"cat {TARGET}/var/lib/private/queue/sqs.json"))
    assert "notifications" in json.dumps(state)


@pytest.mark.parametrize("laid_down", [("app-1", "assets"), ("app-2", "assets")], indirect=True)
def test_the_assets(laid_down: str) -> None:
    volume = shell(laid_down, "ls -d /var/lib/docker/*/volumes/gym-assets/_data")
    assert shell(laid_down, f"diff -r {volume} {TARGET}{volume} && find {TARGET}{volume} -type f | head -1")


@pytest.mark.parametrize("laid_down", [("backup-1", "registry")], indirect=True)
def test_the_images(laid_down: str) -> None:
    """Each layer is what its name says it is."""
    blobs = f"{TARGET}/var/lib/docker-registry/docker/registry/v2/blobs/sha256"
    named = "sed -E 's#^([0-9a-f]{64})  .*/([0-9a-f]{64})/data$#\\1 \\2#'"
    sums = shell(laid_down, f"find {blobs} -name data -exec sha256sum {{}} + | {named}").splitlines()
    assert sums
    assert [line for line in sums if len(set(line.split())) != 1] == []


@pytest.mark.parametrize("laid_down", [("edge-1", "releases")], indirect=True)
def test_the_ledger_of_releases(laid_down: str) -> None:
    assert json.loads(shell(laid_down, f"cat {TARGET}/var/lib/gym/releases.json"))


@pytest.mark.parametrize("laid_down", [("backup-1", "secrets")], indirect=True)
def test_the_secrets(laid_down: str) -> None:
    """They are as encrypted as on the controller; who has the password opens them."""
    text = shell(laid_down, f"cat {TARGET}/var/lib/gym/controller/secrets.yml")
    assert text.startswith("$ANSIBLE_VAULT;")
    assert text == (STATE / "secrets.yml").read_text().strip()
    assert SecretStore(STATE).get("backup/copies")
