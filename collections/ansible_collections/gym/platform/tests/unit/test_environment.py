"""Where values come from, and how an environment is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.environment import (
    Setting,
    UnreadableError,
    dotted,
    environment_name,
    locate,
    parse,
    read_files,
    settings,
    table,
)

SHARED = "group_vars/all/cache.yml"
OWN = "inventories/blue/group_vars/all/cache.yml"


def test_every_key_has_its_line() -> None:
    document = parse("a.yml", "---\n# why\ncache:\n  size: 1\n  uses:\n    - {name: x}\n    - name: y\n")
    assert document.value == {"cache": {"size": 1, "uses": [{"name": "x"}, {"name": "y"}]}}
    assert [document.line(path) for path in [("cache",), ("cache", "size"), ("cache", "uses", 1, "name")]] == [3, 4, 7]
    assert document.line(("cache", "uses", 0, "missing")) == 6


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\na: 2\n", 2, "stands here and on line 1"),
        ("a:\n  b: [1\n", 3, "is not YAML"),
        ("a: 1\nb: !vault x\n", 2, "has the tag !vault"),
    ],
)
def test_what_ansible_would_swallow_is_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse("a.yml", text)
    assert (caught.value.problem.line, words in caught.value.problem.message) == (line, True)


def test_records_are_called_by_their_name() -> None:
    tree = {"services": [{"name": "api", "port": 1}, {"port": 2}]}
    assert dotted(("services", 0, "port"), tree) == "services[api].port"
    assert dotted(("services", 1, "port"), tree) == "services[1].port"
    assert dotted(("services", 7, "port"), tree) == "services[7].port"


def test_the_environment_wins_and_says_over_what() -> None:
    files = {OWN: "cache:\n  size: 2\n  new: [1, 2]\n", SHARED: "---\ncache:\n  size: 1\n  gone: 3\nother: x\n"}
    assert settings(files) == [
        Setting("cache.size", 2, f"{OWN}:2", (f"{SHARED}:3",)),
        Setting("cache.new", [1, 2], f"{OWN}:3", (f"{SHARED}:2",)),
        Setting("other", "x", f"{SHARED}:5", ()),
    ]


def test_the_table_is_aligned_and_short() -> None:
    rows = [Setting("a", "{{ lookup('x', 'y') }}", "f:1", ("g:2",)), Setting("long.key", "z" * 200, "f:10", ())]
    lines = table(rows, width=30).splitlines()
    assert lines[1].split() == ["a", "{{", "lookup('x',", "'y')", "}}", "f:1", "g:2"]
    assert {line.index(word) for line, word in zip(lines, ["FROM", "f:1", "f:10"], strict=True)} == {42}
    assert "zzz..." in lines[2]


def test_an_environment_is_its_directory(tmp_path: Path) -> None:
    own = tmp_path / "inventories/blue/group_vars/all"
    own.mkdir(parents=True)
    shared = tmp_path / "group_vars/all"
    shared.mkdir(parents=True)
    (shared / "cache.yml").write_text("cache: {}\n")
    (own / "00_shared").symlink_to(shared)
    (own / "cost.yml").write_text("cost: {}\n")
    (own / "notes.txt").write_text("no variables\n")
    directory = tmp_path / "inventories/blue"
    (directory / "hosts.yml").write_text("machines:\n")
    playbooks = tmp_path / "playbooks"
    for source in (directory, directory / "hosts.yml"):
        assert locate(playbooks, [source], None) == (tmp_path, directory)
    # AWX hands over a file somewhere else; the noun platform knows the name.
    elsewhere = tmp_path / "awx/inventory"
    assert locate(playbooks, [elsewhere], "blue") == (tmp_path, directory)
    files = read_files(tmp_path, directory)
    assert sorted(files) == [SHARED, "inventories/blue/group_vars/all/cost.yml", "inventories/blue/hosts.yml"]
    assert environment_name(files) == "blue"


def test_an_unknown_inventory_names_the_legal_ones(tmp_path: Path) -> None:
    (tmp_path / "inventories/blue").mkdir(parents=True)
    with pytest.raises(LookupError, match="one of blue"):
        locate(tmp_path / "playbooks", [tmp_path / "other"], "green")
