"""The repository keeps the contracts."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import files
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils import schema

from tests.contracts import rules
from tests.project import ROOT, load, tracked

ENVIRONMENTS = ("development", "development-dr", "staging", "production", "production-dr")
# One that is there to stand in for another on AWS has no region to go to.
PRIMARIES = ENVIRONMENTS[:-1]
TEXT = [file for file in tracked() if Path(file).suffix not in {".png", ".gz", ".ico"}]


def test_collections_are_those_of_the_command_line() -> None:
    one = "ansible_collections/community/docker/MANIFEST.json"
    installed = next(Path(str(file.locate())).parents[2] for file in files("ansible") or [] if file.match(one))
    listed = load(ROOT / "requirements.yml")["collections"]
    assert len(listed) >= 7
    assert not list(rules.versions_agree(listed, installed))


def test_every_requirement_is_pinned_by_hash() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    blocks = re.findall(r"^[a-z0-9][^\n]*(?:\n[ ]+[^\n]*)*", text, re.MULTILINE)
    assert len(blocks) > 50
    assert not [block.splitlines()[0] for block in blocks if "==" not in block or "--hash=sha256:" not in block]


def test_every_key_of_the_configuration_is_explained() -> None:
    assert not list(rules.keys_are_explained((ROOT / "ansible.cfg").read_text(encoding="utf-8")))


def test_every_playbook_starts_with_validate() -> None:
    playbooks = {path.name: load(path) for path in (ROOT / "playbooks").glob("*.yml")}
    assert len(playbooks) > 3
    assert not list(rules.starts_with_validate(playbooks))


def test_a_reader_is_told_of_every_playbook_page_and_environment() -> None:
    readme, pages = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/README.md"))
    assert not [path.name for path in (ROOT / "playbooks").glob("*.yml") if f"\n| `{path.stem}` |" not in readme]
    assert not [path.name for path in (ROOT / "inventories").iterdir() if f"inventories/{path.name} " not in readme]
    about = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not [name for name in about if f"({name})" not in pages]
    listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs/decisions").glob("0*.md"):
        number, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(". ", 1)
        assert f"| {number} | [{title}]({path.name}) |" in listed


def package_sources() -> set[str]:
    """List the hosts that this machine takes packages from: they are its own business."""
    asked = [sys.executable, "-m", "pip", "config", "list"]
    found = subprocess.run(asked, check=False, capture_output=True, text=True).stdout
    places = [Path("/etc/apt/sources.list"), Path("/etc/pip.conf"), *Path("/etc/apt/sources.list.d").glob("*")]
    texts = [found, *(path.read_text(encoding="utf-8") for path in places if path.is_file())]
    hosts = {host for text in texts for host in re.findall(r"https?://(?:[^\s/@]+@)?([\w.-]+)", text)}
    # A name without a dot is a word in many files.
    return {host for host in hosts if "." in host}


def test_nothing_of_this_machine_is_in_the_repository() -> None:
    hosts = package_sources()
    found: list[str] = []
    for file in TEXT:
        text = (ROOT / file).read_text(encoding="utf-8", errors="replace")
        found += rules.nothing_of_this_machine(file, text, hosts)
    assert not found


def tree(environment: str) -> dict[str, Any]:
    directory = ROOT / "inventories" / environment / "group_vars/all"
    return {path.name: load(path) for path in sorted(directory.glob("*.yml"))}


def passed_through(found: Any, path: str = "") -> set[str]:
    """List the records whose keys are somebody else's words, and those that say only what is not the usual."""
    result = set()
    if isinstance(found, dict):
        if isinstance(found.get("additionalProperties"), dict) or found.get("default") == {}:
            result.add(path)
        for key, child in (found.get("properties") or {}).items():
            result |= passed_through(child, f"{path}.{key}")
        result |= passed_through(found.get("items"), f"{path}[]")
    return result


@pytest.mark.parametrize(("one", "other"), list(combinations(PRIMARIES, 2)))
def test_environments_have_the_same_files_and_keys(one: str, other: str) -> None:
    left, right = tree(one), tree(other)
    assert list(left) == list(right)
    for file, value in left.items():
        noun = Path(file).stem
        opened = frozenset(passed_through(schema.schemas()[noun]))
        keys = rules.key_tree(value, opened) ^ rules.key_tree(right[file], opened)
        # A list that is empty in one of them has no records to compare.
        empty = {path for tree_ in (value, right[file]) for path in empty_lists(tree_)}
        assert not {key for key in keys if not key.startswith(tuple(f"{path}[]" for path in empty))}, file


def test_a_stand_in_has_what_its_primary_has_but_a_region_to_go_to() -> None:
    primary, stand_in = (rules.key_tree(tree(name), frozenset()) for name in ("production", "production-dr"))
    assert {path for path in primary ^ stand_in if not path.startswith(".platform.yml.platform.stands_in_for")} == {
        ".platform.yml.platform.dr_region"
    }


def empty_lists(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return set().union(*(empty_lists(child, f"{path}.{key}") for key, child in value.items()))
    if isinstance(value, list):
        return set().union(*(empty_lists(child, f"{path}[]") for child in value)) if value else {path}
    return set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environments_have_the_same_groups(environment: str) -> None:
    groups = [set(load(ROOT / "inventories" / name / "hosts.yml")["machines"]["children"]) for name in ENVIRONMENTS]
    assert groups[0] == groups[ENVIRONMENTS.index(environment)]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_shared_values_come_first(environment: str) -> None:
    link = ROOT / "inventories" / environment / "group_vars/all/00_shared"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "group_vars/all"
    assert sorted(path.name for path in link.parent.iterdir())[0] == link.name
