#!/usr/bin/python
"""Put the newest copy of a directory or a file back, once, on a machine that takes the place of another one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restored_copy
short_description: Put the newest copy of a directory or a file back, once
version_added: "0.2.0"
description:
  - Restores the newest snapshot of a repository of restic into a directory, and writes down that it did. With the
    record there, nothing is restored again, because what was written since is newer than the copy.
  - What the directory has under the same names is replaced; everything else stays.
  - A run that was interrupted begins anew.
options:
  name:
    description: What the copy is of; the name of the record.
    type: str
    required: true
  repository:
    description: The repository, in restic's words.
    type: str
    required: true
  environment:
    description: What opens the repository, as environment variables of restic.
    type: dict
    required: true
  ca_file:
    description: The authority that signed the certificate of the place where the repository is.
    type: path
  directory:
    description: Where the content of the copied directory goes, or the copied file.
    type: path
    required: true
  owner:
    description: Account and group to which everything then belongs; as it was when left out.
    type: str
  unit:
    description: The unit that uses it. It is stopped meanwhile, and runs afterwards.
    type: str
  records:
    description: Where it is written down what was restored.
    type: path
    default: /var/lib/gym/restored
requirements: [restic]
attributes:
  check_mode:
    support: full
    description: Says which copy would be restored.
  diff_mode:
    support: none
    description: A copy is no text.
author: The gym platform's engineers
"""

EXAMPLES = r"""
- name: Have the images of the lost registry
  gym.platform.restored_copy:
    name: registry
    repository: s3:https://store-1.gym.internal:9000/gym-copies/registry/backup-1
    environment: {RESTIC_PASSWORD: "{{ secrets.backup_copies_passphrase }}"}
    directory: /var/lib/docker-registry
    owner: docker-registry
    unit: docker-registry.service
"""

RETURN = r"""
snapshot:
  description: The copy that was restored, by this run or an earlier one.
  type: str
  returned: always
time:
  description: When the copy was made.
  type: str
  returned: always
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically

# Beside what it replaces: a rename needs one file system.
DRAFT = ".restored"


class CopyError(Exception):
    """There is nothing to restore; the message is one sentence."""


def newest(snapshots: list[dict[str, Any]], repository: str) -> dict[str, Any]:
    """Choose the newest snapshot. Raises CopyError where there is none, or where it is not of one path."""
    if not snapshots:
        raise CopyError(f"{repository} holds no copy yet: its timer makes one, or playbooks/backup.yml.")
    # Times of one machine, written in one zone, are in the order of their texts.
    chosen = max(snapshots, key=lambda snapshot: str(snapshot["time"]))
    if len(chosen["paths"]) != 1:
        raise CopyError(f"{repository}: the newest copy is of {chosen['paths']}; a copy of one path can be put back.")
    return chosen


def put(source: Path, directory: Path) -> None:
    """Move the content of a directory, or a file, to where it belongs."""
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        place = directory / path.name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        path.replace(place)


def own(directory: Path, owner: str) -> None:
    """Give a directory with all that is in it to an account and the group of the same name."""
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, owner, owner)


def reason(said: str) -> str:
    """Return the line that says why restic failed, which is not always the last one; empty where nothing was said."""
    lines = said.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("Fatal: ")), lines[-1])


def restic(options: Mapping[str, Any], *words: str) -> str:
    """Run restic and return what it says. Raises CopyError."""
    authority = ["--cacert", options["ca_file"]] if options["ca_file"] else []
    command = ["restic", *authority, "--no-cache", "--no-lock", "--repo", options["repository"], *words]
    environment = {**os.environ, **{key: str(value) for key, value in options["environment"].items()}}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = reason(done.stderr or done.stdout)
        raise CopyError(f"{options['repository']}: `restic {words[0]}` ended with {done.returncode}: {said}")
    return done.stdout


def systemctl(verb: str, unit: str) -> None:
    """Start or stop a unit. Raises CopyError."""
    done = subprocess.run(["systemctl", verb, unit], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CopyError(f"`systemctl {verb} {unit}` ended with {done.returncode}: {' '.join(done.stderr.split())}")


def restore(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Read, compare with the record, restore, write down."""
    record = Path(options["records"]) / f"{options['name']}.json"
    if record.exists():
        return {"changed": False, **json.loads(record.read_text())}
    snapshot = newest(json.loads(restic(options, "snapshots", "--json")) or [], options["repository"])
    told = {"snapshot": snapshot["short_id"], "time": snapshot["time"]}
    if check:
        return {"changed": True, **told}
    directory = Path(options["directory"])
    draft = directory / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    restic(options, "restore", snapshot["id"], "--target", str(draft))
    if options["unit"]:
        systemctl("stop", options["unit"])
    put(draft / str(snapshot["paths"][0]).lstrip("/"), directory)
    shutil.rmtree(draft)
    if options["owner"]:
        own(directory, options["owner"])
    if options["unit"]:
        systemctl("start", options["unit"])
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(record, json.dumps(told) + "\n")
    return {"changed": True, **told}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "environment": {"type": "dict", "required": True, "no_log": True},
            "ca_file": {"type": "path"},
            "directory": {"type": "path", "required": True},
            "owner": {"type": "str"},
            "unit": {"type": "str"},
            "records": {"type": "path", "default": "/var/lib/gym/restored"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**restore(module.params, module.check_mode))
    except CopyError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['directory']} cannot be restored: {error}")


if __name__ == "__main__":
    main()
