"""The key of local hosts, and the first file of a host, which lets it in."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.local_login import authorized_key, ensure_key


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_key_is_made_once_and_completed_when_half_of_it_is_there(tmp_path: Path) -> None:
    directory = tmp_path / "ssh"
    assert ensure_key(directory, "test")
    private, public = (directory / "id_ed25519").read_bytes(), (directory / "id_ed25519.pub").read_bytes()
    assert (directory / "id_ed25519").stat().st_mode & 0o077 == 0
    assert not ensure_key(directory, "test")
    assert (directory / "id_ed25519").read_bytes() == private
    # Interrupted between its two halves.
    (directory / "id_ed25519").unlink()
    (directory / "new").write_text("half of a key")
    assert ensure_key(directory, "test")
    assert (directory / "id_ed25519.pub").read_bytes() != public
    assert sorted(path.name for path in directory.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_the_key_belongs_to_the_user_that_logs_in() -> None:
    with tarfile.open(fileobj=io.BytesIO(authorized_key(b"ssh-ed25519 AAAA"))) as archive:
        directory, file = archive.getmembers()
        content = archive.extractfile(file)
        assert content is not None
        assert content.read() == b"ssh-ed25519 AAAA"
    assert (directory.name, directory.mode, directory.uid) == ("home/ansible/.ssh", 0o700, 1000)
    assert (file.name, file.mode, file.uid, file.gid) == ("home/ansible/.ssh/authorized_keys", 0o600, 1000, 1000)
