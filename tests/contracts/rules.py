"""The contracts of the house, each a function that returns what breaks it; no host is needed for any of them."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from ansible_collections.gym.platform.plugins.module_utils.options_table import MarkerError, current

from tests.project import Role, load

REQUIRED_FILES = ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml")
# What a role can be asked for: to configure a machine, or one that is a client of such a machine; to declare its stacks
# on a cloud; to release to it.
ENTRIES = ("main", "client", "declare", "release")
IMPORT = "ansible.builtin.import_tasks"
SCENARIO_FILES = ("molecule.yml", "converge.yml")
MAXIMUM_LINES = 80
COMMANDS = {"command", "shell", "raw", "script"}
# Keywords whose value is an expression without braces.
CONDITIONS = ("when", "changed_when", "failed_when", "until", "that")
NO_VALUE = object()


# --- one role


def files_are_complete(role: Role) -> Iterator[str]:
    """A role has an interface, a page about it and an entry."""
    yield from (f"{role.name}/{file} is missing" for file in REQUIRED_FILES if not (role.path / file).is_file())
    entered = {entry for entry in ENTRIES if (role.path / "tasks" / f"{entry}.yml").is_file()}
    if not entered:
        yield f"{role.name}/tasks/main.yml is missing"
    if role.entries and entered and entered != set(role.entries):
        yield f"{role.name}: argument_specs has {sorted(role.entries)}, tasks/ {sorted(entered)}"
    if ("declare" in entered) != bool(role.templates(stacks=True)):
        yield f"{role.name}: tasks/declare.yml and templates/aws.yml.j2 belong together"


def options_are_described(role: Role) -> Iterator[str]:
    """Every option, those of records too, says its type and what it is for."""
    for name, entry in role.read("meta/argument_specs.yml").get("argument_specs", {}).items():
        if not entry.get("short_description"):
            yield f"{role.name}: argument_specs has no {name}.short_description"
    for options in role.entries.values():
        for name, option in options.items():
            if option != role.options[name]:
                yield f"{name} means two things in two entry points"

    def visit(options: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, option in options.items():
            yield from (f"{path}{name} has no {key}" for key in ("type", "description") if not option.get(key))
            if option.get("type") == "list" and "elements" not in option:
                yield f"{path}{name} is a list without elements"
            yield from visit(option.get("options") or {}, f"{path}{name}.")

    yield from visit(role.options, "")


def defaults_are_the_documented_ones(role: Role) -> Iterator[str]:
    """`argument_specs` does not apply its defaults: defaults/main.yml does, so they must be the same by value."""
    defaults = role.read("defaults/main.yml")
    for name, option in role.options.items():
        documented = option.get("default", NO_VALUE)
        real = defaults.get(name, NO_VALUE)
        if option.get("required") and real is not NO_VALUE:
            yield f"{name} is required and has a default"
        elif not option.get("required") and real is NO_VALUE:
            yield f"{name} is neither required nor in defaults/main.yml"
        elif (type(documented), documented) != (type(real), real):
            yield f"{name}: argument_specs says {documented!r}, defaults/main.yml {real!r}"
    yield from (f"{name} is not in argument_specs" for name in defaults if name not in role.options)


def readme_is_current(role: Role) -> Iterator[str]:
    """The table of options is what `make readmes` writes, below a few lines of prose."""
    try:
        is_now, should_be = current(role.path)
    except MarkerError as error:
        yield str(error)
        return
    if is_now != should_be:
        yield f"{role.name}/README.md: run `make readmes`"
    prose = [line for line in is_now.partition("<!-- options:begin")[0].splitlines() if line.strip()]
    if len(prose) < 4:
        yield f"{role.name}/README.md says in {len(prose)} lines what the role does and why"


def variables_have_the_prefix(role: Role) -> Iterator[str]:
    """Public variables are `<role>_x`; constants, registered ones and facts `__<role>_x`."""
    public, private = f"{role.name}_", f"__{role.name}_"
    yield from (f"defaults: {name}" for name in role.read("defaults/main.yml") if not name.startswith(public))
    yield from (f"vars: {name}" for name in role.read("vars/main.yml") if not name.startswith(private))
    yield from (f"argument_specs: {name}" for name in role.options if not name.startswith(public))
    for file, task in role.tasks():
        facts = next((task[key] for key in task if key.endswith("set_fact")), None) or {}
        named = [task.get("register"), *(task.get("vars") or {}), *facts]
        named.append((task.get("loop_control") or {}).get("loop_var"))
        named += (task.get("loop_control") or {}).get("index_var", "").split()
        for name in filter(None, named):
            # Ansible's own, such as the interpreter of one task, are nobody's variables.
            if not str(name).startswith((private, "ansible_")) and name != "cacheable":
                yield f"{file}: {name} should be {private}..."


def names_in(text: str) -> set[str]:
    """List the variables that the Jinja expressions of a text read."""
    tree = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"], autoescape=True).parse(text)
    found = list(tree.find_all(jinja2.nodes.Name))
    return {node.name for node in found if node.ctx == "load"} - {node.name for node in found if node.ctx != "load"}


def expressions(value: Any, key: str = "") -> Iterator[str]:
    """Go through all texts of a YAML tree, conditions written as expressions."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from expressions(child, str(name))
    elif isinstance(value, list):
        for child in value:
            yield from expressions(child, key)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if key in CONDITIONS and "{{" not in value else value


def read_variables(role: Role) -> Iterator[tuple[str, str]]:
    """List every variable that a role reads, with the file that reads it."""
    for folder in ("tasks", "handlers", "defaults", "vars"):
        for path in sorted((role.path / folder).glob("*.yml")):
            for text in expressions(load(path)):
                yield from ((f"{role.name}/{folder}/{path.name}", name) for name in sorted(names_in(text)))
    for path in sorted((role.path / "templates").rglob("*.j2")):
        names = names_in(path.read_text(encoding="utf-8"))
        yield from ((f"{role.name}/templates/{path.name}", name) for name in sorted(names))


def roles_read_their_own(role: Role, others: Iterable[Role], nouns: Iterable[str]) -> Iterator[str]:
    """A role reads neither another role's variables nor a noun: wiring hands it what it needs."""
    foreign = {
        name: other.name
        for other in others
        if other.name != role.name
        for name in (*other.options, *other.read("defaults/main.yml"), *other.read("vars/main.yml"))
    }
    nouns = {*nouns, "state_directory"}
    for file, name in read_variables(role):
        if name in foreign:
            yield f"{file} reads {name} of the role {foreign[name]}"
        elif name in nouns:
            yield f"{file} reads the noun {name}"


def files_are_short(role: Role) -> Iterator[str]:
    """A file of tasks is read at a glance."""
    for path in sorted((role.path / "tasks").glob("*.yml")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAXIMUM_LINES:
            yield f"{role.name}/tasks/{path.name} has {lines} lines, at most {MAXIMUM_LINES}"


def commands_are_justified(role: Role) -> Iterator[str]:
    """A command says when it changes something, and a comment above it why no module serves."""
    for path in sorted(path for folder in ("tasks", "handlers") for path in (role.path / folder).glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        for task, line in located(yaml.compose(text, Loader=yaml.SafeLoader)):
            if COMMANDS & {str(key).removeprefix("ansible.builtin.") for key in task}:
                place = f"{role.name}/{path.parent.name}/{path.name}:{line}"
                if "changed_when" not in task:
                    yield f"{place} has no changed_when"
                if not text.splitlines()[line - 2].strip().startswith("#"):
                    yield f"{place} has no comment that says why no module serves"


def located(node: yaml.Node | None) -> Iterator[tuple[set[str], int]]:
    """Go through the records of a YAML file: their keys, and the line on which each begins."""
    if isinstance(node, yaml.MappingNode):
        yield {key.value for key, _ in node.value}, node.start_mark.line + 1
        for _, child in node.value:
            yield from located(child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from located(child)


def tasks_have_no_jinja_blocks(role: Role) -> Iterator[str]:
    """Decisions and loops over data are filters in Python, with unit tests."""
    for path in sorted((role.path / "tasks").glob("*.yml")):
        if "{%" in path.read_text(encoding="utf-8"):
            yield f"{role.name}/tasks/{path.name} has a Jinja block"


def what_may_be_away_is_not_fatal(role: Role) -> Iterator[str]:
    """ansible.cfg sets any_errors_fatal, which ends a run even where ignore_unreachable says that it goes on."""
    tasks = list(role.tasks())
    imports = {f"{role.name}/tasks/{task.get(IMPORT)}": task for _, task in tasks if IMPORT in task}
    for file, task in tasks:
        fatal = task.get("any_errors_fatal", imports.get(file, {}).get("any_errors_fatal", True))
        if task.get("ignore_unreachable") and fatal is not False:
            yield f"{file}: '{task.get('name')}' has ignore_unreachable without any_errors_fatal: false"


def scenario_is_there(role: Role, molecule: Path) -> Iterator[str]:
    """A role is proven on hosts: converge, idempotence, and tests of what it does."""
    scenario = molecule / role.name
    yield from (f"molecule/{role.name}/{file} is missing" for file in SCENARIO_FILES if not (scenario / file).is_file())
    tests = list((scenario / "tests").glob("test_*.py"))
    if not any("\ndef test_" in path.read_text(encoding="utf-8") for path in tests):
        yield f"molecule/{role.name}/tests has no test"


# --- all roles together


def share(tasks: Sequence[Mapping[str, Any]], keyword: str) -> float:
    """Return the part of the tasks that have a keyword or a module."""
    return sum(any(key.split(".")[-1] == keyword for key in task) for task in tasks) / max(len(tasks), 1)


def wiring_is_for_roles(variables: Iterable[str], known: Iterable[Role]) -> Iterator[str]:
    """Wiring hands options to roles: a name that is no option would be set and never read."""
    options = {name for role in known for name in role.options}
    yield from (f"{name} is no option of a role" for name in variables if name not in options and name[:2] != "__")


# --- the repository


def versions_agree(listed: Iterable[Mapping[str, str]], installed: Path) -> Iterator[str]:
    """AWX takes the collections that the command line takes."""
    for entry in listed:
        manifest = installed / entry["name"].replace(".", "/") / "MANIFEST.json"
        found = "none"
        if manifest.exists():
            found = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
        if found != entry["version"]:
            yield f"{entry['name']}: requirements.yml has {entry['version']}, the package ansible {found}"


def keys_are_explained(text: str) -> Iterator[str]:
    """Every key of ansible.cfg has a comment directly above it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    lines = text.splitlines()
    for section in parser.sections():
        for key in parser[section]:
            (number, *_) = (index for index, line in enumerate(lines) if re.match(rf"{key}\s*=", line))
            if not lines[number - 1].startswith((";", "#")):
                yield f"[{section}] {key} has no comment"


def starts_with_validate(playbooks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Nothing is touched before the description of the environment is found right."""

    def validates(name: str) -> bool:
        first = playbooks[name][0].get("ansible.builtin.import_playbook", "") if playbooks.get(name) else ""
        return name == "validate.yml" or (first in playbooks and validates(first))

    yield from (f"playbooks/{name} does not start with validate.yml" for name in playbooks if not validates(name))


SLASH = "/"
SECRETS = {
    "a private key": re.compile("-----BEGIN " + r"[A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{16}"),
    "an AWS access key": re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "credentials in a URL": re.compile(r"\b[a-z]+://[^\s/:@{}$<\"'%]+:[^\s/@{}$<\"'%]+@[\w-]+"),
}
# Root's home as such is on every machine; what a tool of this machine keeps in it is not.
MACHINE_PATHS = re.compile(r"(?<![\w./~-])" + SLASH + r"(?:work/|tmp/lab/|root/\.(?!ssh))")
REGISTRIES = re.compile(r"\b(?:registry-1\.docker\.io|docker\.io/|ghcr\.io|quay\.io|gcr\.io|files\.pythonhosted\.org"
                        r"|deb\.debian\.org|security\.debian\.org)" + SLASH)  # fmt: skip


def nothing_of_this_machine(file: str, text: str, hosts: Iterable[str] = ()) -> Iterator[str]:
    """A file of the repository is right on every machine and tells nobody a secret."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := MACHINE_PATHS.search(line):
            yield f"{file}:{number} has the machine's path {found[0]}"
        if found := REGISTRIES.search(line):
            yield f"{file}:{number} names the registry {found[0]}"
        yield from (f"{file}:{number} names this machine's package source {host}" for host in hosts if host in line)
    yield from (f"{file} has {name}" for name, pattern in SECRETS.items() if pattern.search(text))


def key_tree(value: Any, open_records: frozenset[str], path: str = "") -> set[str]:
    """List the keys of a tree; records of a list share one, and records that pass settings through are leaves."""
    if isinstance(value, dict) and path not in open_records:
        return {path}.union(*(key_tree(child, open_records, f"{path}.{key}") for key, child in value.items()))
    if isinstance(value, list) and any(isinstance(child, dict) for child in value):
        return {path}.union(*(key_tree(child, open_records, f"{path}[]") for child in value))
    # An empty list may stand for records.
    return {path}
