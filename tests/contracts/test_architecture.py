"""The picture in docs/ is the one that the inventory gives."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.gym.platform.plugins.module_utils import architecture

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "inventories" / "development"


def test_the_picture_is_up_to_date() -> None:
    drawn = architecture.main(str(ENVIRONMENT))
    assert (ROOT / "docs" / "architecture.svg").read_text() == drawn, "run `make picture`"
    for name in ("edge-1", "db-1, db-2, db-3", "cache-1, cache-2", "monitoring-1"):
        assert name in drawn


def test_an_opening_becomes_one_arrow_with_all_its_ports() -> None:
    openings = [
        {"group": "cache", "port": 6379, "from": ["app", "cache"]},
        {"group": "sentinel", "port": 26379, "from": ["app"]},
        {"group": "machines", "port": 22, "from": ["anywhere"]},
    ]
    assert architecture.arrows(openings) == [architecture.Arrow("app", "cache", ("6379", "26379"))]
