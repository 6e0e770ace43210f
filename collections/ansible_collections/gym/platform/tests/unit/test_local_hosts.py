"""What the module local_hosts writes: the key, known_hosts, the first file of a host, and its diff."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
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


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_key_is_made_once_and_completed_when_half_of_it_is_there(tmp_path: Path) -> None:
    directory = tmp_path / "ssh"
    assert module.ensure_key(directory, "test")
    private, public = (directory / "id_ed25519").read_bytes(), (directory / "id_ed25519.pub").read_bytes()
    assert (directory / "id_ed25519").stat().st_mode & 0o077 == 0
    assert not module.ensure_key(directory, "test")
    assert (directory / "id_ed25519").read_bytes() == private
    # Interrupted between its two halves.
    (directory / "id_ed25519").unlink()
    (directory / "new").write_text("half of a key")
    assert module.ensure_key(directory, "test")
    assert (directory / "id_ed25519.pub").read_bytes() != public
    assert sorted(path.name for path in directory.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_a_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    assert module.write_if_different(path, "a")
    assert not module.write_if_different(path, "a")
    assert module.write_if_different(path, "b")
    assert [file.name for file in path.parent.iterdir()] == ["known_hosts"]
    assert path.read_text() == "b"


def test_the_key_belongs_to_the_user_that_logs_in() -> None:
    with tarfile.open(fileobj=io.BytesIO(module.authorized_key(b"ssh-ed25519 AAAA"))) as archive:
        directory, file = archive.getmembers()
        content = archive.extractfile(file)
        assert content is not None
        assert content.read() == b"ssh-ed25519 AAAA"
    assert (directory.name, directory.mode, directory.uid) == ("home/ansible/.ssh", 0o700, 1000)
    assert (file.name, file.mode, file.uid, file.gid) == ("home/ansible/.ssh/authorized_keys", 0o600, 1000, 1000)


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
