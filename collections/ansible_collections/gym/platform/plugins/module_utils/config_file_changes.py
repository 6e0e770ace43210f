"""What is on the host, and how it differs from what gym.platform.config_files wants: reads, never writes."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.config_file_records import Record, RecordError, nearest
from ansible_collections.gym.platform.plugins.module_utils.pending import needs_daemon_reload

# Ansible leaves larger texts out of a diff, too.
DIFF_LIMIT = 100_000


@dataclass(frozen=True)
class Actual:
    """One path of a host, as it is."""

    kind: str  # missing, file, directory, link, other
    uid: int = -1
    gid: int = -1
    mode: int = -1
    content: bytes = b""
    target: str = ""


@dataclass(frozen=True)
class Change:
    """One record that the host does not meet yet; differs names what: kind, content, target, owner, group, mode."""

    record: Record
    actual: Actual
    uid: int
    gid: int
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Consequences:
    """What follows from a set of changes."""

    restart: tuple[str, ...]
    reload: tuple[str, ...]
    daemon_reload: bool


def inspect(path: str) -> Actual:
    """Read what is at a path, without following a link."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Actual(kind="missing")
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return Actual("link", found.st_uid, found.st_gid, mode, target=str(Path(path).readlink()))
    if stat.S_ISDIR(found.st_mode):
        return Actual("directory", found.st_uid, found.st_gid, mode)
    if stat.S_ISREG(found.st_mode):
        return Actual("file", found.st_uid, found.st_gid, mode, content=Path(path).read_bytes())
    return Actual("other", found.st_uid, found.st_gid, mode)


def find_uid(record: Record, lenient: bool) -> int:
    """Look up the owner; a plan (lenient) answers -1, because the package that makes it may not be installed yet."""
    if record.owner.isdigit():
        return int(record.owner)
    try:
        return pwd.getpwnam(record.owner).pw_uid
    except KeyError:
        return _unknown("Owner", record.owner, record.path, (user.pw_name for user in pwd.getpwall()), lenient)


def find_gid(record: Record, lenient: bool) -> int:
    """Look up the group; see find_uid."""
    if record.group.isdigit():
        return int(record.group)
    try:
        return grp.getgrnam(record.group).gr_gid
    except KeyError:
        return _unknown("Group", record.group, record.path, (group.gr_name for group in grp.getgrall()), lenient)


def _unknown(what: str, name: str, path: str, legal: Iterable[str], lenient: bool) -> int:
    if lenient:
        return -1
    raise RecordError(
        f"{what} '{name}' of {path} does not exist on this host.{nearest(name, legal)} "
        f"Correct the name, or install the package that creates it first."
    )


def compare(record: Record, actual: Actual, uid: int, gid: int) -> Change | None:
    """Say what has to change, or None; a replacement that would lose a whole directory is refused."""
    differs: list[str] = []
    if record.state == "absent":
        if actual.kind != "missing":
            differs.append("kind")
    else:
        if actual.kind in ("directory", "other") and actual.kind != record.state:
            raise RecordError(
                f"{record.path} is a {'directory' if actual.kind == 'directory' else 'device, socket or pipe'} on this "
                f"host and a {record.state} is wanted: move it away, or choose another path."
            )
        if actual.kind != record.state:
            differs.append("kind")
        if record.state == "link":
            if actual.target != record.target:
                differs.append("target")
        else:
            if record.state == "file" and actual.content != record.content:
                differs.append("content")
            differs += [
                name
                for name, now, wanted in (
                    ("owner", actual.uid, uid),
                    ("group", actual.gid, gid),
                    ("mode", actual.mode, record.mode),
                )
                if now != wanted
            ]
    return Change(record, actual, uid, gid, tuple(differs)) if differs else None


def in_safe_order(changes: Sequence[Change]) -> list[Change]:
    """Order directories before what is in them, and removals last, deepest first."""

    def key(change: Change) -> tuple[int, int]:
        depth = change.record.path.count("/")
        if change.record.state == "directory":
            return 0, depth
        if change.record.state == "absent":
            return 2, -depth
        return 1, 0

    return sorted(changes, key=key)


def consequences(changes: Iterable[Change]) -> Consequences:
    """Say which units have to read their files anew; a unit that is restarted need not be reloaded."""
    restart: dict[str, None] = {}
    reload: dict[str, None] = {}
    daemon_reload = False
    for change in changes:
        (reload if change.record.reload else restart).update(dict.fromkeys(change.record.units))
        daemon_reload = daemon_reload or needs_daemon_reload(change.record.path)
    return Consequences(tuple(restart), tuple(unit for unit in reload if unit not in restart), daemon_reload)


def digest(content: bytes) -> str:
    """Fingerprint a content for the record of what was written."""
    return hashlib.sha256(content).hexdigest()


def changed_by_hand(change: Change, written: Mapping[str, str]) -> bool:
    """Tell whether a content would be lost that this module did not write."""
    if change.actual.kind != "file" or not {"content", "kind"} & set(change.differs):
        return False
    return written.get(change.record.path) != digest(change.actual.content)


def describe(change: Change) -> dict[str, Any]:
    """Show one change for Ansible's diff mode."""
    record, actual = change.record, change.actual
    before, after = [f"state: {actual.kind}"], [f"state: {record.state}"]
    if record.state != "absent":
        for name, now, wanted in (
            ("owner", actual.uid, record.owner),
            ("group", actual.gid, record.group),
            ("mode", f"{actual.mode:04o}", f"{record.mode:04o}"),
        ):
            if name in change.differs and actual.kind != "missing":
                before.append(f"{name}: {now}")
                after.append(f"{name}: {wanted}")
    if "target" in change.differs:
        before.append(f"target: {actual.target or '-'}")
        after.append(f"target: {record.target}")
    header = [] if before == after else ["\n".join(before) + "\n", "\n".join(after) + "\n"]
    old, new = header or ["", ""]
    if "content" in change.differs or (record.state == "absent" and actual.kind == "file"):
        was, will = actual.content, record.content or b""
        if record.sensitive:
            old += "(sensitive, not shown)\n" if actual.kind == "file" else ""
            new += "(sensitive, not shown; it differs)\n" if record.state == "file" else ""
        else:
            old += _text(was)
            new += _text(will)
    return {"before_header": record.path, "after_header": record.path, "before": old, "after": new}


def _text(content: bytes) -> str:
    if len(content) > DIFF_LIMIT:
        return f"({len(content)} bytes, too many to show, sha256 {digest(content)})\n"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"(binary, {len(content)} bytes, sha256 {digest(content)})\n"
