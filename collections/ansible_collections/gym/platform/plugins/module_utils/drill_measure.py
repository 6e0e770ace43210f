"""Measure a disaster by what its clients were told and by what is there afterwards. Pure; times in seconds."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.gym.platform.plugins.module_utils.drill_journal import Attempt, Marker

# Writes that fail closer together than this belong to one outage: in between the platform was not back yet.
SETTLED_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Outage:
    """From the beginning of the first write that failed to the end of the first good one after the last that did."""

    begun: float
    # None: no write was good again.
    ended: float | None
    failed: int

    @property
    def seconds(self) -> float | None:
        """Return how long it took, None when it did not end."""
        return None if self.ended is None else self.ended - self.begun


@dataclasses.dataclass(frozen=True)
class Tenant:
    """The markers of one tenant: those that have to be there and those of them that are."""

    expected: int
    found: int
    checksum_expected: str
    checksum_found: str

    @property
    def whole(self) -> bool:
        """Tell whether all is there and as it was written."""
        return self.checksum_expected == self.checksum_found


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a drill has shown."""

    # The longest outage; None when writes did not come back.
    rto_seconds: float | None
    # How far back from the disaster acknowledged markers are missing.
    rpo_seconds: float
    rows_expected: int
    rows_found: int
    # Numbers of acknowledged markers that are missing or not as they were written.
    lost: list[int]
    # Numbers of markers that are there and should not be: written after the moment, or by nobody.
    surplus: list[int]
    # Markers that are there although their client was told nothing, which is right.
    unacknowledged: int
    longest_gap_seconds: float
    outages: list[Outage]
    tenants: dict[str, Tenant]


def outages(attempts: Iterable[Attempt]) -> list[Outage]:
    """Return the times in which writes failed, in order."""
    attempts = sorted(attempts, key=lambda attempt: attempt.begun)
    good = [attempt for attempt in attempts if attempt.acknowledged]
    begins = [attempt.begun for attempt in good]
    # The first end of all that began at this place or later.
    ends: list[float] = []
    for attempt in reversed(good):
        ends.append(min(attempt.ended, ends[-1]) if ends else attempt.ended)
    ends.reverse()

    def good_again(after: float) -> float | None:
        place = bisect.bisect_left(begins, after)
        return ends[place] if place < len(ends) else None

    found: list[Outage] = []
    for attempt in attempts:
        if attempt.acknowledged:
            continue
        ended = good_again(attempt.begun)
        last = found[-1] if found else None
        if last and (last.ended is None or attempt.begun <= last.ended + SETTLED_SECONDS):
            found[-1] = Outage(last.begun, ended, last.failed + 1)
        else:
            found.append(Outage(attempt.begun, ended, 1))
    return found


def longest_gap(attempts: Iterable[Attempt]) -> float:
    """Return the longest time in which nothing was acknowledged, among the first and the last acknowledgement."""
    ends = sorted(attempt.ended for attempt in attempts if attempt.acknowledged)
    return max((later - earlier for earlier, later in itertools.pairwise(ends)), default=0.0)


def checksum(markers: Iterable[Marker]) -> str:
    """Return the SHA-256 of markers by their numbers, in hexadecimal digits."""
    digest = hashlib.sha256()
    for marker in sorted(markers, key=lambda marker: marker.number):
        digest.update(f"{marker.number} {marker.tenant} {marker.payload}\n".encode())
    return digest.hexdigest()


def measure(
    attempts: Sequence[Attempt], found: Sequence[Marker], disaster: float, until: float | None = None
) -> Measurement:
    """Compare what clients were told with what is there.

    `disaster` is when it happened. With `until`, what was acknowledged until then has to be there and what was begun
    later must not be: that is a restoration to a moment. Without, all that was acknowledged has to be there.
    """
    limit = float("inf") if until is None else until
    expected = {one.number: one for one in attempts if one.acknowledged and one.ended <= limit}
    allowed = {one.number: one for one in attempts if one.begun <= limit}
    there = {marker.number: marker for marker in found}
    intact = {number: there[number] for number, one in expected.items() if there.get(number) == one.marker}
    lost = sorted(set(expected) - set(intact))
    surplus = sorted(
        number for number, marker in there.items() if number not in allowed or allowed[number].marker != marker
    )
    interrupted = outages(attempts)
    seconds = [outage.seconds for outage in interrupted]
    whole = [length for length in seconds if length is not None]
    return Measurement(
        rto_seconds=None if len(whole) < len(seconds) else max(whole, default=0.0),
        rpo_seconds=_reach(disaster, [expected[number].ended for number in lost]),
        rows_expected=len(expected),
        rows_found=len(intact),
        lost=lost,
        surplus=surplus,
        unacknowledged=len(set(there) - set(expected) - set(surplus)),
        longest_gap_seconds=longest_gap(attempts),
        outages=interrupted,
        tenants=_by_tenant(expected, intact),
    )


def _reach(disaster: float, lost: Sequence[float]) -> float:
    """Return how far back from the disaster, or from the last loss after it, the first loss is."""
    return max(disaster, *lost) - min(lost) if lost else 0.0


def _by_tenant(expected: Mapping[int, Attempt], intact: Mapping[int, Marker]) -> dict[str, Tenant]:
    tenants: dict[str, Tenant] = {}
    for name in sorted({one.tenant for one in expected.values()}):
        wanted = [one.marker for one in expected.values() if one.tenant == name]
        kept = [marker for marker in intact.values() if marker.tenant == name]
        tenants[name] = Tenant(len(wanted), len(kept), checksum(wanted), checksum(kept))
    return tenants
