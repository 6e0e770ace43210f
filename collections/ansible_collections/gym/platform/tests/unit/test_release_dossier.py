"""The dossier tells everything, and nothing that is said in it can become a page of somebody else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_dossier import drawing, page, write

STORY: dict[str, Any] = {
    "kind": "release",
    "who": "jo@controller.example.com (process 1)",
    "begun": "2026-01-01T00:00:00Z",
    "release": {"version": "2", "digest": "sha256:2", "configuration": "c2"},
    "previous": {"version": "1", "digest": "sha256:1", "configuration": "c1"},
    "colour": "green",
    "target": "docker",
    "result": "rolled back",
    "exit_status": 3,
    "sentence": "Version 2 was rolled back.",
    "steps": [
        {
            "action": "shift",
            "colour": "green",
            "share": 10,
            "time": "2026-01-01T00:00:10Z",
            "seconds": 0.25,
            "outcome": "done",
            "detail": "<script>alert(1)</script>",
        }
    ],
    "judgements": [
        {
            "share": 10,
            "outcome": "roll_back",
            "reason": "The new colour fails more than the old one",
            "new": {"requests": 34, "errors": 7, "p50_seconds": 0.01, "p95_seconds": None},
            "old": {"requests": 319, "errors": 0, "p50_seconds": 0.01, "p95_seconds": 0.2},
            "rules": {"outcome": "undecided", "reason": "34 requests of 100"},
            "path": [
                {"at": 0.0, "statistic": 0.0, "requests": 3, "errors": 0},
                {"at": 1.0, "statistic": 6.9, "requests": 34, "errors": 7},
            ],
            "upper": 6.9,
            "lower": -4.6,
        }
    ],
    "way_back_seconds": 0.5,
    "seconds": 20.0,
}


def test_both_files_are_written_and_the_data_is_the_story(tmp_path: Path) -> None:
    data, shown = write(STORY, tmp_path / "reports")
    assert json.loads(data.read_text()) == STORY
    assert (data.name, shown.name) == ("2026-01-01T00-00-00Z.json", "2026-01-01T00-00-00Z.html")
    assert shown.read_text() == page(STORY)


def test_the_page_tells_who_what_when_and_why() -> None:
    text = page(STORY)
    for part in ("jo@controller.example.com", "sha256:2", "rolled back", "shift green", "20.59%", "34 requests of 100"):
        assert part in text, part
    assert "<script>" not in text
    assert "http" not in text.replace("http://www.w3.org", ""), "it needs nothing from elsewhere"


def test_the_path_is_drawn_from_its_first_reading_to_its_last() -> None:
    picture = drawing(STORY["judgements"][0]["path"], 6.9, -4.6)
    assert picture.count("<polyline") == 3
    assert "34 requests, 7 errors" in picture
    assert drawing(STORY["judgements"][0]["path"][:1], 6.9, -4.6) == ""
