"""The accounts of people: what is refused before anything is touched, and who is let in and removed."""

from __future__ import annotations

import grp
import pwd
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.modules.people import Accounts, PeopleError, wanted_keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0 ada@laptop"


class Module:
    """Remembers the commands that it is asked to run."""

    def __init__(self, directory: Path) -> None:
        self.params = {"group": "administrators", "keys_directory": str(directory / "keys")}
        self.commands: list[list[str]] = []

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        return 0, "", ""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A machine with the administrator ada and the system's account postgres."""
    accounts = {
        "ada": SimpleNamespace(pw_uid=1001, pw_dir=str(tmp_path / "ada")),
        "postgres": SimpleNamespace(pw_uid=105, pw_dir="/nowhere"),
    }
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "notes").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", lambda _: SimpleNamespace(gr_mem=["ada"]))
    return Module(tmp_path)


def accounts_of(module: Any) -> Accounts:
    return Accounts(module)


def test_keys_become_a_file_for_each_person() -> None:
    assert wanted_keys([{"name": "ada", "keys": [f" {KEY} ", "ssh-rsa AAAA"]}]) == {"ada": f"{KEY}\nssh-rsa AAAA\n"}


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([{"name": "Ada", "keys": [KEY]}], "'Ada' cannot name an account"),
        ([{"name": "../x", "keys": [KEY]}], "cannot name an account"),
        ([{"name": "ada", "keys": []}], "'ada' has no keys"),
        ([{"name": "ada", "keys": ["ssh-dss AAAA"]}], "is not a public key that the machines accept"),
        ([{"name": "ada", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}], "is not a public key"),
        ([{"name": "ada", "keys": [f"{KEY}\nssh-rsa AAAA"]}], "is not a public key"),
        ([{"name": "ada", "keys": [KEY]}, {"name": "ada", "keys": [KEY]}], "'ada' is listed twice"),
    ],
)
def test_what_would_let_in_nobody_or_somebody_else_is_refused(people: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(PeopleError, match=re.escape(message)):
        wanted_keys(people)


def test_the_systems_accounts_are_nobodys(module: Module) -> None:
    accounts = accounts_of(module)
    assert accounts.exists("ada")
    assert not accounts.exists("bob")
    with pytest.raises(PeopleError, match="'postgres' is an account of this machine already"):
        accounts.exists("postgres")
    with pytest.raises(PeopleError, match="an account of the system"):
        accounts.remove("postgres", "/nowhere")
    assert module.commands == []


def test_a_person_loses_keys_and_account_and_the_home_is_kept(module: Module, tmp_path: Path) -> None:
    accounts = accounts_of(module)
    accounts.write_keys("ada", f"{KEY}\n")
    accounts.remove("ada", str(tmp_path / "archive"))
    assert accounts.keys("ada") == ""
    assert [command[0] for command in module.commands] == ["pkill", "userdel"]
    archive = next((tmp_path / "archive").iterdir())
    assert archive.name.startswith("home-ada-")
    assert archive.stat().st_mode & 0o777 == 0o600
