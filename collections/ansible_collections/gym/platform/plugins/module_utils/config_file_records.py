"""The records of gym.platform.config_files: what a caller may write, and what it means.

Used twice: by the action plugin on the controller, before anything is rendered, and by the module on the host.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.pending import UNIT_SUFFIXES, is_unit_name

STATES = ("file", "directory", "absent", "link")
BODIES = ("template", "content", "source", "content_base64")
KEYS = (
    "path", "state", "template", "content", "source", "content_base64", "target", "owner", "group", "mode",
    "validate", "units", "reload", "sensitive", "variables",
)  # fmt: skip

_MODE = re.compile(r"0?[0-7]{3,4}")


class RecordError(ValueError):
    """A record that cannot be meant; the message is for the person who wrote it."""


@dataclass(frozen=True)
class Record:
    """One path of a host, as it has to be."""

    path: str
    state: str
    owner: str
    group: str
    mode: int
    content: bytes | None
    target: str
    validate: tuple[str, ...]
    units: tuple[str, ...]
    reload: bool
    sensitive: bool


def nearest(word: str, legal: Iterable[str]) -> str:
    """Suggest a spelling, as half a sentence that can be appended to an error; empty when nothing comes near."""
    close = difflib.get_close_matches(word, list(legal), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def parse_records(raw: object) -> list[Record]:
    """Read all records of one call; the first that cannot be meant ends it."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise RecordError("`files` must be a list of at least one record, each with a `path`.")
    records = [parse_record(item, number) for number, item in enumerate(raw, start=1)]
    seen: set[str] = set()
    for record in records:
        if record.path in seen:
            raise RecordError(f"The path {record.path} is listed twice in `files`: keep one of the two records.")
        seen.add(record.path)
    return records


def parse_record(raw: object, number: int) -> Record:
    """Read one record; number is its place in the list, for a message about a record without a path."""
    if not isinstance(raw, Mapping):
        raise RecordError(f"Record {number} of `files` is '{raw}'; it must be a mapping with at least `path`.")
    values = {str(key): value for key, value in raw.items() if value is not None}
    path = _path(values, number)
    for key in values:
        if key not in KEYS:
            legal = ", ".join(sorted(KEYS))
            raise RecordError(f"{path}: unknown key '{key}'.{nearest(key, KEYS)} Legal keys: {legal}.")
    state = str(values.get("state", "file"))
    if state not in STATES:
        raise RecordError(f"{path}: state '{state}' is not one of {', '.join(STATES)}.{nearest(state, STATES)}")
    _check_body(path, state, values)
    variables = values.get("variables", {})
    if not isinstance(variables, Mapping):
        raise RecordError(f"{path}: `variables` is '{variables}'; it must be a mapping of names to values.")
    if variables and "template" not in values and "content_base64" not in values:
        raise RecordError(f"{path}: `variables` mean something only beside `template`; remove them.")
    return Record(
        path=path,
        state=state,
        owner=str(values.get("owner", "root")),
        group=str(values.get("group", "root")),
        mode=_mode(path, state, values.get("mode")),
        content=_content(path, values),
        target=str(values.get("target", "")),
        validate=_validate(path, state, values.get("validate")),
        units=_units(path, values.get("units", [])),
        reload=_boolean(path, "reload", values),
        sensitive=_boolean(path, "sensitive", values),
    )


def _path(values: Mapping[str, Any], number: int) -> str:
    path = values.get("path")
    if not isinstance(path, str) or not path:
        raise RecordError(f"Record {number} of `files` has no `path`: add the absolute path of the file on the host.")
    if not path.startswith("/"):
        raise RecordError(f"The path '{path}' is not absolute: begin it with '/'.")
    normal = posixpath.normpath(path)
    if path.rstrip("/") != normal or normal in ("/", "//"):
        raise RecordError(f"The path '{path}' has '.', '..' or '//' in it, or is the root: write it plainly.")
    return normal


def _check_body(path: str, state: str, values: Mapping[str, Any]) -> None:
    bodies = [key for key in BODIES if key in values]
    if state == "file" and len(bodies) != 1:
        found = " and ".join(f"`{key}`" for key in bodies) or "none"
        raise RecordError(f"{path}: a file needs exactly one of `template`, `content` and `source`; it has {found}.")
    if state != "file" and bodies:
        raise RecordError(f"{path}: `{bodies[0]}` means nothing with `state: {state}`; remove one of the two.")
    for key in bodies:
        if not isinstance(values[key], str):
            # Ansible's own lists and dicts have names of their own.
            kind = next((kind.__name__ for kind in (list, dict, bool, int) if isinstance(values[key], kind)), "value")
            raise RecordError(f"{path}: `{key}` is a {kind}; it must be text (a filter such as to_nice_json makes it).")
    if (state == "link") != ("target" in values):
        raise RecordError(f"{path}: `target` belongs to `state: link`, and only there; the state is '{state}'.")


def _mode(path: str, state: str, mode: object) -> int:
    if mode is None:
        return 0o755 if state == "directory" else 0o644
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        raise RecordError(f"{path}: mode '{mode}' is not legal: write four octal digits in quotes, as in \"0640\".")
    return int(mode, 8)


def _content(path: str, values: Mapping[str, Any]) -> bytes | None:
    if "content_base64" not in values:
        return None
    try:
        return base64.b64decode(values["content_base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(f"{path}: `content_base64` is not base64 ({error}).") from error


def _validate(path: str, state: str, command: object) -> tuple[str, ...]:
    if command is None:
        return ()
    if state != "file":
        raise RecordError(f"{path}: `validate` means nothing with `state: {state}`; remove it.")
    try:
        words = tuple(shlex.split(str(command)))
    except ValueError as error:
        raise RecordError(f"{path}: the validate command '{command}' cannot be read: {error}.") from error
    if not any("%s" in word for word in words):
        raise RecordError(f"{path}: the validate command '{command}' has no '%s', which stands for the new file.")
    return words


def _units(path: str, units: object) -> tuple[str, ...]:
    if not isinstance(units, Sequence) or isinstance(units, str):
        raise RecordError(f"{path}: `units` is '{units}'; it must be a list of unit names.")
    for unit in units:
        if not is_unit_name(str(unit)):
            raise RecordError(
                f"{path}: '{unit}' is not the full name of a unit: end it with one of .{', .'.join(UNIT_SUFFIXES)}."
            )
    return tuple(str(unit) for unit in units)


def _boolean(path: str, key: str, values: Mapping[str, Any]) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise RecordError(f"{path}: `{key}` is '{value}'; it must be true or false.")
    return value
