# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of options in a role's README, made from its meta/argument_specs.yml.

Run as a program it rewrites the READMEs of the roles in a directory: `python -m <this module> roles`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

BEGIN, END = "<!-- options:begin -->", "<!-- options:end -->"
HEAD = ("Option", "Type", "Default", "Description")
# Ansible's markup in descriptions, and the Markdown for it.
MARKUP = re.compile(r"\b([CVOPEMIBUL])\(([^()]*(?:\([^()]*\)[^()]*)*)\)")


class MarkerError(Exception):
    """A README has no place for the table."""


def options_table(specification: Mapping[str, Any]) -> str:
    """Write the options of a role's entry points as a Markdown table; two may share an option."""
    entries = specification["argument_specs"].values()
    options = {name: option for entry in entries for name, option in (entry.get("options") or {}).items()}
    if not options:
        return "This role has no options."
    rows = [HEAD, tuple("---" for _ in HEAD), *_rows(options)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rows(options: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, ...]]:
    for name, option in options.items():
        key = f"{parent}{name}"
        kind = option.get("type", "str")
        if "elements" in option:
            kind += f" of {option['elements']}"
        default = "*required*" if option.get("required") else _code(option["default"]) if "default" in option else ""
        yield f"`{key}`", kind, default, _description(option)
        if option.get("options"):
            yield from _rows(option["options"], f"{key}[]." if kind.startswith("list") else f"{key}.")


def _code(value: Any) -> str:
    """Write a default as code, in one line and without what would end the cell of a table."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _description(option: Mapping[str, Any]) -> str:
    given = option["description"]
    text = " ".join(given if isinstance(given, list) else [given])
    if "choices" in option:
        text += f" One of {', '.join(_code(choice) for choice in option['choices'])}."
    text = MARKUP.sub(lambda found: f"{_marks(found[1])}{found[2]}{_marks(found[1])}", text)
    return " ".join(text.split()).replace("|", "\\|")


def _marks(letter: str) -> str:
    return {"I": "*", "B": "**"}.get(letter, "`")


def rewrite(readme: str, table: str) -> str:
    """Put a table between the markers of a README."""
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise MarkerError(f"the lines {BEGIN} and {END} are missing: the table of options stands between them")
    return f"{before}{begin}\n{table}\n{end}{after}"


def current(role: Path) -> tuple[str, str]:
    """Return the README of a role as it is and as it should be."""
    specification = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    try:
        is_now = (role / "README.md").read_text(encoding="utf-8")
        return is_now, rewrite(is_now, options_table(specification))
    except FileNotFoundError:
        raise MarkerError(f"{role.name}/README.md is missing") from None
    except MarkerError as error:
        raise MarkerError(f"{role.name}/README.md: {error}") from error


def main(directory: Path) -> int:
    """Rewrite the READMEs of all roles in a directory, name those that changed, and fail for those that cannot be."""
    failed = 0
    for specification in sorted(directory.glob("*/meta/argument_specs.yml")):
        role = specification.parents[1]
        try:
            is_now, should_be = current(role)
        except MarkerError as error:
            sys.stderr.write(f"{error}\n")
            failed = 1
            continue
        if is_now != should_be:
            (role / "README.md").write_text(should_be, encoding="utf-8")
            sys.stdout.write(f"{role.name}/README.md\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
