"""All changes reach the disk, or none; whatever is interrupted is completed by the next run."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.config_file_changes import Change, compare, digest, inspect
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import RecordError, parse_records
from ansible_collections.gym.platform.plugins.module_utils.config_file_writer import Writer, Written
from ansible_collections.gym.platform.plugins.module_utils.pending import Pending


def run_command(args: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class Place:
    """A directory that stands for the root of a host."""

    def __init__(self, root: Path) -> None:
        self.etc = root / "etc"
        self.etc.mkdir()
        self.pending = Pending(str(root / "run"))
        self.written = Written(str(root / "lib" / "record.json"))
        self.backups = root / "backups"
        self.run_command = run_command

    def apply(self, *records: dict[str, Any]) -> list[str]:
        raw = [{**record, "path": str(self.etc / record["path"])} for record in records]
        for item in raw:
            if "text" in item:
                item["content_base64"] = base64.b64encode(item.pop("text").encode()).decode()
        changes: list[Change] = []
        for record in parse_records(raw):
            change = compare(record, inspect(record.path), os.getuid(), os.getgid())
            changes += [change] if change else []
        writer = Writer(self.run_command, self.pending, self.written, str(self.backups))
        return writer.apply(changes)

    def snapshot(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.etc)): path.read_text() if path.is_file() else "-"
            for path in sorted(self.etc.rglob("*"))
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_kind_of_record_is_put_in_place_and_then_at_rest(place: Place) -> None:
    (place.etc / "old").mkdir()
    (place.etc / "old" / "file").write_text("gone")
    records: list[dict[str, Any]] = [
        {"path": "new/deep/a.conf", "text": "a", "mode": "0640"},
        {"path": "dir", "state": "directory", "mode": "0700"},
        {"path": "link", "state": "link", "target": "new/deep/a.conf"},
        {"path": "old", "state": "absent"},
        {"path": "old/file", "state": "absent"},
    ]
    place.apply(*records)
    assert place.snapshot() == {"dir": "-", "link": "a", "new": "-", "new/deep": "-", "new/deep/a.conf": "a"}
    modes = {name: f"{(place.etc / name).stat().st_mode & 0o7777:o}" for name in ("new", "new/deep/a.conf", "dir")}
    assert modes == {"new": "755", "new/deep/a.conf": "640", "dir": "700"}
    before = (place.etc / "new/deep/a.conf").stat()
    place.apply(*records)
    assert (place.etc / "new/deep/a.conf").stat().st_ino == before.st_ino


def test_the_mode_does_not_depend_on_the_umask(place: Place) -> None:
    old = os.umask(0o077)
    try:
        place.apply({"path": "a/b/file", "text": "x"}, {"path": "d", "state": "directory"})
    finally:
        os.umask(old)
    assert [f"{(place.etc / name).stat().st_mode & 0o7777:o}" for name in ("a", "a/b", "a/b/file", "d")] == [
        "755", "755", "644", "755",
    ]  # fmt: skip


def test_a_file_is_replaced_in_one_step_and_an_open_reader_keeps_the_old_one(place: Place) -> None:
    (place.etc / "a").write_text("old")
    with (place.etc / "a").open() as reader:
        place.apply({"path": "a", "text": "new", "mode": "0604"})
        assert reader.read() == "old"
    assert (place.etc / "a").read_text() == "new"
    assert (place.etc / "a").stat().st_mode & 0o7777 == 0o604


def test_one_invalid_file_leaves_everything_as_it_was(place: Place) -> None:
    (place.etc / "first").write_text("old")
    (place.etc / "gone").write_text("still here")
    before = place.snapshot()
    with pytest.raises(RecordError) as refused:
        place.apply(
            {"path": "first", "text": "new", "units": ["one.service"]},
            {"path": "fresh/file", "text": "new"},
            {"path": "gone", "state": "absent"},
            {"path": "directory", "state": "directory"},
            {"path": "bad", "text": "new", "validate": "sh -c 'echo line 7 is wrong; exit 3' %s"},
        )
    assert "bad is not valid, so nothing was changed" in str(refused.value)
    assert "exited with 3: line 7 is wrong" in str(refused.value)
    assert place.snapshot() == before
    assert not place.pending.restarts()
    assert not place.backups.exists()


def test_an_older_marker_survives_a_refused_file(place: Place) -> None:
    place.pending.mark(restart=["one.service"])
    with pytest.raises(RecordError):
        place.apply({"path": "bad", "text": "new", "units": ["one.service"], "validate": "false %s"})
    assert place.pending.restarts() == {"one.service"}


def test_a_validator_sees_the_new_content_and_the_new_files_beside_it(place: Place) -> None:
    (place.etc / "main.conf").write_text("old")
    place.apply(
        {"path": "main.conf", "text": "new", "validate": f"sh -c 'grep -q new $1 && test -e {place.etc}/maps/m' - %s"},
        {"path": "maps/m", "text": "m"},
    )
    assert (place.etc / "main.conf").read_text() == "new"


def test_a_validator_that_does_not_exist_is_one_sentence(place: Place) -> None:
    with pytest.raises(RecordError, match=r"exited with 127: .*No such file"):
        place.apply({"path": "a", "text": "x", "validate": "/nowhere/check %s"})
    assert place.snapshot() == {}


def test_markers_are_there_before_the_first_replacement(place: Place) -> None:
    (place.etc / "a").write_text("old")
    seen: list[tuple[str, set[str], set[str]]] = []

    def look(args: list[str]) -> tuple[int, str, str]:
        seen.append(((place.etc / "a").read_text(), place.pending.restarts(), place.pending.reloads()))
        return 0, "", ""

    place.run_command = look
    place.apply(
        {"path": "a", "text": "new", "units": ["one.service"], "validate": "look %s"},
        {"path": "b", "text": "new", "units": ["two.service"], "reload": True},
    )
    assert seen == [("old", {"one.service"}, {"two.service"})]
    assert (place.pending.restarts(), place.pending.reloads()) == ({"one.service"}, {"two.service"})


def test_nothing_is_marked_for_what_does_not_change(place: Place) -> None:
    record = {"path": "a", "text": "x", "units": ["one.service"]}
    place.apply(record)
    place.pending.clear_restart("one.service")
    place.apply(record, {"path": "b", "text": "y", "units": ["two.service"]})
    assert place.pending.restarts() == {"two.service"}


def test_what_an_interrupted_run_left_behind_is_overwritten(place: Place) -> None:
    (place.etc / "a").write_text("old")
    (place.etc / ".gym-new.a").write_text("half a fi")
    place.apply({"path": "a", "text": "new"})
    assert place.snapshot() == {"a": "new"}


def test_a_planted_link_beside_the_path_is_not_written_through(place: Place) -> None:
    (place.etc / "victim").write_text("precious")
    (place.etc / ".gym-new.a").symlink_to("victim")
    place.apply({"path": "a", "text": "new"})
    assert place.snapshot() == {"a": "new", "victim": "precious"}


def test_a_link_is_replaced_and_what_it_points_to_is_not_touched(place: Place) -> None:
    (place.etc / "real").write_text("precious")
    (place.etc / "a").symlink_to("real")
    place.apply({"path": "a", "text": "new"})
    assert not (place.etc / "a").is_symlink()
    assert place.snapshot() == {"a": "new", "real": "precious"}


def test_a_file_in_the_place_of_a_parent_is_one_sentence(place: Place) -> None:
    (place.etc / "parent").write_text("a file")
    with pytest.raises(RecordError, match="is not a directory: move that file away"):
        place.apply({"path": "other/x", "text": "x"}, {"path": "parent/a", "text": "x"})
    assert place.snapshot() == {"parent": "a file"}


def test_a_directory_with_something_in_it_is_not_removed(place: Place) -> None:
    (place.etc / "dir").mkdir()
    (place.etc / "dir" / "data").write_text("precious")
    with pytest.raises(RecordError, match="removes files, links and empty directories"):
        place.apply({"path": "dir", "state": "absent"})
    assert (place.etc / "dir" / "data").read_text() == "precious"


def test_a_file_changed_by_hand_is_kept_with_its_mode(place: Place) -> None:
    target = place.etc / "a"
    target.write_text("by hand")
    target.chmod(0o640)
    place.written.update({str(target): digest(b"ours")}, [])
    [backup] = place.apply({"path": "a", "text": "new"})
    assert backup.endswith(str(target))
    assert Path(backup).read_text() == "by hand"
    assert Path(backup).stat().st_mode & 0o777 == 0o640
    assert place.backups.stat().st_mode & 0o777 == 0o700
    place.written.update({str(target): digest(b"new")}, [])
    assert place.apply({"path": "a", "text": "newer"}) == []


def test_the_record_is_merged_forgotten_and_written_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "record.json"
    written = Written(str(path))
    written.update({"/a": "1", "/b": "2"}, [])
    first = path.stat().st_ino
    written.update({"/a": "1"}, ["/unknown"])
    assert path.stat().st_ino == first
    written.update({"/c": "3"}, ["/b"])
    assert written.load() == {"/a": "1", "/c": "3"}
    path.write_text("{ not json")
    assert written.load() == {}
    written.update({"/a": "1"}, [])
    assert json.loads(path.read_text()) == {"/a": "1"}
