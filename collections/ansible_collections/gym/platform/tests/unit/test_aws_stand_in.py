"""What a region lacks before it can take over: each kind is told, and an old backup is one only for who chose none."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_stand_in import Found, Wanted, missing, window

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WANTED = Wanted(["gym/production/signing_key"], ["copy-of-assets"], "gym/production/gym-api", "1.0", 3600)
FOUND = Found(WANTED.secrets, ["copy-of-assets", "others"], ["1.1", "1.0"], NOW - 24 * HOUR, NOW - 5 * MINUTE)


def lacking(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    asked, there = dataclasses.replace(WANTED, **wanted), dataclasses.replace(FOUND, **found)
    return " ".join(missing(asked, there, "eu-central-1", NOW))


def test_a_region_with_all_copies_lacks_nothing() -> None:
    assert lacking({}, {}) == ""


@pytest.mark.parametrize(
    ("wanted", "found", "complaint"),
    [
        ({}, {"secrets": []}, "has no copy of the secrets gym/production/signing_key"),
        ({}, {"buckets": ["others"]}, "has no copy of the buckets copy-of-assets"),
        ({}, {"tags": None}, "has no copy of the images gym/production/gym-api"),
        ({"version": "9.9"}, {}, "has no image 9.9 in gym/production/gym-api; the newest there are 1.1, 1.0."),
        ({"version": "9.9"}, {"tags": []}, "the newest there are none."),
        ({}, {"latest": None}, "has no replicated backups of the database"),
        (
            {},
            {"latest": NOW - 2 * HOUR},
            "end at 2030-01-31T10:00:00Z, 7200 s ago, and at most 3600 s are allowed (backup.rpo_minutes); an"
            " evacuation takes over with what there is by -e evacuate_to=2030-01-31T10:00:00Z.",
        ),
        (
            {"to": NOW},
            {},
            "evacuate_to is 2030-01-31T12:00:00Z, and eu-central-1 has replicated backups of the database from"
            " 2030-01-30T12:00:00Z to 2030-01-31T11:55:00Z: choose a moment of these.",
        ),
        ({"to": NOW - 25 * HOUR}, {}, "choose a moment of these."),
    ],
)
def test_what_is_missing_is_told(wanted: dict[str, Any], found: dict[str, Any], complaint: str) -> None:
    assert complaint in lacking(wanted, found)


def test_a_moment_that_somebody_has_chosen_is_taken_however_long_ago_it_is() -> None:
    assert lacking({"to": NOW - 2 * HOUR}, {"latest": NOW - 2 * HOUR}) == ""


def test_nothing_is_released_where_no_version_is_wanted() -> None:
    assert lacking({"version": ""}, {"tags": None}) == ""


def test_all_instances_can_be_restored_where_their_windows_overlap() -> None:
    first, last = (NOW - 9 * HOUR, NOW - HOUR), (NOW - 8 * HOUR, NOW)
    assert window([first, last]) == (NOW - 8 * HOUR, NOW - HOUR)
    assert window([first, (None, NOW)]) == (NOW - 9 * HOUR, NOW - HOUR)


@pytest.mark.parametrize("backups", [[], [None], [(NOW - HOUR, NOW), None], [(NOW - HOUR, None)]])
def test_without_backups_of_all_instances_nothing_can_be_restored(backups: list[Any]) -> None:
    assert window(backups) == (None, None)
