"""What a runbook tells a person to do is what the drill of the same disaster does, command by command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROOT, load

ROLE = ROOT / "roles" / "dr_drill"
PAGES = ROOT / "docs" / "runbooks"
STEP = "gym.platform.drill_step"
# The drill of each page; what the other pages do is what the tests of a role do.
DRILLS = {
    "leader-lost": "failover",
    "cache-lost": "cache",
    "database-restored": "restore",
    "bad-statement": "corruption",
    "object-store-lost": "object_store",
    "region-lost": "region",
}
ENVIRONMENT = "ansible-playbook -i inventories/<environment>"
CONSTANTS = load(ROLE / "vars" / "main.yml")
# What is put in; all else is only known when the drill runs.
SAID = {
    "dr_drill_environment": "<environment>",
    "dr_drill_region.environment": "<environment>-dr",
    "dr_drill_cluster": "gym",
    "dr_drill_restored.port": "5433",
    "dr_drill_playbook": ENVIRONMENT,
    "__dr_drill_playbook_there": f"{ENVIRONMENT}-dr",
    "__dr_drill_healthy": f"{ENVIRONMENT} playbooks/status.yml",
    # A drill has a place of its own, where it is in nobody's way; a person takes the usual one.
    "__dr_drill_restore": f"{ENVIRONMENT} playbooks/restore.yml",
    "__dr_drill_forget": CONSTANTS["__dr_drill_forget"],
    "__dr_drill_look": CONSTANTS["__dr_drill_look"],
    "__dr_drill_find_wal": CONSTANTS["__dr_drill_find_wal"],
    "__dr_drill_cache_status": CONSTANTS["__dr_drill_cache_status"],
}
# What only a drill does: preparing the disaster, causing it, and taking it away.
DISASTER = ("the disaster", "")
CAUSES = ("dr_drill_power", "__dr_drill_region_", "__dr_drill_store.")


def expanded(text: str, said: Mapping[str, str] = SAID) -> str:
    """Put in what a page says, and leave a gap for what is only known when the drill runs."""

    def value(found: re.Match[str]) -> str:
        return expanded(said.get(found[1].strip(), "<>"), said)

    return re.sub(r"\{\{(.*?)\}\}", value, text)


def is_for_people(step: Mapping[str, Any]) -> bool:
    """Tell whether a step is a part of the runbook."""
    return not any(cause in step["run"] for cause in CAUSES)


def steps(file: str, said: Mapping[str, str] = SAID) -> Iterator[tuple[str, str]]:
    """Go through name and command of the steps of a drill, without what one that failed clears away."""
    for task in load(ROLE / "tasks" / file):
        yield from steps_of(task, said)


def steps_of(task: Mapping[str, Any], said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Go through the steps of a task: those of a block, of a file that it takes in, or itself."""
    said = {**said, **{name: value for name, value in (task.get("vars") or {}).items() if isinstance(value, str)}}
    for section in ("block", "always"):
        for one in task.get(section, []):
            yield from steps_of(one, said)
    for module in ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks"):
        if module in task:
            yield from steps(task[module], said)
    if STEP in task and task[STEP].get("disaster"):
        yield DISASTER
    elif STEP in task and is_for_people(task[STEP]):
        yield task["name"], gaps(expanded(task[STEP]["run"], said))


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
    done = done[done.index(DISASTER) + 1 :]
    assert len(done) >= 3
    assert list(told(PAGES / f"{page}.md")) == done


def test_pages_name_playbooks_and_variables_that_there_are() -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").rglob("*.yml"))
    known += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "group_vars/all/wiring").glob("*.yml"))
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"playbooks/(\w+\.yml)", text):
            assert (ROOT / "playbooks" / name).is_file(), f"{page.name} names {name}"
        for name in re.findall(r"-e (\w+)=", text):
            assert re.search(rf"\b{name}\b", known), f"{page.name} names {name}"
