"""The repository as the contracts see it: roles, tasks, playbooks, and the variables that a role gets on a host."""

from __future__ import annotations

import dataclasses
import functools
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).parents[1]
KEYWORDS_OF_BLOCKS = ("block", "rescue", "always")
CLOUDS = ("aws",)
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


class _Loader(yaml.CSafeLoader):
    """YAML with Ansible's tags, whose values do not matter to a contract."""


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    """Read one YAML file as plain data."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a subclass of the safe loader


def described(environment: str, noun: str) -> Any:
    """Return a noun of an environment."""
    return load(ROOT / "inventories" / environment / "group_vars/all" / f"{noun}.yml")[noun]


@dataclasses.dataclass(frozen=True)
class Role:
    """One role and its files."""

    name: str
    root: Path = ROOT / "roles"

    @property
    def path(self) -> Path:
        """Return its directory."""
        return self.root / self.name

    def read(self, file: str) -> Any:
        """Read one of its YAML files, or an empty record where there is none."""
        path = self.path / file
        return (load(path) if path.exists() else None) or {}

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the options of each of its entry points: `main` on machines, `declare` for its stacks on a cloud."""
        found = self.read("meta/argument_specs.yml").get("argument_specs", {})
        return {name: dict((entry or {}).get("options") or {}) for name, entry in found.items()}

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of all its entry points."""
        return {name: option for options in self.entries.values() for name, option in options.items()}

    def templates(self, stacks: bool) -> list[str]:
        """List its templates: those of stacks, which begin with the name of a cloud, or those of files on machines."""
        root = self.path / "templates"
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.j2"))
        return [name for name in found if name.startswith(CLOUDS) == stacks]

    def tasks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go through its tasks and handlers, blocks opened, each with the file that it stands in."""
        for folder in ("tasks", "handlers"):
            for path in sorted((self.path / folder).glob("*.yml")):
                yield from ((f"{self.name}/{folder}/{path.name}", task) for task in flat(load(path) or []))


def flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Open blocks: their tasks, and the block itself for the keywords that it has."""
    for task in tasks:
        yield task
        for keyword in KEYWORDS_OF_BLOCKS:
            yield from flat(task.get(keyword) or [])


def roles() -> list[Role]:
    """List all roles."""
    return [Role(name) for name in ROLES]


def tracked(*patterns: str) -> list[str]:
    """List the files of the repository, also those that are about to be added to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted({file for file in run.stdout.splitlines() if (ROOT / file).is_file()})


def plays() -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through all plays of all playbooks."""
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        yield from ((path.name, play) for play in load(path))


def placements(tasks: str = "main") -> dict[str, list[tuple[str, str]]]:
    """Say where an entry of each role is applied: the play's pattern, and the group to which `when` confines it."""
    found: dict[str, list[tuple[str, str]]] = {}

    def place(role: str, play: Mapping[str, Any], condition: Any, entered: str = "main") -> None:
        confined = re.search(r"inventory_hostname in groups\['(\w+)'\]", str(condition))
        name = role.removeprefix("gym.platform.")
        if entered == tasks:
            found.setdefault(name, []).append((str(play["hosts"]), confined[1] if confined else "all"))

    for _file, play in plays():
        for entry in play.get("roles") or []:
            entry = {"role": entry} if isinstance(entry, str) else entry
            place(entry.get("role") or entry["name"], play, entry.get("when"))
        for section in ("pre_tasks", "tasks", "post_tasks"):
            for task in flat(imported(play.get(section) or [])):
                for module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
                    if module in task:
                        entered = task[module].get("tasks_from", "main")
                        place(task[module]["name"], play, task.get("when"), entered)
    return found


def imported(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the tasks of playbooks' own files in the place of the tasks that import them."""
    found: list[dict[str, Any]] = []
    for task in tasks:
        file = task.get("ansible.builtin.import_tasks")
        found += load(ROOT / "playbooks" / file) if file else [task]
    return found


class Environment:
    """An environment as Ansible loads it, with placeholders instead of secrets: there is no store without a run."""

    def __init__(self, name: str) -> None:
        """Load the inventory."""
        self.loader = DataLoader()
        self.loader.set_basedir(str(ROOT / "playbooks"))
        self.inventory = InventoryManager(loader=self.loader, sources=[str(ROOT / "inventories" / name)])
        self.variables = VariableManager(loader=self.loader, inventory=self.inventory)

    def hosts(self, role: str, entry: str = "main") -> list[str]:
        """List the hosts on which the playbooks apply an entry of a role."""
        names = set()
        for pattern, group in placements(entry).get(role, []):
            if pattern == "localhost":
                names.add("localhost")
            else:
                members = {host.name for host in self.inventory.get_hosts(pattern)}
                names |= members & {host.name for host in self.inventory.groups[group].get_hosts()}
        return sorted(names)

    def templar(self, role: Role, host: str, extra: Mapping[str, Any] | None = None) -> Templar:
        """Return what renders a role's templates on a host: defaults, then the inventory, then constants."""
        found = self.inventory.get_host(host)
        inventory = self.variables.get_vars(host=found)
        inventory["hostvars"] = HostVars(self.inventory, self.variables, self.loader)
        inventory["secrets"] = {key: f"placeholder-of-{key}" for key in inventory["secrets"]}
        own = {
            "playbook_dir": str(ROOT / "playbooks"),
            "role_path": str(role.path),
            "role_name": role.name,
            "ansible_check_mode": False,
        }
        trusted = [self._trusted(role, file) for file in ("defaults/main.yml", "vars/main.yml")]
        available = {**trusted[0], **inventory, **own, **trusted[1], **(extra or {})}
        return Templar(loader=self.loader, variables=available)

    def _trusted(self, role: Role, file: str) -> dict[str, Any]:
        path = role.path / file
        return (self.loader.load_from_file(str(path), trusted_as_template=True) or {}) if path.exists() else {}


@functools.cache
def environment(name: str = "development") -> Environment:
    """Load an environment once."""
    return Environment(name)
