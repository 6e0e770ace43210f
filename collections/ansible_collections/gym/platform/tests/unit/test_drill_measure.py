"""What a disaster cost is computed from what clients were told, and never to the platform's advantage."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, Marker
from ansible_collections.gym.platform.plugins.module_utils.drill_measure import (
    Outage,
    checksum,
    longest_gap,
    measure,
    outages,
)

TENANTS = ("north-gym", "south-gym")
ERROR = "OperationalError: the connection was closed"


def attempt(number: int, begun: float, ended: float = 0.0, error: str = "") -> Attempt:
    return Attempt(number, TENANTS[number % 2], f"payload-{number}", begun, ended or begun + 0.01, error)


def steady(first: int, count: int, begun: float) -> list[Attempt]:
    """Return writes that are acknowledged, one every 0.1 s."""
    return [attempt(first + step, begun + step / 10) for step in range(count)]


def failing(first: int, count: int, begun: float) -> list[Attempt]:
    return [dataclasses.replace(one, error=ERROR) for one in steady(first, count, begun)]


def markers(attempts: list[Attempt]) -> list[Marker]:
    return [one.marker for one in attempts if one.acknowledged]


# Good for ten seconds, failing for twenty, good again.
JOURNAL = [*steady(0, 100, 0), *failing(100, 200, 10), *steady(300, 100, 30)]


def test_an_outage_lasts_from_the_first_failed_write_to_the_first_good_one() -> None:
    assert outages(JOURNAL) == [Outage(10.0, pytest.approx(30.01), 200)]
    assert measure(JOURNAL, markers(JOURNAL), 10.0).rto_seconds == pytest.approx(20.01)
    assert longest_gap(JOURNAL) == pytest.approx(20.1)


def test_without_a_failed_write_there_is_no_outage() -> None:
    journal = steady(0, 50, 0)
    found = measure(journal, markers(journal), 1.0)
    assert (found.rto_seconds, found.rpo_seconds, found.outages) == (0.0, 0.0, [])


def test_a_good_write_among_failing_ones_does_not_end_an_outage() -> None:
    journal = [*steady(0, 10, 0), *failing(10, 50, 1), attempt(60, 6.0), *failing(61, 50, 6.1), *steady(200, 50, 11.1)]
    assert outages(journal) == [Outage(1.0, pytest.approx(11.11), 100)]


def test_what_fails_after_a_time_of_good_writes_is_another_outage() -> None:
    journal = [*failing(0, 10, 0), *steady(10, 100, 1), *failing(200, 30, 11), *steady(300, 10, 14)]
    assert [outage.seconds for outage in outages(journal)] == pytest.approx([1.01, 3.01])
    assert measure(journal, markers(journal), 0.0).rto_seconds == pytest.approx(3.01)


def test_a_write_that_hangs_over_the_end_of_an_outage_does_not_make_it_longer() -> None:
    hanging = attempt(10, 1.0, 25.0, ERROR)
    journal = [*steady(0, 10, 0), hanging, *failing(11, 10, 1.1), *steady(50, 100, 21)]
    assert outages(journal) == [Outage(1.0, pytest.approx(21.01), 11)]


def test_a_write_that_was_sent_before_and_is_acknowledged_late_ends_no_outage() -> None:
    journal = [attempt(0, 0.0, 2.0), attempt(1, 1.0, 1.5, ERROR), attempt(2, 5.0)]
    assert outages(journal) == [Outage(1.0, pytest.approx(5.01), 1)]


def test_writes_that_never_come_back_have_no_recovery_time() -> None:
    journal = [*steady(0, 10, 0), *failing(10, 10, 1)]
    assert outages(journal) == [Outage(1.0, None, 10)]
    assert measure(journal, markers(journal), 1.0).rto_seconds is None


def test_all_that_was_acknowledged_is_expected_and_what_was_not_may_be_there() -> None:
    there = [*markers(JOURNAL), JOURNAL[150].marker]
    found = measure(JOURNAL, there, 10.0)
    assert (found.rows_expected, found.rows_found, found.lost, found.surplus) == (200, 200, [], [])
    assert found.unacknowledged == 1


def test_lost_markers_tell_how_far_back_the_loss_reaches() -> None:
    there = [marker for marker in markers(JOURNAL) if not 70 <= marker.number < 100]
    found = measure(JOURNAL, there, 10.0)
    assert found.lost == list(range(70, 100))
    assert (found.rows_expected, found.rows_found) == (200, 170)
    assert found.rpo_seconds == pytest.approx(10.0 - 7.01)


def test_a_loss_after_the_disaster_is_a_loss() -> None:
    there = [marker for marker in markers(JOURNAL) if marker.number not in (300, 310)]
    assert measure(JOURNAL, there, 10.0).rpo_seconds == pytest.approx(1.0)


def test_a_marker_that_is_not_as_it_was_written_is_lost_and_too_many() -> None:
    there = markers(JOURNAL)
    there[5] = dataclasses.replace(there[5], payload="something else")
    found = measure(JOURNAL, there, 10.0)
    assert (found.lost, found.surplus) == ([5], [5])


def test_a_marker_that_nobody_wrote_is_too_many() -> None:
    found = measure(JOURNAL, [*markers(JOURNAL), Marker(9999, TENANTS[0], "from another drill")], 10.0)
    assert found.surplus == [9999]


def test_restored_to_a_moment_means_all_from_before_and_none_from_after() -> None:
    moment = 5.005
    before = [one for one in JOURNAL if one.ended <= moment]
    open_then = JOURNAL[50]
    assert open_then.begun <= moment < open_then.ended
    whole = measure(JOURNAL, [*markers(before), open_then.marker], moment, moment)
    assert (whole.rows_expected, whole.rows_found, whole.surplus) == (50, 50, [])
    found = measure(JOURNAL, [*markers(before[:-10]), JOURNAL[60].marker], moment, moment)
    assert (len(found.lost), found.surplus) == (10, [60])
    assert found.rpo_seconds == pytest.approx(moment - 4.01)


def test_checksums_tell_whose_markers_are_not_whole() -> None:
    there = [marker for marker in markers(JOURNAL) if marker.number != 8]
    north, south = (measure(JOURNAL, there, 10.0).tenants[name] for name in TENANTS)
    assert (north.expected, north.found, north.whole) == (100, 99, False)
    assert (south.expected, south.found, south.whole) == (100, 100, True)
    assert checksum(reversed(there)) == checksum(there) != checksum(there[1:])
