"""What the modules for AWS document is what they take."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml
from ansible_collections.gym.platform.tests.unit.documented import documentation

MODULES = (
    "aws_backup",
    "aws_bucket_copy",
    "aws_cost",
    "aws_prices",
    "aws_rds_promote",
    "aws_rds_restore",
    "aws_rds_restore_plan",
    "aws_rds_snapshot_copy",
    "aws_rds_takeover",
    "aws_savings",
    "aws_stand_in",
)
PLACE = "ansible_collections.gym.platform.plugins.modules"


class SpecificationError(Exception):
    """Carries what a module told Ansible about its options."""

    def __init__(self, **told: Any) -> None:
        self.told = told


def specification(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    module = importlib.import_module(f"{PLACE}.{name}")

    def tell(**told: Any) -> None:
        raise SpecificationError(**told)

    monkeypatch.setattr(module, "AnsibleModule", tell)
    with pytest.raises(SpecificationError) as found:
        module.main()
    return module, found.value.told


def compared(documented: dict[str, Any]) -> dict[str, Any]:
    """Leave what a specification says too."""
    keys = ("type", "required", "default", "choices", "elements")
    found = {key: documented[key] for key in keys if key in documented}
    children = documented.get("suboptions") or documented.get("options")
    return {**found, **({"options": {n: compared(o) for n, o in children.items()}} if children else {})}


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_options_are_the_real_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, told = specification(name, monkeypatch)
    documented = documentation(module)
    assert documented["module"] == name
    assert {n: compared(o) for n, o in documented["options"].items()} == {
        n: compared(o) for n, o in told["argument_spec"].items()
    }
    supported = documented["attributes"]["check_mode"]["support"] == "full"
    assert told["supports_check_mode"] is supported is True


@pytest.mark.parametrize("name", MODULES)
def test_examples_and_answers_are_documented(name: str) -> None:
    module = importlib.import_module(f"{PLACE}.{name}")
    options = documentation(module)["options"]
    examples = yaml.safe_load(module.EXAMPLES)
    assert examples
    for example in examples:
        given = example[f"gym.platform.{name}"]
        assert set(given) <= set(options)
        assert {option for option, record in options.items() if record.get("required")} <= set(given)
    for answer in yaml.safe_load(module.RETURN).values():
        assert {"description", "returned", "type"} <= set(answer)
