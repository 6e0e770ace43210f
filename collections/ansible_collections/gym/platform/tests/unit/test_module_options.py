"""What modules document is what they take, whether they do it where they are sent or leave it to an action plugin."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.tests.unit.documented import documentation

PLUGINS = "ansible_collections.gym.platform.plugins"
# What it writes is no part of any environment, and is what everything else is planned from.
ALSO_WRITES_IN_CHECK_MODE = "declare"
NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "plugins/modules").glob("*.py"))


class SpecificationError(Exception):
    """Carries what a module told Ansible about its options."""

    def __init__(self, **told: Any) -> None:
        self.told = told


def tell(*_: Any, **told: Any) -> None:
    raise SpecificationError(**told)


def specification(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a module tells Ansible first, or the action plugin of a module that is documentation alone."""
    module: Any = importlib.import_module(f"{PLUGINS}.modules.{name}")
    if hasattr(module, "main"):
        monkeypatch.setattr(module, "AnsibleModule", tell)
        with pytest.raises(SpecificationError) as found:
            module.main()
        return found.value.told
    action: Any = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "validate_argument_spec", tell)
    with pytest.raises(SpecificationError) as found:
        object.__new__(action).run(task_vars={})
    return {**found.value.told, "supports_check_mode": getattr(action, "_supports_check_mode", True)}


def compared(options: dict[str, Any]) -> dict[str, Any]:
    """Leave of each option what a specification and documentation both say."""
    keys = ("type", "required", "default", "choices", "elements")
    found = {name: {key: option[key] for key in keys if key in option} for name, option in options.items()}
    for name, option in options.items():
        if children := option.get("suboptions") or option.get("options"):
            found[name]["options"] = compared(children)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_options_are_the_real_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = specification(name, monkeypatch)
    documented = documentation(importlib.import_module(f"{PLUGINS}.modules.{name}"))
    assert documented["module"] == name
    assert compared(documented.get("options", {})) == compared(told["argument_spec"])
    assert told["supports_check_mode"]
    supported = documented["attributes"]["check_mode"]["support"] == "full"
    assert supported is (name != ALSO_WRITES_IN_CHECK_MODE)


@pytest.mark.parametrize("name", NAMES)
def test_examples_and_answers_are_documented(name: str) -> None:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    options = documentation(module).get("options", {})
    examples = yaml.safe_load(module.EXAMPLES)
    assert examples
    for example in examples:
        given = example[f"gym.platform.{name}"] or {}
        assert set(given) <= set(options)
        assert {option for option, record in options.items() if record.get("required")} <= set(given)
    for answer in yaml.safe_load(module.RETURN).values():
        assert {"description", "returned", "type"} <= set(answer)
