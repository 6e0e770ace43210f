"""The collection's tarball carries the roles, and they run where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("collection")
    subprocess.run(
        ["make", "--silent", "collection", f"OUT={directory}"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL
    )
    (built,) = directory.glob("gym-platform-*.tar.gz")
    return built


def test_every_role_is_in_the_tarball(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        packed = {Path(name).parts[1] for name in archive.getnames() if name.startswith("roles/") and "/tasks/" in name}
    assert packed == {path.parent.parent.name for path in ROOT.glob("roles/*/tasks/*.yml")}


def test_a_role_runs_from_the_installed_collection(tarball: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "ANSIBLE_HOME": str(tmp_path / "home")}
    galaxy = [str(BIN / "ansible-galaxy"), "collection", "install", "--offline", "--no-deps"]
    subprocess.run(
        [*galaxy, "-p", str(tmp_path / "collections"), str(tarball)], env=environment, cwd=tmp_path, check=True
    )
    (tmp_path / "playbook.yml").write_text(
        """
- hosts: localhost
  connection: local
  gather_facts: false
  roles:
    - role: gym.platform.secrets
      secrets_directory: "{{ playbook_dir }}/state"
      secrets_generated: [{name: database/owner, kind: password}]
  tasks:
    - name: Read it back
      ansible.builtin.assert:
        that: lookup('gym.platform.secret', 'database/owner') | length == 32
      vars:
        secret_store: {provider: file, directory: "{{ playbook_dir }}/state"}
"""
    )
    subprocess.run([str(BIN / "ansible-playbook"), "playbook.yml"], env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "state" / "secrets.yml").read_text().startswith("$ANSIBLE_VAULT")
