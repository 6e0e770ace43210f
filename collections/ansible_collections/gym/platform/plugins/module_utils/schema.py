# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The form of every noun: one JSON Schema (draft 2020-12) per noun in schemas/, and errors that a person can act upon.

A template may stand wherever a string may: its value is not known without a host, so patterns and enumerations are not
applied to it. It may not stand for a number or a switch, so that these can be checked without a host.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from ansible_collections.gym.platform.plugins.module_utils.environment import Document, Path_, Problem, dotted
from ansible_collections.gym.platform.plugins.module_utils.metrics import CATALOGUE
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DIRECTORY = Path(__file__).parents[2] / "schemas"
# What several nouns share: the form of a name, the catalogue of metrics.
COMMON = "common"

Rule = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that was probably meant, or nothing when none is near."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)), "")


def is_template(value: Any) -> bool:
    """Say whether a value is computed by Ansible at run time."""
    return isinstance(value, str) and "{{" in value


@functools.cache
def schemas() -> dict[str, dict[str, Any]]:
    """Load the schema of every noun, by noun."""
    files = sorted(DIRECTORY.glob("*.yml"))
    found = {file.stem: yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader) for file in files}
    found[COMMON]["$defs"]["metric"]["enum"] = list(CATALOGUE)
    return found


@functools.cache
def nouns() -> tuple[str, ...]:
    """List the nouns that describe an environment."""
    return tuple(noun for noun in schemas() if noun != COMMON)


def _unless_template(rule: Rule) -> Rule:
    """Apply a rule about the text of a value to values that are known now."""

    def apply(validator: Any, argument: Any, instance: Any, schema: Any) -> Iterable[Any] | None:
        return None if is_template(instance) else rule(validator, argument, instance, schema)

    return apply


@functools.cache
def _validator(noun: str) -> Any:
    original = jsonschema.Draft202012Validator
    # In secrets.yml the template itself is what is checked.
    about_text = () if noun == "secrets" else ("pattern", "enum", "minLength")
    extend: Any = jsonschema.validators.extend
    validator = extend(original, {keyword: _unless_template(original.VALIDATORS[keyword]) for keyword in about_text})
    common = Resource.from_contents(schemas()[COMMON], default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(f"{COMMON}.yml", common)
    return validator(schemas()[noun], registry=registry)


@dataclasses.dataclass(frozen=True)
class Result:
    """What is wrong with the form of one noun.

    `usable`: every value that is there has the right form, so that rules about it make sense.
    `misspelt`: keys that seem to be missing, but are there under a name that is nearly theirs: one problem, not two.
    """

    problems: list[Problem]
    usable: bool
    misspelt: frozenset[Path_]


def check(noun: str, document: Document) -> Result:
    """Check the form of one noun."""
    errors = sorted(_validator(noun).iter_errors({noun: document.value[noun]}), key=lambda error: list(error.path))
    misspelt = frozenset(path for error in errors for path in _meant(error))
    problems = [
        problem
        for error in errors
        if not (error.validator == "required" and (*error.absolute_path, _missing(error)) in misspelt)
        for problem in _problems(document, error)
    ]
    return Result(problems, all(error.validator in {"additionalProperties", "required"} for error in errors), misspelt)


def _meant(error: Any) -> Iterator[Path_]:
    """List the keys that one error found misspelt."""
    if error.validator == "additionalProperties":
        for key in _unknown(error):
            meant = nearest(key, error.schema["properties"])
            if meant and meant not in error.instance:
                yield (*error.absolute_path, meant)


def _problems(document: Document, error: Any) -> Iterator[Problem]:
    """Say in plain words what the validator found."""
    path: Path_ = tuple(error.absolute_path)
    value, schema = error.instance, error.schema
    if error.validator == "additionalProperties":
        for key in _unknown(error):
            legal = list(schema["properties"])
            meant = nearest(key, legal)
            fix = f"did you mean `{meant}`?" if meant else f"remove it, or describe it in schemas/{path[0]}.yml"
            yield _problem(document, (*path, key), "unknown key", ", ".join(legal), fix)
    elif error.validator == "required":
        key = _missing(error)
        yield _problem(document, (*path, key), "is missing", _legal(_schema_of(schema, key)), f"add `{key}: ...`")
    elif error.validator == "type":
        fix = "write the value itself: what a template gives cannot be checked here" if is_template(value) else ""
        yield _problem(document, path, f"{_show(value)} is {_kind(value)}", _legal(schema), fix)
    elif error.validator == "enum":
        legal = [str(word) for word in schema["enum"]]
        meant = nearest(str(value), legal)
        fix = f"did you mean `{meant}`?" if meant else ""
        yield _problem(document, path, f"{_show(value)} is not a legal value", ", ".join(legal), fix)
    elif error.validator == "minItems":
        yield _problem(document, path, f"has {len(value)} entries", f"at least {error.validator_value}", "add one")
    elif error.validator == "uniqueItems":
        yield _problem(document, path, "holds a value twice", "each value once", "remove one of them")
    else:
        yield _problem(document, path, f"{_show(value)} is not a legal value", _legal(schema))


def _problem(document: Document, path: Path_, message: str, legal: str = "", fix: str = "") -> Problem:
    return Problem(document.file, document.line(path), _key(document, path), message, legal, fix)


def _key(document: Document, path: Path_) -> str:
    return dotted(path, document.value)


def _unknown(error: Any) -> list[str]:
    known, patterns = error.schema["properties"], error.schema.get("patternProperties", {})
    return [key for key in error.instance if key not in known and not any(re.search(one, key) for one in patterns)]


def _missing(error: Any) -> str:
    """Return the key that one error calls missing: the validator raises one error for each."""
    return str(next(key for key in error.validator_value if error.message.startswith(repr(key))))


def _schema_of(schema: Any, key: str) -> dict[str, Any]:
    """Find the schema of one key, in common.yml if it is defined there."""
    found: dict[str, Any] = schema["properties"][key]
    shared: dict[str, Any] = schemas()[COMMON]["$defs"].get(found.get("$ref", "").rpartition("/")[2], {})
    return {**shared, **found}


def _legal(schema: dict[str, Any]) -> str:
    """Say what may stand here: type, range, meaning, an example."""
    types = schema.get("type", [])
    words = [" or ".join([types] if isinstance(types, str) else types)]
    if "enum" in schema:
        words = [", ".join(map(str, schema["enum"]))]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words.append(f"from {low} to {high}")
    elif low is not None:
        words.append(f"at least {low}")
    elif high is not None:
        words.append(f"at most {high}")
    text = " ".join(word for word in words if word)
    about = schema.get("description", "")
    examples = ", ".join(map(str, schema.get("examples", [])))
    text += f" ({about[0].lower()}{about[1:]})" if about else ""
    return text + (f", for example {examples}" if examples else "")


def _show(value: Any) -> str:
    """Write a value as YAML writes it, in one short line."""
    if isinstance(value, (dict, list)):
        return "a record" if isinstance(value, dict) else "the list"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    names = {bool: "a switch", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a record"}
    return names.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")
