"""Carry out the changes of gym.platform.config_files: all of them, or none when something is wrong beforehand."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ansible_collections.gym.platform.plugins.module_utils.config_file_changes import (
    Change,
    changed_by_hand,
    consequences,
    in_safe_order,
)
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import RecordError
from ansible_collections.gym.platform.plugins.module_utils.pending import Pending


class RunCommand(Protocol):
    """How AnsibleModule runs a program: returns its exit code, output and errors."""

    def __call__(self, args: list[str]) -> tuple[int, str, str]:
        """Run a program to its end."""


class Written:
    """The record of what was last written to each path, so that a change by hand is noticed."""

    def __init__(self, path: str) -> None:
        """Use this file; it need not exist."""
        self._path = Path(path)

    def load(self) -> dict[str, str]:
        """Read the fingerprints; a file that was damaged counts as empty, which costs one needless backup."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def update(self, current: Mapping[str, str], gone: Sequence[str]) -> None:
        """Remember what was written; nothing is done when all of it is known already."""
        known = self.load()
        if all(known.get(path) == value for path, value in current.items()) and not set(gone) & set(known):
            return
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (self._path.parent / (self._path.name + ".lock")).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            merged = {path: value for path, value in {**self.load(), **current}.items() if path not in gone}
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(json.dumps(merged, indent=0, sort_keys=True), encoding="utf-8")
            new.replace(self._path)


class Writer:
    """One call's changes on their way to the disk."""

    def __init__(self, run_command: RunCommand, pending: Pending, written: Written, backup_directory: str) -> None:
        """Prepare; nothing is touched yet."""
        self._run_command = run_command
        self._pending = pending
        self._written = written
        self._backup_directory = Path(backup_directory) / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._undo: list[Callable[[], object]] = []

    def apply(self, changes: Sequence[Change]) -> list[str]:
        """Carry out all changes and return the backups made; an invalid file leaves everything as it was."""
        ordered = in_safe_order(changes)
        staged: dict[str, Path] = {}
        try:
            after = consequences(ordered)
            # Before any replacement: a run that is killed after it must not leave a service with its old settings.
            for marker in self._pending.mark(after.restart, after.reload, after.daemon_reload):
                self._undo.append(marker.unlink)
            self._make_directories(ordered)
            for change in ordered:
                if change.record.state == "file" and {"content", "kind"} & set(change.differs):
                    staged[change.record.path] = self._stage(change)
            self._validate(ordered, staged)
        except BaseException:
            for step in reversed(self._undo):
                with contextlib.suppress(OSError):
                    step()
            raise
        return self._commit(ordered, staged)

    def _make_directories(self, changes: Sequence[Change]) -> None:
        for change in changes:
            record = change.record
            if record.state == "absent":
                continue
            path = Path(record.path)
            wanted = [path] if record.state == "directory" and change.actual.kind != "link" else []
            for directory in [*reversed(path.parents), *wanted]:
                if directory.is_dir():
                    continue
                try:
                    directory.mkdir(mode=0o755)
                except (FileExistsError, NotADirectoryError) as error:
                    raise RecordError(
                        f"{record.path} cannot be made, because {directory} is not a directory: "
                        f"move that file away, or choose another path."
                    ) from error
                self._undo.append(directory.rmdir)
                directory.chmod(0o755)  # whatever the umask says

    def _stage(self, change: Change) -> Path:
        """Write the new content beside its path, ready to be renamed over it.

        The name is fixed, so that what an interrupted run left behind is overwritten by the next; hidden, so that no
        program that reads a whole directory takes it; and ends like the real one, which some validators insist on.
        """
        path = Path(change.record.path)
        new = path.with_name(f".gym-new.{path.name}")
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._undo.append(lambda: new.unlink(missing_ok=True))
        with os.fdopen(handle, "wb") as file:
            file.write(change.record.content or b"")
            file.flush()
            os.fchown(handle, change.uid, change.gid)
            os.fchmod(handle, change.record.mode)
            os.fsync(handle)
        return new

    def _validate(self, changes: Sequence[Change], staged: dict[str, Path]) -> None:
        """Ask each file's own program about it.

        Files that were not there before are put in place first, because a validator may look for them (a proxy's
        configuration names its maps). They replace nothing, and are removed again if any file is refused.
        """
        for change in sorted(changes, key=lambda change: bool(change.record.validate)):
            record = change.record
            new = staged.get(record.path)
            if new is None:
                continue
            if record.validate:
                self._ask(change, new)
            if change.actual.kind == "missing":
                new.rename(record.path)
                self._undo.append(Path(record.path).unlink)
                del staged[record.path]

    def _ask(self, change: Change, new: Path) -> None:
        command = [word.replace("%s", str(new)) for word in change.record.validate]
        shown = " ".join(change.record.validate)
        try:
            code, output, errors = self._run_command(command)
        except OSError as error:
            code, output, errors = 127, "", str(error)
        if code != 0:
            raise RecordError(
                f"The new {change.record.path} is not valid, so nothing was changed: "
                f"`{shown}` exited with {code}: {(output + errors).strip() or 'it said nothing'}"
            )

    def _commit(self, changes: Sequence[Change], staged: Mapping[str, Path]) -> list[str]:
        before = self._written.load()
        backups = [self._back_up(change) for change in changes if changed_by_hand(change, before)]
        touched: set[Path] = set()
        try:
            for change in changes:
                path = Path(change.record.path)
                if change.record.path in staged:
                    staged[change.record.path].replace(path)
                elif change.record.state == "link":
                    self._link(path, change.record.target)
                elif change.record.state == "absent":
                    self._remove(path, change.actual.kind)
                else:
                    if change.record.state == "directory" and change.actual.kind in ("link", "file"):
                        path.unlink()
                        path.mkdir()
                    os.chown(path, change.uid, change.gid)
                    path.chmod(change.record.mode)
                touched.add(path.parent)
        finally:
            for new in staged.values():
                new.unlink(missing_ok=True)
        for directory in touched:
            with contextlib.suppress(FileNotFoundError):
                _sync(directory)
        return backups

    def _back_up(self, change: Change) -> str:
        path = Path(change.record.path)
        copy = self._backup_directory / path.relative_to("/")
        self._backup_directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(change.actual.content)
            os.fchown(handle, change.actual.uid, change.actual.gid)
        shutil.copystat(path, copy)
        return str(copy)

    @staticmethod
    def _link(path: Path, target: str) -> None:
        new = path.with_name(f".gym-new.{path.name}")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(path)

    @staticmethod
    def _remove(path: Path, kind: str) -> None:
        if kind != "directory":
            path.unlink(missing_ok=True)
            return
        try:
            path.rmdir()
        except OSError as error:
            raise RecordError(
                f"{path} cannot be removed ({error.strerror}): `state: absent` removes files, links and empty "
                f"directories, so list what is in it, too."
            ) from error


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
