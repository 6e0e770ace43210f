"""Keep a map of HAProxy alike on disk and in the running process."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_map
short_description: Set entries of an HAProxy map on disk and in the running process
description:
  - Reads the map file and the running map, and makes both hold what is wanted. The file is replaced first, atomically,
    so that a crash between the two leaves the state that a restart would load, and the next run repairs the rest.
  - Needs no reload and drops no connection. Where no HAProxy listens, only the file is written.
options:
  path:
    description: The map file, as the configuration of HAProxy names it. Its directory is made when it is missing.
    type: path
    required: true
  socket:
    description: The socket of HAProxy's master, which waits while it reloads.
    type: path
    default: /run/haproxy-master.sock
  entries:
    description: Keys and the values that they get.
    type: dict
    default: {}
  defaults:
    description: Keys that get a value only where the map does not have them yet.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Reads both maps and changes neither.
  diff_mode:
    support: full
    description: Shows the file and the running map, each before and after.
author: The platform's engineers (@gym)
"""

EXAMPLES = r"""
- name: Give each new service a line, and leave the others to the release
  gym.platform.haproxy_map:
    path: /etc/haproxy/maps/colours.map
    defaults: {gym-api: 0}

- name: Send all requests of the service to its green colour
  gym.platform.haproxy_map:
    path: /etc/haproxy/maps/colours.map
    entries: {gym-api: 100}
"""

RETURN = r"""
entries:
  description: What the map holds now.
  type: dict
  returned: always
problem:
  description: What went wrong, in a sentence; empty on success.
  type: str
  returned: always
running:
  description: Whether an HAProxy process that uses the map answered.
  type: bool
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import (
    MASTER_SOCKET,
    HaproxyError,
    MapUnknownError,
    NotRunningError,
    Runtime,
    bad_entries,
    parse_map,
    render_map,
    wanted_map,
)


def main() -> None:
    """Read, compare, apply, report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "socket": {"type": "path", "default": MASTER_SOCKET},
            "entries": {"type": "dict", "default": {}},
            "defaults": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    entries = {key: str(value) for key, value in module.params["entries"].items()}
    defaults = {key: str(value) for key, value in module.params["defaults"].items()}
    if bad := bad_entries({**defaults, **entries}):
        module.fail_json(msg=f"keys and values of a map are single words, which these are not: {', '.join(bad)}")

    runtime = Runtime(module.params["socket"])
    try:
        text = path.read_text() if path.exists() else ""
        on_disk = parse_map(text)
        wanted = wanted_map(on_disk, entries, defaults)
        running: dict[str, str] | None
        try:
            running = runtime.read_map(str(path))
        except NotRunningError:
            running = None
        except MapUnknownError:
            # Before the role's configuration is loaded for the first time there is nothing to keep alike; traffic,
            # on the other hand, cannot be switched by a map that nobody reads.
            if entries:
                raise
            running = None
        # The text is compared and not the entries, so that a duplicated key goes away too.
        write_file = render_map(wanted) != text or not path.exists()
        write_runtime = running is not None and running != wanted
        if not module.check_mode and (write_file or write_runtime):
            if write_file:
                write_atomically(path, render_map(wanted))
            if running is not None:
                # Asked anew: a process that began meanwhile has read the file as it was.
                runtime.write_map(str(path), runtime.read_map(str(path)), wanted)
    except (HaproxyError, OSError) as error:
        problem = f"The map {path} could not be brought to the wanted state: {error}"
        module.fail_json(msg=problem, problem=problem)

    diff = [{"before_header": str(path), "after_header": str(path), "before": text, "after": render_map(wanted)}]
    if write_runtime and running is not None:
        header = f"{path} in the running HAProxy"
        diff.append(
            {
                "before_header": header,
                "after_header": header,
                "before": render_map(running),
                "after": render_map(wanted),
            }
        )
    module.exit_json(
        changed=write_file or write_runtime, entries=wanted, running=running is not None, problem="", diff=diff
    )


if __name__ == "__main__":
    main()
