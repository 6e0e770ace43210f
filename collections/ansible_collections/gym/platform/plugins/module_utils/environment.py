# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The description of one environment, read from its YAML files with the line of every key.

Ansible forgets where a value came from as soon as it has merged it. Here the files are read once more, as text, so that
an error can name file, line and key, and so that a person can be shown where a value was set.

Files are named by their path from the root of the project: `group_vars/all/firewall.yml` is shared by all
environments, `inventories/production/group_vars/all/database.yml` belongs to one. Everything below `read_files` is a
pure function of these names and texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str | int, ...]

# The link by which an environment's group_vars contain the shared ones: read under their own name instead.
SHARED_LINK = "00_shared"
SHARED_DIRECTORY = "group_vars/all/"
SUFFIXES = {".yml", ".yaml", ".json"}


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an environment, and how to put it right."""

    file: str
    line: int
    key: str
    message: str
    legal: str = ""
    fix: str = ""
    why: str = ""
    rule: str = "schema"

    def __str__(self) -> str:
        """Write the problem as a person reads it: where, what, what would be right."""
        lines = [f"{self.file}:{self.line}: {self.key}", f"    {self.message}"]
        labelled = (("legal", self.legal), ("fix", self.fix), ("why", self.why))
        return "\n".join(lines + [f"    {label + ':':<6} {text}" for label, text in labelled if text])


@dataclasses.dataclass(frozen=True)
class Document:
    """One YAML file: its value, and the line on which each of its keys stands."""

    file: str
    value: Any
    lines: Mapping[Path_, int]

    def line(self, path: Path_) -> int:
        """Return the line of a key, or of the nearest key around it when there is no such key."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value of an environment, the place it came from and the places that it overrides."""

    key: str
    value: Any
    source: str
    overrides: tuple[str, ...] = ()


class UnreadableError(Exception):
    """A file is not the YAML that an environment is written in."""

    def __init__(self, problem: Problem) -> None:
        """Keep the problem for whoever reports it."""
        super().__init__(str(problem))
        self.problem = problem


def read_files(root: Path, environment: Path) -> dict[str, str]:
    """Read every file that describes an environment, and nothing else, from the disk."""
    places = [root / SHARED_DIRECTORY, environment / "group_vars", environment / "host_vars"]
    paths = [path for place in places for path in sorted(place.rglob("*"))]
    paths += sorted(environment.glob("hosts.y*ml"))
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in SUFFIXES and path.is_file() and SHARED_LINK not in path.parts
    }


def locate(playbooks: Path, sources: Iterable[Path], name: str | None) -> tuple[Path, Path]:
    """Find the root of the project and the directory of the environment, which the inventory's sources name.

    AWX hands the inventory over as a file of its own: then the environment's name in the noun platform says which.
    """
    for source in sources:
        directory = source.resolve() if source.is_dir() else source.resolve().parent
        root = directory.parents[1] if len(directory.parents) > 1 else directory
        if (directory / "group_vars/all" / SHARED_LINK).exists() and (root / SHARED_DIRECTORY).is_dir():
            return root, directory
    root = playbooks.resolve().parent
    directory = root / "inventories" / (name or "-")
    if not directory.is_dir():
        legal = ", ".join(sorted(path.name for path in (root / "inventories").glob("*/")))
        raise LookupError(f"the inventory is no environment of this project; legal: -i inventories/ one of {legal}")
    return root, directory


def is_shared(file: str) -> bool:
    """Say whether a file is shared by all environments."""
    return file.startswith(SHARED_DIRECTORY)


def is_hosts(file: str) -> bool:
    """Say whether a file is the list of hosts of an environment."""
    return Path(file).stem == "hosts" and "group_vars" not in file and "host_vars" not in file


def describes_all(file: str) -> bool:
    """Say whether a file holds variables of the environment as a whole, not of one group or one host."""
    return "group_vars/all/" in file


def environment_name(files: Mapping[str, str]) -> str:
    """Name the environment after its directory, the one thing that chooses it."""
    for file in files:
        if not is_shared(file):
            parts = Path(file).parts
            markers = [index for index, part in enumerate(parts) if part in {"group_vars", "host_vars"}]
            return parts[(markers[0] if markers else len(parts) - 1) - 1]
    return ""


def parse(file: str, text: str) -> Document:
    """Parse one file, remembering the line of every key and refusing what Ansible would only warn of."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"is not YAML: {error.problem or error.context}"
        raise UnreadableError(Problem(file, mark.line + 1 if mark else 1, "-", message)) from error
    lines: dict[Path_, int] = {(): 1}
    value = None if root is None else _construct(file, root, (), lines)
    return Document(file, value, lines)


def _construct(file: str, node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> Any:
    """Turn a node into a value and note the line of each key on the way."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(file, child, (*path, index), lines) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in result:
                first = lines[(*path, key)]
                message = f"stands here and on line {first}: the second silently replaces the first"
                raise UnreadableError(Problem(file, line, dotted((*path, key)), message, fix="keep one of them"))
            lines[(*path, key)] = line
            result[key] = _construct(file, child, (*path, key), lines)
        return result
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except yaml.constructor.ConstructorError as error:
        problem = Problem(
            file,
            node.start_mark.line + 1,
            dotted(path) or "-",
            f"has the tag {node.tag}, which an environment may not use",
            fix="write a plain value, or in secrets.yml a lookup",
        )
        raise UnreadableError(problem) from error


def dotted(path: Path_, value: Any = None) -> str:
    """Write a path as `services[gym-api].port`: records are called by their name where they have one."""
    text = ""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
            text += f".{step}" if text else step
            continue
        value = value[step] if isinstance(value, list) and step < len(value) else None
        name = value.get("name") if isinstance(value, dict) else None
        text += f"[{name if isinstance(name, str) else step}]"
    return text


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Go through all values of a tree; a list of plain values, or an empty container, is one value."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(child, (dict, list)) for child in value):
        items = list(enumerate(value))
    if not items:
        yield path, value
    for key, child in items:
        yield from leaves(child, (*path, key))


def settings(files: Mapping[str, str]) -> list[Setting]:
    """List every value of an environment with its source: its own values first, then those that all environments share.

    As in Ansible, a noun that is set twice is replaced as a whole, and the environment wins over what is shared.
    """
    documents = [parse(file, text) for file, text in files.items() if describes_all(file)]
    documents.sort(key=lambda document: (not is_shared(document.file), document.file))
    winners: dict[str, Document] = {}
    losers: dict[str, list[Document]] = {}
    for document in documents:
        for variable in document.value or {}:
            if variable in winners:
                losers.setdefault(variable, []).append(winners[variable])
            winners[variable] = document
    result = []
    for variable, document in sorted(winners.items(), key=lambda item: is_shared(item[1].file)):
        for path, value in leaves(document.value[variable], (variable,)):
            overrides = tuple(
                f"{loser.file}:{loser.lines.get(path) or loser.line(path[:1])}" for loser in losers.get(variable, [])
            )
            source = f"{document.file}:{document.line(path)}"
            result.append(Setting(dotted(path, document.value), value, source, overrides))
    return result


def table(rows: Iterable[Setting], width: int = 64) -> str:
    """Write settings as aligned columns: the key, the value as it stands in the file, where, and instead of what."""
    cells = [("KEY", "VALUE", "FROM", "INSTEAD OF")]
    for row in rows:
        text: str = yaml.safe_dump(row.value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
        # A template is shown as it is written, without the quotes that YAML needs around it.
        text = " ".join(row.value.split()) if isinstance(row.value, str) else text
        shown = text if len(text) <= width else f"{text[: width - 3]}..."
        cells.append((row.key, shown, row.source, ", ".join(row.overrides)))
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line[:3], widths), line[3]]).rstrip() for line in cells)
