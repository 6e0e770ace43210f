"""What the listing of dpkg-query says is missing."""

from __future__ import annotations

import pytest
from ansible_collections.gym.platform.plugins.action.packages import missing


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("ii \tcurl\nii \tjq\n", []),
        ("hi \tcurl\nii \tjq\n", []),  # held, and installed
        ("ii \tcurl\n", ["jq"]),  # dpkg-query says nothing of what it has never heard of
        ("rc \tcurl\nii \tjq\n", ["curl"]),  # removed, its configuration left
        ("un \tcurl\nii \tjq\n", ["curl"]),
        ("iU \tcurl\niF \tjq\n", ["curl", "jq"]),  # an interrupted installation
        ("iiR\tcurl\nii \tjq\n", ["curl"]),  # to be installed anew
        ("", ["curl", "jq"]),
        ("dpkg-query: error: no such thing\n", ["curl", "jq"]),
    ],
)
def test_only_what_is_installed_whole_is_not_missing(listing: str, expected: list[str]) -> None:
    assert missing(["curl", "jq"], listing) == expected
