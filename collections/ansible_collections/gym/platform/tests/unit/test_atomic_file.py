"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_if_different


def test_a_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_if_different(path, "a")
    assert not write_if_different(path, "a")
    assert write_if_different(path, "b")
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert path.read_text() == "b"
