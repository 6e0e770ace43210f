"""A change of one property changes the stacks that it should and no other."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import yaml
from ansible_collections.gym.platform.plugins.module_utils.environment import read_files
from ansible_collections.gym.platform.plugins.module_utils.validation import problems, report

from tests.stacks.changes import ENVIRONMENT, ROOT, Change, changes, file_of, nouns_with
from tests.stacks.golden import render


@functools.cache
def before() -> dict[str, str]:
    return render(ENVIRONMENT)


def test_there_are_enough_changes_and_each_is_another_one() -> None:
    found = [(change.noun, change.path) for change in changes()]
    assert len(found) >= 30
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("change", changes(), ids=str)
def test_change_is_legal(change: Change) -> None:
    files = read_files(ROOT, ROOT / "inventories" / ENVIRONMENT)
    files[file_of(change.noun).as_posix()] = yaml.safe_dump(nouns_with(change))
    found = problems(files)
    assert not found, report(found)


@pytest.mark.parametrize("change", changes(), ids=str)
def test_change_reaches_its_stacks_alone(change: Change) -> None:
    after = render(ENVIRONMENT, nouns_with(change))
    assert {name for name in before().keys() | after if before().get(name) != after.get(name)} == change.stacks


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(KeyError, match="names no property"):
        nouns_with(Change("cost", ("budget",), 1, frozenset()))
    assert Path(ROOT / file_of("cost")).is_file()
