"""Every contract is seen to fail: a good role in a directory of its own, and one thing broken at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.options_table import main

from tests.contracts import rules
from tests.contracts.test_roles import OF_ONE_ROLE
from tests.project import Role

SPECS = "meta/argument_specs.yml"
GOOD = {
    "README.md": "# good\n\nKeeps things.\nBecause.\nFor example so.\n<!-- options:begin -->\n<!-- options:end -->\n",
    "defaults/main.yml": "---\ngood_port: 80\ngood_names: []\n",
    "vars/main.yml": "---\n__good_packages: [good]\n",
    "meta/main.yml": "---\ngalaxy_info: {}\n",
    SPECS: """---
argument_specs:
  main:
    short_description: Keeps things
    options:
      good_port: {type: int, default: 80, description: The port.}
      good_names:
        type: list
        elements: dict
        default: []
        description: Names.
        options:
          name: {type: str, required: true, description: A name.}
""",
    "tasks/main.yml": """---
- name: Look
  # No module reads this.
  block:
    # No module asks this program.
    - name: Ask
      ansible.builtin.command: {argv: [good, "{{ good_port }}"]}
      changed_when: false
      register: __good_answer
      when: good_port > 1
""",
    "templates/good.conf.j2": "{% for name in good_names %}{{ name.name }} {{ __good_packages }}{% endfor %}\n",
}
OTHER = {
    "defaults/main.yml": "other_port: 1\n",
    "vars/main.yml": "__other_x: 1\n",
    SPECS: "{}\n",
}


def write(root: Path, name: str, files: dict[str, str]) -> Role:
    for file, text in files.items():
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Role(name, root)


@pytest.fixture
def good(tmp_path: Path) -> Role:
    role = write(tmp_path, "good", GOOD)
    assert main(tmp_path) == 0
    write(tmp_path, "other", OTHER)
    return role


def own(role: Role) -> Iterable[str]:
    return rules.roles_read_their_own(role, [role, Role("other", role.root)], ["services"])


@pytest.mark.parametrize("rule", [*OF_ONE_ROLE, own], ids=lambda rule: rule.__name__)
def test_a_good_role_keeps_every_contract(good: Role, rule: Callable[[Role], Iterable[str]]) -> None:
    assert not list(rule(good))


# fmt: off
BROKEN: list[tuple[Callable[[Role], Iterable[str]], str, str, str, str]] = [
    (rules.files_are_complete, "meta/main.yml", "", "", "meta/main.yml is missing"),
    (rules.options_are_described, SPECS, "type: int, ", "", "good_port has no type"),
    (rules.options_are_described, SPECS, ", description: A name.", "", "good_names.name has no desc"),
    (rules.options_are_described, SPECS, "        elements: dict\n", "", "without elements"),
    (rules.options_are_described, SPECS, "short_description", "description", "short_description"),
    (rules.defaults_are_the_documented_ones, "defaults/main.yml", "80", "81", "says 80"),
    (rules.defaults_are_the_documented_ones, "defaults/main.yml", "80", "'80'", "says 80"),
    (rules.defaults_are_the_documented_ones, "defaults/main.yml", "good_names: []\n", "", "neither required nor"),
    (rules.defaults_are_the_documented_ones, "defaults/main.yml", "---\n", "---\ngood_x: 1\n", "not in argument_specs"),
    (rules.defaults_are_the_documented_ones, SPECS, "default: 80", "required: true", "has a default"),
    (rules.readme_is_current, "README.md", "`80`", "`81`", "make readmes"),
    (rules.readme_is_current, "README.md", "Because.\nFor example so.\n", "", "2 lines"),
    (rules.readme_is_current, "README.md", "<!-- options:end -->", "", "are missing"),
    (rules.variables_have_the_prefix, "defaults/main.yml", "good_port", "port", "defaults: port"),
    (rules.variables_have_the_prefix, "vars/main.yml", "__good_packages", "good_packages", "vars: good_packages"),
    (rules.variables_have_the_prefix, "tasks/main.yml", "__good_answer", "answer", "answer should be __good_"),
    (rules.files_are_short, "tasks/main.yml", "---", "---" + "\n# x" * 80, "lines, at most 80"),
    (rules.commands_are_justified, "tasks/main.yml", "      changed_when: false\n", "", "no changed_when"),
    (rules.commands_are_justified, "tasks/main.yml", "    # No module asks this program.\n", "", "no comment"),
    (rules.tasks_have_no_jinja_blocks, "tasks/main.yml", "{{ good_port }}", "{% if x %}1{% endif %}", "a Jinja block"),
    (
        rules.what_may_be_away_is_not_fatal,
        "tasks/main.yml",
        "  # No module reads this.\n",
        "  ignore_unreachable: true\n",
        "'Look' has ignore_unreachable without",
    ),
    (own, "tasks/main.yml", "{{ good_port }}", "{{ other_port }}", "reads other_port of the role other"),
    (own, "tasks/main.yml", "good_port > 1", "__other_x > 1", "reads __other_x of the role other"),
    (own, "templates/good.conf.j2", "{{ __good_packages }}", "{{ __other_x }}", "reads __other_x"),
    (own, "templates/good.conf.j2", "in good_names", "in services", "reads the noun services"),
]
# fmt: on


DECLARING = """---
argument_specs:
  declare:
    short_description: Declares things
    options:
      good_port: {type: int, default: 80, description: The port.}
"""


@pytest.fixture
def declaring(good: Role) -> Role:
    """Make the good role one that owns a stack as well."""
    write(good.root, "good", {"tasks/declare.yml": "---\n", "templates/aws.yml.j2": "a: 1\n"})
    specs = good.path / SPECS
    specs.write_text(specs.read_text() + DECLARING.partition("argument_specs:\n")[2])
    return good


def test_a_role_may_own_a_stack_beside_what_it_does_on_machines(declaring: Role) -> None:
    assert set(declaring.entries) == {"main", "declare"}
    assert declaring.templates(stacks=True) == ["aws.yml.j2"]
    for rule in (rules.files_are_complete, rules.options_are_described, rules.defaults_are_the_documented_ones):
        assert not list(rule(declaring))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("tasks/declare.yml", "", "", "argument_specs has ['declare', 'main'], tasks/ ['main']"),
        ("templates/aws.yml.j2", "", "", "belong together"),
        (SPECS, "short_description: Declares", "description: Declares", "no declare.short_"),
        (SPECS, "80, description: The port.}\n", "80, description: A port.}\n", "means two things"),
    ],
)
def test_a_broken_stack_is_refused(declaring: Role, file: str, old: str, new: str, expected: str) -> None:
    path = declaring.path / file
    if old:
        path.write_text(new.join(path.read_text().rsplit(old, 1)))
    else:
        path.unlink()
    found = [*rules.files_are_complete(declaring), *rules.options_are_described(declaring)]
    assert expected in "\n".join(found)


def test_a_role_that_does_nothing_is_refused(good: Role) -> None:
    (good.path / "tasks/main.yml").unlink()
    assert next(iter(rules.files_are_complete(good))) == "good/tasks/main.yml is missing"


@pytest.mark.parametrize(("rule", "file", "old", "new", "expected"), BROKEN)
def test_a_broken_role_is_refused(
    good: Role, rule: Callable[[Role], Iterable[str]], file: str, old: str, new: str, expected: str
) -> None:
    path = good.path / file
    text = path.read_text()
    assert old in text
    if old:
        path.write_text(text.replace(old, new, 1))
    else:
        path.unlink()
    (problem,) = rule(good)
    assert expected in problem


def test_every_contract_of_a_role_is_broken_above() -> None:
    assert {case[0] for case in BROKEN} == {*OF_ONE_ROLE, own}


def test_a_scenario_needs_files_and_a_test(good: Role, tmp_path: Path) -> None:
    molecule = tmp_path / "molecule"
    assert len(list(rules.scenario_is_there(good, molecule))) == 3
    write(molecule, "good", {"molecule.yml": "", "converge.yml": "", "tests/test_good.py": '"""No test."""\n'})
    (problem,) = rules.scenario_is_there(good, molecule)
    assert problem == "molecule/good/tests has no test"
    write(molecule, "good", {"tests/test_good.py": '"""A test."""\n\n\ndef test_it() -> None:\n    assert 1\n'})
    assert not list(rules.scenario_is_there(good, molecule))


def test_the_share_of_tasks_counts_modules_and_keywords() -> None:
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {}},
        {"when": "x"},
        {"name": "y"},
        {"name": "z", "when": "x"},
    ]
    assert (rules.share(tasks, "set_fact"), rules.share(tasks, "when"), rules.share([], "when")) == (0.25, 0.5, 0)


def test_wiring_for_nobody_is_refused(good: Role) -> None:
    assert list(rules.wiring_is_for_roles(["good_port", "__x", "good_prot"], [good])) == [
        "good_prot is no option of a role"
    ]


def test_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a/b", {"MANIFEST.json": json.dumps({"collection_info": {"version": "1.0.0"}})})
    listed = [{"name": "a.b", "version": "1.0.0"}, {"name": "a.b", "version": "1.0.1"}, {"name": "a.c", "version": "1"}]
    assert [text.partition(":")[0] for text in rules.versions_agree(listed, tmp_path)] == ["a.b", "a.c"]


def test_a_key_without_a_comment_is_refused() -> None:
    assert list(rules.keys_are_explained("[defaults]\n; why\nforks = 1\nnocows = 1\n")) == [
        "[defaults] nocows has no comment"
    ]


def test_a_playbook_without_validate_is_refused() -> None:
    books = {
        "validate.yml": [{"hosts": "localhost"}],
        "a.yml": [{"ansible.builtin.import_playbook": "validate.yml"}, {"hosts": "x"}],
        "site.yml": [{"ansible.builtin.import_playbook": "a.yml"}],
        "late.yml": [{"hosts": "x"}, {"ansible.builtin.import_playbook": "validate.yml"}],
        "gone.yml": [{"ansible.builtin.import_playbook": "missing.yml"}],
    }
    broken = list(rules.starts_with_validate(books))
    assert [text.split()[0] for text in broken] == ["playbooks/late.yml", "playbooks/gone.yml"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = " + "/work" + "/main", "machine's path"),
        ("a = " + "/root" + "/.cache", "machine's path"),
        ("image: " + "ghcr.io" + "/a/b", "names the registry"),
        ("index: https://mirror.corp.example/simple", "package source mirror.corp.example"),
        ("-----BEGIN " + "RSA PRIVATE KEY-----\n" + "A" * 64, "a private key"),
        ("key: AKIA" + "A" * 16, "an AWS access key"),
        ("url: https://jo:" + "hunter2@example.com", "credentials in a URL"),
    ],
)
def test_what_belongs_to_a_machine_is_refused(text: str, expected: str) -> None:
    (problem,) = rules.nothing_of_this_machine("a.yml", text, ["mirror.corp.example"])
    assert expected in problem


@pytest.mark.parametrize("text", ["see network/main", "~/work/x", "redis://{{ a }}:{{ b }}@host", "x.example.com"])
def test_what_belongs_to_nobody_is_accepted(text: str) -> None:
    assert not list(rules.nothing_of_this_machine("a.yml", text, ["mirror.corp.example"]))


def test_key_trees_ignore_values_but_not_keys() -> None:
    one = rules.key_tree({"a": [{"b": 1}, {"c": 2}], "free": {"x": 1}}, frozenset({".free"}))
    assert one == rules.key_tree({"a": [{"c": 9, "b": 8}], "free": {"y": 1}}, frozenset({".free"}))
    assert one != rules.key_tree({"a": [{"c": 9}], "free": {}}, frozenset({".free"}))
