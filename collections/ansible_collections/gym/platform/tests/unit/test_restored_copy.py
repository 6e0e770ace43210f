"""Copies that are put back: which one, and what of the directory it replaces. Molecule restores with restic itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.modules.restored_copy import CopyError, newest, put, reason

OLD: dict[str, Any] = {"time": "2030-01-31T10:00:00.5Z", "paths": ["/srv/notes"], "id": "old"}
NEW: dict[str, Any] = {**OLD, "time": "2030-01-31T11:00:00.1Z", "id": "new"}


def test_the_newest_copy_counts() -> None:
    assert newest([NEW, OLD], "here")["id"] == newest([OLD, NEW], "here")["id"] == "new"


@pytest.mark.parametrize(
    ("snapshots", "words"),
    [([], "here holds no copy yet"), ([{**NEW, "paths": ["/a", "/b"]}], "a copy of one path can be put back")],
)
def test_what_cannot_be_put_back_is_refused(snapshots: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(CopyError, match=words):
        newest(snapshots, "here")


def test_a_directory_replaces_what_has_its_names(tmp_path: Path) -> None:
    source, place = tmp_path / "copy", tmp_path / "place"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "one").write_text("copied")
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "gone").touch()
    (place / "kept").touch()
    put(source, place)
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == ["deep", "deep/one", "kept"]


def test_a_file_replaces_the_file(tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("new")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "copy").write_text("old")
    put(tmp_path / "copy", tmp_path / "place")
    assert (tmp_path / "place" / "copy").read_text() == "new"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Fatal: Access Denied.\nIs there a repository at the following location?\ns3:x", "Fatal: Access Denied."),
        ("retrying\nkilled\n", "killed"),
        ("", ""),
    ],
)
def test_a_failure_is_told_in_the_words_that_say_why(said: str, why: str) -> None:
    assert reason(said) == why
