"""`make up` made difficult: out of the plain image, interrupted, and with what it needs missing.

Each test leaves the development platform up and healthy. The first one makes it anew, so what is in it is lost.
"""

from __future__ import annotations

import functools
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.platform_access import STATE, open_gym
from tests.proofs.playbook_runs import Outcome, interrupt, playbook, run

# As machines that somebody hands over have them: with no package of any role.
PLAIN = ("-e", json.dumps({"local_hosts_baked": False}))
# Between the first machine and the last; between the first member of a cluster and the last; while a release starts.
MOMENTS = (
    "TASK [gym.platform.local_hosts : Run the hosts]",
    "TASK [gym.platform.postgresql : Run etcd, Patroni and pgbouncer]",
    "TASK [gym.platform.release_docker : Start the new colour and wait until it is healthy]",
)

HOSTS = 12
SOCKET = Path("/var/run/docker.sock").resolve()


def containers() -> list[str]:
    command = ["docker", "ps", "--filter", "label=gym.platform=development", "--format", "{{.Names}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def under_way(task: str, said: str) -> bool:
    """Whether a task has begun, and the first container is there."""
    return task in said and bool(containers())


def succeeds(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.failures or outcome.text[-3000:]
    return outcome


def refusal(outcome: Outcome) -> str:
    """Return the one sentence with which a run ended."""
    assert outcome.code != 0
    assert "Traceback" not in outcome.text
    (sentence,) = outcome.failures
    return sentence


@pytest.fixture
def repaired_by_the_next_run() -> Iterator[None]:
    """Whatever a test broke, one more run makes whole."""
    yield
    succeeds(run(playbook("site")))
    succeeds(run(playbook("status")))


def test_interrupted_three_times_it_still_comes_up_from_plain_machines(tmp_path: Path) -> None:
    succeeds(run(playbook("teardown")))
    site = playbook("site", *PLAIN)
    for task in MOMENTS:
        assert interrupt(site, tmp_path / "log", functools.partial(under_way, task)).code != 0, task
    succeeds(run(site))
    assert len(containers()) == HOSTS
    assert succeeds(run(site)).changed == {}
    succeeds(run(playbook("status")))
    assert open_gym().members


@pytest.mark.usefixtures("repaired_by_the_next_run")
def test_a_lost_vault_password_is_one_sentence() -> None:
    kept, away = STATE / "vault_password", STATE / "vault_password.away"
    kept.rename(away)
    try:
        sentence = refusal(run(playbook("site")))
    finally:
        away.rename(kept)
    assert "secrets.yml cannot be opened, because its password is not in" in sentence
    assert "Restore it, or name its file in" in sentence


@pytest.mark.usefixtures("repaired_by_the_next_run")
def test_a_secret_that_nobody_made_is_one_sentence() -> None:
    misspelt = {"queue_access_key": "{{ lookup('gym.platform.secret', 'queue/acces_key') }}"}
    sentence = refusal(run(playbook("site", "-e", json.dumps(misspelt))))
    assert "There is no secret 'queue/acces_key'" in sentence
    assert "The nearest name there is 'queue/access_key'" in sentence


@pytest.mark.usefixtures("repaired_by_the_next_run")
def test_a_machine_that_is_away_ends_the_run_by_name() -> None:
    subprocess.run(["docker", "kill", "gym-cache-2"], check=True, capture_output=True)
    outcome = run(playbook("configure"))
    assert outcome.code != 0
    (sentence,) = outcome.failures
    assert sentence.startswith("fatal: [cache-2]: UNREACHABLE!")
    assert "Configure the database" not in outcome.text, "nothing is configured on the strength of a part"


def test_a_machine_without_an_engine_is_one_sentence() -> None:
    """In a view of this machine where the engine's program and its socket are not there."""
    hidden = "; ".join(f"mount --bind /dev/null {path}" for path in (shutil.which("dockerd"), SOCKET))
    command = ["unshare", "--mount", "sh", "-ec", f"{hidden}; exec {shlex.join(playbook('site'))}"]
    sentence = refusal(run(command))
    assert "There is no Docker engine on this machine: install Debian's docker.io" in sentence
