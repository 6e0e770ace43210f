"""The platform that `make up` has brought up."""

from __future__ import annotations

import pytest

from tests.end_to_end.platform_access import Gym, open_gym


@pytest.fixture(scope="session")
def gym() -> Gym:
    return open_gym()
