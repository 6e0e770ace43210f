"""What all proofs have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print past pytest: what was measured is wanted of proofs that hold."""

    def show(sentence: str) -> None:
        with capsys.disabled():
            print(f"\n    {sentence}")

    return show
