#!/usr/bin/python
"""Read a file, or replace it if nobody else has meanwhile."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: marked_file
short_description: Compare and swap a small file
version_added: "0.2.0"
author: The platform's engineers (@gym)
description:
  - Reads a file with a mark of its version, or replaces it whole if its version is still the marked one. Of two writers
    with the same mark, one writes.
options:
  path:
    description: The file. Its directory is made when the file is written.
    type: path
    required: true
  content:
    description: What the file shall hold, in base64. Without it the file is read.
    type: str
  mark:
    description: The mark of the version that is replaced, as it was returned; empty for a file that is not there.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Nothing is written, and the answer is what it would have been.
  diff_mode:
    support: none
    description: The file is a program's own.
"""

EXAMPLES = r"""
- name: Read what is known about releases
  gym.platform.marked_file:
    path: /var/lib/gym/releases.json
"""

RETURN = r"""
content:
  description: What the file held before the call, in base64; empty where it is not there.
  type: str
  returned: success
mark:
  description: The mark of what the file holds after the call.
  type: str
  returned: success
written:
  description: Whether the content was written; no when somebody else had written before.
  type: bool
  returned: success
"""

import base64
import fcntl
import hashlib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically


def mark_of(content: bytes | None) -> str:
    """Return the mark of a version, empty where there is no file."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def read(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none."""
    return path.read_bytes() if path.exists() else None


def swap(path: Path, after: bytes, mark: str) -> bytes | None:
    """Replace the file if its version is the marked one, and return what it held."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # The lock is on a file of its own: the file itself is replaced, and a lock stays with what was replaced.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read(path)
        if mark_of(before) == mark:
            write_atomically(path, after.decode(), mode=0o600)
        return before


def main() -> None:
    """Read, compare, write."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "mark": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path, mark = Path(module.params["path"]), module.params["mark"]
    only_read = module.params["content"] is None
    try:
        after = b"" if only_read else base64.b64decode(module.params["content"], validate=True)
        before = read(path) if only_read or module.check_mode else swap(path, after, mark)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path} could not be read or written: {error}")
    written = not only_read and mark_of(before) == mark
    module.exit_json(
        changed=written and before != after,
        content=base64.b64encode(before or b"").decode(),
        mark=mark_of(after if written else before),
        written=written,
    )


if __name__ == "__main__":
    main()
