# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that is wrong with the description of an environment, found at once: `problems(files)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.gym.platform.plugins.module_utils import policy, schema
from ansible_collections.gym.platform.plugins.module_utils.environment import (
    Document,
    Path_,
    Problem,
    UnreadableError,
    describes_all,
    environment_name,
    is_hosts,
    is_shared,
    parse,
)
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description

# What is shared and no description: where an environment keeps its state, and the nouns handed to the roles.
MACHINERY = ("group_vars/all/state.yml", "group_vars/all/wiring/")


def problems(files: Mapping[str, str]) -> list[Problem]:
    """Return all problems of one environment; `files` maps paths from the root of the project to texts."""
    found: list[Problem] = []
    documents: list[Document] = []
    for file, text in files.items():
        try:
            documents.append(parse(file, text))
        except UnreadableError as error:
            found.append(error.problem)
    unreadable = {Path(problem.file).stem for problem in found}
    described: dict[str, Document] = {}
    for document in documents:
        found += _place(document)
        if describes_all(document.file) and isinstance(document.value, dict):
            described.update((noun, document) for noun in document.value if noun in schema.nouns())
    found += _missing(files, described, unreadable, documents)
    usable: dict[str, Document] = {}
    misspelt: set[Path_] = set()
    for noun, document in described.items():
        result = schema.check(noun, document)
        found += result.problems
        misspelt |= result.misspelt
        if result.usable:
            usable[noun] = document
    hosts = next((document for document in documents if is_hosts(document.file)), None)
    description = Description(environment_name(files), usable, hosts)
    found += policy.check(description, misspelt)
    return sorted(found, key=lambda problem: (problem.file, problem.line, problem.key))


def report(found: Iterable[Problem]) -> str:
    """Write all problems as one readable list."""
    found = list(found)
    number = "One problem" if len(found) == 1 else f"{len(found)} problems"
    return "\n\n".join([f"{number} in the description of the environment", *map(str, found)])


def _place(document: Document) -> Iterator[Problem]:
    """Check that a file is where its noun is looked for: one file a noun, called like it."""
    file, stem = document.file, Path(document.file).stem
    if is_hosts(file):
        return
    legal = schema.nouns()
    if document.value is not None and not isinstance(document.value, dict):
        yield Problem(file, 1, "-", "is not a record of variables", f"a record `{stem}:`")
        return
    if not describes_all(file):
        for noun in document.value or {}:
            if noun in legal:
                yield Problem(
                    file,
                    document.line((noun,)),
                    noun,
                    "a noun of the environment given for some hosts only",
                    "variables of roles",
                    f"move it to group_vars/all/{noun}.yml",
                )
        return
    if file.startswith(MACHINERY):
        for noun in document.value or {}:
            if noun in legal:
                yield Problem(file, document.line((noun,)), noun, f"a noun stands in {file}", f"{noun}.yml")
        return
    for variable in document.value or {}:
        line = document.line((variable,))
        if variable not in legal:
            meant = schema.nearest(variable, legal)
            fix = f"did you mean `{meant}`?" if meant else "remove it: roles get theirs in group_vars/all/wiring"
            yield Problem(file, line, variable, "unknown noun", ", ".join(legal), fix)
        elif variable != stem or Path(file).suffix != ".yml":
            yield Problem(
                file,
                line,
                variable,
                f"stands in {Path(file).name}",
                f"{variable}.yml",
                f"move it to {variable}.yml, where it is looked for",
            )
    if document.value is None and stem not in legal:
        yield Problem(file, 1, stem, "unknown noun", ", ".join(legal), "remove the file")


def _missing(
    files: Mapping[str, str], described: Mapping[str, Document], unreadable: set[str], documents: Iterable[Document]
) -> Iterator[Problem]:
    """Name the nouns that are described nowhere, unless they are there and misspelt or unreadable."""
    directory = next((file for file in files if not is_shared(file)), "").partition("group_vars/")[0]
    # Wiring names roles, and a role may be called like a noun.
    written = [one for one in documents if not one.file.startswith(MACHINERY)]
    variables = {variable for one in written if isinstance(one.value, dict) for variable in one.value}
    if not any(map(is_hosts, files)):
        yield Problem(f"{directory}hosts.yml", 1, "-", "is missing", "the inventory's groups and hosts")
    meant = {schema.nearest(variable, schema.nouns()) for variable in variables - set(schema.nouns())}
    for noun in schema.nouns():
        if noun not in described and noun not in unreadable and noun not in meant:
            file = f"{directory}group_vars/all/{noun}.yml"
            yield Problem(file, 1, noun, "is missing", f"the noun {noun}", f"add the file with `{noun}:`")
