"""Runs of an environment's own playbooks against an embedded cloud."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore

from tests.project import ROOT

PLANTED = "Planted-0f6b1c2d-secret"


class Runs:
    """Runs of playbooks, each with a build directory and a store of planted secrets of this test."""

    def __init__(self, endpoint: str, directory: Path, environment: str = "staging", build: str = "build") -> None:
        self.endpoint, self.directory, self.environment, self.logs = endpoint, directory, environment, ""
        self.places = f"__build_directory={directory}/{build} state_directory={directory}/state"
        self.told = f"__stacks_endpoint={endpoint} {self.places}"
        generated = yaml.safe_load((ROOT / "group_vars/all/secret_store.yml").read_text())["secret_store"]["generated"]
        SecretStore(directory / "state").write(dict.fromkeys(names(generated), PLANTED))

    def begin(self, playbook: str, *options: str) -> subprocess.Popen[str]:
        """Begin a run that goes on by itself."""
        command = [
            "ansible-playbook",
            f"--inventory={ROOT}/inventories/{self.environment}",
            f"{ROOT}/playbooks/{playbook}.yml",
            "--extra-vars",
            # A rehearsal has a cloud of its own.
            self.places if playbook == "rehearse" else self.told,
            *options,
        ]
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": PLANTED, "AWS_SECRET_ACCESS_KEY": PLANTED}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)

    def end(self, running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """Wait for the end of a run."""
        stdout, stderr = running.communicate()
        self.logs += stdout + stderr
        return subprocess.CompletedProcess(running.args, running.returncode, stdout, stderr)

    def __call__(self, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook to its end."""
        return self.end(self.begin(playbook, *options))


def names(generated: list[dict[str, str]]) -> list[str]:
    """Return what the secrets of an environment are called in its store."""
    authority = ["certificate_authority/certificate", "certificate_authority/key"]
    return [*authority, *(one["name"] for one in generated if one["kind"] != "certificate_authority")]
