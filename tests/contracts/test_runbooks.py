"""What a runbook tells a person to do is what the drill of the same disaster does, command by command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROOT, load

ROLE = ROOT / "roles" / "dr_drill"
PAGES = ROOT / "docs" / "runbooks"
STEP = "gym.platform.drill_step"
# The drill of each page. Pages of what no drill practises are not here, and have no numbered steps.
DRILLS = {
    "leader-lost": "failover",
    "cache-lost": "cache",
    "database-restored": "restore",
    "corruption": "corruption",
    "object-store-lost": "object_store",
}
CONSTANTS = load(ROLE / "vars" / "main.yml")
# What is put in; all else is only known when the drill runs.
SAID = {
    "dr_drill_playbook": "ansible-playbook -i inventories/<environment>",
    "dr_drill_status": "ansible-playbook -i inventories/<environment> playbooks/status.yml",
    "dr_drill_cluster": "gym",
    "__dr_drill_cache_status": CONSTANTS["__dr_drill_cache_status"],
    "__dr_drill_check": CONSTANTS["__dr_drill_check"].replace("{{ dr_drill_cluster }}", "gym"),
}


def expanded(text: str) -> str:
    """Put in what a page says, and leave a gap for what is only known when the drill runs."""
    return re.sub(r"\{\{(.*?)\}\}", lambda found: SAID.get(found[1].strip(), "<>"), text)


def is_for_people(step: dict[str, Any]) -> bool:
    """Tell whether a step is a part of the runbook: not what causes the disaster or takes it away."""
    return not step.get("disaster") and "dr_drill_power" not in step["run"]


def steps(file: str) -> Iterator[tuple[str, str]]:
    """Go through name and command of the steps of a drill, without what one that failed clears away."""
    for task in load(ROLE / "tasks" / file):
        yield from steps_of(task)


def steps_of(task: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Go through the steps of a task: those of a block, of a file that it imports, or itself."""
    for section in ("block", "always"):
        for one in task.get(section, []):
            yield from steps_of(one)
    if file := task.get("ansible.builtin.import_tasks"):
        yield from steps(file)
    if STEP in task and is_for_people(task[STEP]):
        yield task["name"], gaps(expanded(task[STEP]["run"]))


def gaps(command: str) -> str:
    """Make all names that are put in the same, and all blanks."""
    return " ".join(re.sub(r"<[^<>]*>", "<>", command.replace("<environment>", "ENVIRONMENT")).split())


def told(page: Path) -> Iterator[tuple[str, str]]:
    """Go through the numbered steps of a page: what stands in bold, and the command below it."""
    for text in re.split(r"^\d+\. ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = re.match(r"\*\*(.+?)\*\*", text, re.DOTALL)
        lines = [line.strip() for line in text.splitlines() if line.startswith(" " * 7)]
        assert title, f"{page.name}: a step without a title in bold: {text[:60]}"
        yield " ".join(title[1].split()).rstrip("."), gaps(" ".join(lines))


def test_every_page_is_listed_and_every_drill_has_a_page() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    listed = set(re.findall(r"\]\(([\w-]+)\.md\)", (PAGES / "README.md").read_text(encoding="utf-8")))
    assert listed == pages
    scenarios = load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]["dr_drill_scenario"]
    assert set(DRILLS.values()) == set(scenarios["choices"])
    assert set(DRILLS) <= pages


@pytest.mark.parametrize(("page", "scenario"), DRILLS.items())
def test_a_page_has_the_steps_of_its_drill(page: str, scenario: str) -> None:
    done = list(steps(f"{scenario}.yml"))
    assert len(done) >= 3
    assert list(told(PAGES / f"{page}.md")) == done
