"""What differs is found, shown and put in an order that works; what would lose a directory is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.config_file_changes import (
    DIFF_LIMIT,
    Actual,
    Change,
    changed_by_hand,
    compare,
    consequences,
    describe,
    digest,
    find_gid,
    find_uid,
    in_safe_order,
    inspect,
)
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import Record, RecordError, parse_record

MISSING = Actual("missing")


def record(path: str = "/etc/demo.conf", **values: Any) -> Record:
    if values.get("state", "file") == "file":
        values.setdefault("content_base64", "eA==")  # x
    return parse_record({"path": path, **values}, 1)


def change(wanted: Record, actual: Actual = MISSING) -> Change:
    found = compare(wanted, actual, 0, 0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("wanted", "actual", "differs"),
    [
        (record(), Actual("file", 0, 0, 0o644, b"x"), ()),
        (record(), Actual("file", 0, 0, 0o644, b"y"), ("content",)),
        (record(), Actual("file", 0, 0, 0o600, b"x"), ("mode",)),
        (record(), Actual("file", 7, 8, 0o644, b"x"), ("owner", "group")),
        (record(), MISSING, ("kind", "content", "owner", "group", "mode")),
        (record(), Actual("link", 0, 0, 0o644, target="/x"), ("kind", "content")),
        (record(state="directory"), Actual("directory", 0, 0, 0o755), ()),
        (record(state="directory"), Actual("directory", 0, 0, 0o750), ("mode",)),
        (record(state="absent"), MISSING, ()),
        (record(state="absent"), Actual("link", 0, 0, 0o777, target="/x"), ("kind",)),
        (record(state="link", target="/x"), Actual("link", 5, 5, 0o777, target="/x"), ()),
        (record(state="link", target="/x"), Actual("link", 0, 0, 0o777, target="/y"), ("target",)),
        (record(state="link", target="/x"), Actual("file", 0, 0, 0o644, b"x"), ("kind", "target")),
    ],
)
def test_exactly_what_differs_is_named(wanted: Record, actual: Actual, differs: tuple[str, ...]) -> None:
    found = compare(wanted, actual, 0, 0)
    assert (found.differs if found else ()) == differs


@pytest.mark.parametrize("kind", ["directory", "other"])
def test_a_directory_or_device_is_never_replaced_by_a_file(kind: str) -> None:
    with pytest.raises(RecordError, match="and a file is wanted: move it away"):
        compare(record(), Actual(kind, 0, 0, 0o755), 0, 0)


def test_a_path_is_read_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    assert inspect(str(tmp_path / "real")).content == b"x"
    assert (inspect(str(tmp_path / "link")).kind, inspect(str(tmp_path / "link")).target) == ("link", "real")
    assert inspect(str(tmp_path)).kind == "directory"
    assert inspect(str(tmp_path / "none")).kind == inspect(str(tmp_path / "real" / "below")).kind == "missing"
    assert inspect("/dev/null").kind == "other"


def test_an_unknown_owner_is_an_error_but_not_in_a_plan() -> None:
    wanted = record(owner="rooot", group="rooot")
    with pytest.raises(RecordError, match=r"Owner 'rooot' of /etc/demo\.conf does not exist .* Did you mean 'root'\?"):
        find_uid(wanted, lenient=False)
    with pytest.raises(RecordError, match="Group 'rooot'"):
        find_gid(wanted, lenient=False)
    assert find_uid(wanted, lenient=True) == find_gid(wanted, lenient=True) == -1
    assert (find_uid(record(owner="1234"), lenient=False), find_uid(record(), lenient=False)) == (1234, 0)


def test_directories_come_first_and_removals_last_and_deepest_first() -> None:
    removed = Actual("file", 0, 0, 0o644, b"x")
    given = [
        change(record("/a/old", state="absent"), Actual("directory", 0, 0, 0o755)),
        change(record("/a/old/file", state="absent"), removed),
        change(record("/a/b/c/file")),
        change(record("/a/b/c", state="directory")),
        change(record("/a/b", state="directory")),
        change(record("/a/link", state="link", target="b")),
    ]
    assert [item.record.path for item in in_safe_order(given)] == [
        "/a/b", "/a/b/c", "/a/b/c/file", "/a/link", "/a/old/file", "/a/old",
    ]  # fmt: skip


def test_a_unit_that_is_restarted_is_not_reloaded_too() -> None:
    after = consequences(
        [
            change(record("/a", units=["one.service", "two.service"], reload=True)),
            change(record("/b", units=["two.service"])),
            change(record("/c", units=["two.service"])),
        ]
    )
    assert (after.restart, after.reload, after.daemon_reload) == (("two.service",), ("one.service",), False)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/systemd/system/demo.service.d/new.conf", True),
        ("/lib/systemd/system/demo.timer", True),
        ("/etc/systemd/system-sleep/hook", False),
        ("/etc/systemd/journald.conf", False),
    ],
)
def test_systemd_reads_its_units_anew_when_one_of_their_files_changed(path: str, expected: bool) -> None:
    assert consequences([change(record(path))]).daemon_reload is expected


def test_only_a_content_that_would_be_lost_counts_as_changed_by_hand() -> None:
    mine = {"/etc/demo.conf": digest(b"mine")}
    theirs, own = Actual("file", 0, 0, 0o644, b"theirs"), Actual("file", 0, 0, 0o644, b"mine")
    assert changed_by_hand(change(record(), theirs), mine)
    assert changed_by_hand(change(record(), theirs), {})
    assert changed_by_hand(change(record(state="absent"), theirs), mine)
    assert changed_by_hand(change(record(state="link", target="/x"), theirs), mine)
    assert not changed_by_hand(change(record(), own), mine)
    assert not changed_by_hand(change(record(), MISSING), mine)
    assert not changed_by_hand(change(record(), Actual("file", 0, 0, 0o600, b"x")), mine)


def test_a_diff_shows_contents_and_attributes() -> None:
    shown = describe(change(record(mode="0600"), Actual("file", 7, 0, 0o644, b"old\n")))
    assert shown["before"] == "state: file\nowner: 7\nmode: 0644\nold\n"
    assert shown["after"] == "state: file\nowner: root\nmode: 0600\nx"
    assert describe(change(record(), Actual("file", 0, 0, 0o644, b"old\n")))["before"] == "old\n"


def test_a_sensitive_content_is_in_no_diff() -> None:
    for actual in (MISSING, Actual("file", 0, 0, 0o644, b"old secret")):
        for state in ("file", "absent"):
            if (state, actual) == ("absent", MISSING):
                continue
            values = {"content_base64": "bmV3IHNlY3JldA=="} if state == "file" else {}  # new secret
            shown = describe(change(record(state=state, sensitive=True, **values), actual))
            assert "secret" not in str(shown)
            assert "sensitive, not shown" in str(shown)
            assert shown["before"] != shown["after"]


def test_binary_and_huge_contents_are_summed_up() -> None:
    shown = describe(change(record(), Actual("file", 0, 0, 0o644, b"\xff\x00")))
    assert shown["before"].startswith("(binary, 2 bytes, sha256 ")
    shown = describe(change(record(), Actual("file", 0, 0, 0o644, b"y" * (DIFF_LIMIT + 1))))
    assert shown["before"].startswith(f"({DIFF_LIMIT + 1} bytes, too many to show")
