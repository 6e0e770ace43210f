# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How two environments differ: record by record in what is described, and stack by stack in what comes of it.

Run as a program: `python -m <this module> inventories/staging inventories/production tests/stacks/golden`. The last
directory has the rendered stacks of each environment, below its name.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_template_differences import differences
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import Template, load
from ansible_collections.gym.platform.plugins.module_utils.environment import read_files, settings

ABSENT = "-"
# A value that is longer is read in its file.
WIDTH = 48


def nouns(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return the keys whose values differ, with both; `one` and `other` map files to texts, as `read_files` does."""
    left, right = ({row.key: row.value for row in settings(files)} for files in (one, other))
    keys = [*left, *(key for key in right if key not in left)]
    return [(key, _shown(left, key), _shown(right, key)) for key in keys if left.get(key) != right.get(key)]


def _shown(values: Mapping[str, Any], key: str) -> str:
    text = str(values[key]) if key in values else ABSENT
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def stacks(
    one: Mapping[str, Template], other: Mapping[str, Template], same: Callable[[Any], Any] = lambda value: value
) -> Iterator[tuple[str, str, str, str]]:
    """Go through what differs in the stacks: the stack, resource and property, and both values.

    A resource that only one of them has is one difference. `same` may replace what differs in name only.
    """
    for stack in sorted(one.keys() | other.keys()):
        left, right = (_resources(templates.get(stack)) for templates in (one, other))
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                before, after = (side[name]["Type"] if name in side else ABSENT for side in (left, right))
                yield stack, name, before, after
                continue
            for property_ in differences(same(left[name]), same(right[name])):
                values = (property_.before, property_.after)
                before, after = (_shown({"": value} if value is not None else {}, "") for value in values)
                yield stack, f"{name}.{property_.path.removeprefix('Properties.')}", before, after


def _resources(template: Template | None) -> Mapping[str, Any]:
    return template.resources if template else {}


def without_names(names: Sequence[str]) -> Callable[[Any], Any]:
    """Return a function that puts one word for the names of the environments, at any depth."""

    def same(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: same(child) for key, child in value.items()}
        if isinstance(value, list):
            return [same(child) for child in value]
        if isinstance(value, str):
            for name in names:
                value = value.replace(name, "<environment>")
        return value

    return same


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write rows as aligned columns."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def main(one: Path, other: Path, rendered: Path) -> int:
    """Print the differences of two environments."""
    names = (one.name, other.name)
    found = nouns(*(read_files(path.resolve().parents[1], path.resolve()) for path in (one, other)))
    heads = tuple(name.upper() for name in names)
    print(table(("RECORD", *heads), found))
    left, right = (load(rendered / name) for name in names)
    print(f"\n{table(('STACK', *heads, 'DIFFERENT'), _summary(left, right, names))}\n")
    print(table(("STACK", "RESOURCE", *heads), stacks(left, right, without_names(names))))
    return 0


def _summary(
    one: Mapping[str, Template], other: Mapping[str, Template], names: Sequence[str]
) -> Iterator[tuple[str, str, str, str]]:
    """Count the resources of each stack, and the resources of it that differ."""
    different = Counter(stack for stack, _ in {row[:2] for row in _heads(stacks(one, other, without_names(names)))})
    for stack in sorted(one.keys() | other.keys()):
        left, right = (str(len(_resources(templates.get(stack)))) for templates in (one, other))
        yield stack, left, right, str(different[stack])


def _heads(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[tuple[str, str]]:
    yield from ((stack, place.partition(".")[0]) for stack, place, _, _ in rows)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
