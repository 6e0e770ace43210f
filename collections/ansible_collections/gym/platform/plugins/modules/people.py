#!/usr/bin/python
"""Keep the accounts of the people who may log in to a machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: people
short_description: The accounts and keys of people, in one call
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - A person has an account without a password, is a member of O(group), and logs in with the keys that are listed.
  - The group is the record of who was let in. Members who are no longer listed are logged out and removed; what they
    had in their home directory is kept in O(archive_directory), for nobody but root to read.
  - Accounts of the system, and accounts that this module did not make, are never touched.
options:
  people:
    description: The people who may log in.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the account. Lower-case letters, digits, C(_) and C(-), at most 32, a letter first.
        type: str
        required: true
      keys:
        description: Public keys in OpenSSH's format, at least one.
        type: list
        elements: str
        required: true
  group:
    description: The group of these people.
    type: str
    required: true
  keys_directory:
    description: Where the keys are kept, in a file for each person that only root may write.
    type: path
    default: /etc/ssh/authorized_keys.d
  archive_directory:
    description: Where the homes of people who were removed are kept.
    type: path
    default: /var/backups/gym-platform
attributes:
  check_mode:
    support: full
    description: Says who would be let in and who would be removed.
  diff_mode:
    support: full
    description: Names and keys, before and after.
"""

EXAMPLES = r"""
- name: Let the administrators in, and nobody else
  gym.platform.people:
    group: administrators
    people:
      - name: ada
        keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF8dE ada@laptop]
"""

RETURN = r"""
added:
  description: The people who were let in.
  returned: always
  type: list
  elements: str
removed:
  description: The people who were removed.
  returned: always
  type: list
  elements: str
changed_keys:
  description: The people whose keys changed.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
KEY = re.compile(r"(?:ssh-ed25519|sk-ssh-ed25519@openssh\.com|ssh-rsa) [A-Za-z0-9+/=]+(?: [^\n]*)?")
FIRST_PERSON = 1000


class PeopleError(ValueError):
    """Something that the caller has to put right."""


def wanted_keys(people: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the content of each person's file of keys; refuse what would let nobody or somebody else in."""
    wanted: dict[str, str] = {}
    for person in people:
        name, keys = str(person["name"]), list(person["keys"])
        if not NAME.fullmatch(name):
            raise PeopleError(
                f"'{name}' cannot name an account: take lower-case letters, digits, '_' and '-', first a letter."
            )
        if name in wanted:
            raise PeopleError(f"'{name}' is listed twice in `people`: keep one entry with all keys.")
        if not keys:
            raise PeopleError(f"'{name}' has no keys: add a public key, or remove the person from the list.")
        for key in keys:
            if not KEY.fullmatch(str(key).strip()):
                raise PeopleError(
                    f"'{name}': '{str(key)[:40]}...' is not a public key that the machines accept."
                    " Legal types: ssh-ed25519, sk-ssh-ed25519@openssh.com, ssh-rsa."
                )
        wanted[name] = "".join(f"{str(key).strip()}\n" for key in keys)
    return wanted


class Accounts:
    """The accounts of one machine."""

    def __init__(self, module: AnsibleModule) -> None:
        """Read who is there."""
        self._module = module
        self._group: str = module.params["group"]
        self._keys = Path(module.params["keys_directory"])
        try:
            self.has_group = True
            self.members = set(grp.getgrnam(self._group).gr_mem)
        except KeyError:
            self.has_group = False
            self.members = set()

    def keys(self, name: str) -> str:
        """Return the keys of a person, as they are now."""
        try:
            return (self._keys / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def exists(self, name: str) -> bool:
        """Tell whether the account is there, and refuse one that is not a person's."""
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            return False
        if name not in self.members:
            raise PeopleError(
                f"'{name}' is an account of this machine already (number {account.pw_uid}) and not one of"
                f" {self._group}: give the person another name."
            )
        return True

    def ensure_group(self) -> None:
        """Make the group."""
        if not self.has_group:
            self._run("groupadd", "--system", self._group)

    def add(self, name: str) -> None:
        """Make an account that no password opens."""
        self._run(
            "useradd", "--create-home", "--shell", "/bin/bash", "--groups", self._group, "--password", "*", name
        )  # fmt: skip

    def write_keys(self, name: str, keys: str) -> None:
        """Replace the keys of a person."""
        self._keys.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = self._keys / f".{name}.new"
        new.write_text(keys, encoding="utf-8")
        new.chmod(0o644)
        new.replace(self._keys / name)

    def remove(self, name: str, archive_directory: str) -> None:
        """Log a person out and remove the account; the keys go first, so that there is no way back in."""
        (self._keys / name).unlink(missing_ok=True)
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            self._run("gpasswd", "--delete", name, self._group)
            return
        if account.pw_uid < FIRST_PERSON:
            raise PeopleError(
                f"'{name}' is a member of {self._group} and an account of the system: take it out by hand."
            )
        # Exit status 1: no process to end.
        self._run("pkill", "-KILL", "-u", str(account.pw_uid), legal=(0, 1))
        self._archive(Path(account.pw_dir), Path(archive_directory), name)
        # Exit status 12: there was no home or no mailbox to remove.
        self._run("userdel", "--remove", name, legal=(0, 12))

    def _archive(self, home: Path, directory: Path, name: str) -> None:
        if not home.is_dir():
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / f"home-{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz"
        with (
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target,
            tarfile.open(fileobj=target, mode="w:gz") as archive,
        ):
            archive.add(home, arcname=name)

    def _run(self, *command: str, legal: tuple[int, ...] = (0,)) -> None:
        status, _out, error = self._module.run_command(list(command))
        if status not in legal:
            raise PeopleError(f"{' '.join(command)} failed: {error.strip()}")


def main() -> None:
    """Read, compare, apply, report."""
    module = AnsibleModule(
        argument_spec={
            "people": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    # Public, whatever the name suggests.
                    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
                },
            },
            "group": {"type": "str", "required": True},
            "keys_directory": {"type": "path", "default": "/etc/ssh/authorized_keys.d", "no_log": False},
            "archive_directory": {"type": "path", "default": "/var/backups/gym-platform"},
        },
        supports_check_mode=True,
    )
    try:
        wanted = wanted_keys(module.params["people"])
        accounts = Accounts(module)
        added = sorted(name for name in wanted if not accounts.exists(name))
        removed = sorted(accounts.members - set(wanted))
        before = {name: accounts.keys(name) for name in sorted(accounts.members)}
        changed_keys = sorted(name for name, keys in wanted.items() if accounts.keys(name) != keys)
        if not module.check_mode:
            accounts.ensure_group()
            for name in added:
                accounts.add(name)
            for name in changed_keys:
                accounts.write_keys(name, wanted[name])
            for name in removed:
                accounts.remove(name, module.params["archive_directory"])
    except PeopleError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'A file'} could not be written or read: {error.strerror}.")
    module.exit_json(
        changed=bool(added or removed or changed_keys or not accounts.has_group),
        added=added,
        removed=removed,
        changed_keys=changed_keys,
        diff={"before": _lines(before), "after": _lines(dict(sorted(wanted.items())))},
    )


def _lines(keys: Mapping[str, str]) -> str:
    return "".join(f"{name} {key}\n" for name, lines in keys.items() for key in lines.splitlines())


if __name__ == "__main__":
    main()
