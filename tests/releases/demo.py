"""`make release-demo`: a good release under load, then a bad one that takes itself back, and what clients noticed."""

from __future__ import annotations

import sys
import tempfile
import uuid
from pathlib import Path

from tests.releases.releasing import Done, release
from tests.releases.traffic import traffic
from tests.releases.variants import Registry

RATE = 50.0
# One request in five fails: what a person would notice at once, and what the test has to notice before.
ERROR_RATE = 0.2
ROLLED_BACK = 3


def told(what: str, done: Done, report: dict[str, object]) -> str:
    """Say in two lines how a release went."""
    return (
        f"{what}: {done.sentence}\n"
        f"    {report['requests']} requests, {report['failed']} failed {report['failed_by_version'] or ''};"
        f" {done.story.get('seconds', 0):.0f} s, exit status {done.status}; dossier: {done.dossier}"
    )


def main() -> int:
    """Release twice, and end with 0 only if both went as they should."""
    registry = Registry()
    mark = uuid.uuid4().hex[:6]
    good = registry.variant(f"demo-good-{mark}", {})
    bad = registry.variant(f"demo-bad-{mark}", {"FAULT_ERROR_RATE": str(ERROR_RATE)})
    with tempfile.TemporaryDirectory() as place:
        print(f"{RATE:.0f} requests/s from a process of its own. Releasing {good} ...", flush=True)
        with traffic(Path(place) / "good.json", RATE) as running:
            first = release(good)
        first_report = running.report()
        print(told("The good one", first, first_report), f"\nReleasing {bad} ...", flush=True)
        with traffic(Path(place) / "bad.json", RATE) as running:
            second = release(bad)
        second_report = running.report()
        print(told("The bad one", second, second_report))
        back = second.story.get("way_back_seconds")
        print(f"    from the decision until the old version had all requests again: {back} s")
    as_it_should = (
        first.status == 0
        and first_report["failed"] == 0
        and good in first_report["by_version"]
        and second.status == ROLLED_BACK
        and set(second_report["failed_by_version"]) <= {bad}
    )
    print("Both went as they should." if as_it_should else "That is not how it should go.")
    return 0 if as_it_should else 1


if __name__ == "__main__":
    sys.exit(main())
