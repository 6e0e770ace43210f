"""A unit whose own conditions keep it from a host, such as a time server in a container."""

from __future__ import annotations

import pytest
from ansible_collections.gym.platform.plugins.module_utils.unit_states import make_plan, parse_show, parse_units

UNIT = parse_units([{"name": "chrony.service"}])[0]
SHOWN = """\
LoadState=loaded
ActiveState={active}
SubState=dead
UnitFileState=enabled
Type=forking
ConditionResult={result}
ConditionTimestampMonotonic={asked}
"""


@pytest.mark.parametrize(
    ("active", "result", "asked", "restart", "steps"),
    [
        ("inactive", "no", 0, False, ("start",)),  # never asked to start: nobody knows yet
        ("inactive", "no", 4711, False, ()),  # asked, and not meant for this host
        ("inactive", "no", 4711, True, ("restart",)),  # its files changed: ask again
        ("inactive", "yes", 4711, False, ("start",)),  # stopped by a hand
        ("failed", "no", 4711, False, ("start",)),
    ],
)
def test_a_unit_that_is_not_meant_for_a_host_is_asked_once(
    active: str, result: str, asked: int, restart: bool, steps: tuple[str, ...]
) -> None:
    actual = parse_show(SHOWN.format(active=active, result=result, asked=asked), ["chrony.service"])["chrony.service"]
    assert make_plan(UNIT, actual, restart, reload=False).steps == steps
