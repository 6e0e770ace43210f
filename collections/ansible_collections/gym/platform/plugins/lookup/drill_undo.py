"""How what a drill has done is taken back, as its book notes it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: drill_undo
short_description: How what a drill has done is taken back
description:
  - Reads what M(gym.platform.drill_step) has noted, for a drill that has failed in the middle, and for one that was
    killed.
options:
  _terms:
    description: What the names of the drill's files begin with.
    required: true
author: [Gym Platform]
"""

EXAMPLES = r"""
- name: Show what would take it back
  ansible.builtin.debug:
    msg: "{{ lookup('gym.platform.drill_undo', 'reports/development/dr_drill/20260101T000000Z').run }}"
"""

RETURN = r"""
_raw:
  description: For each drill the command C(run), the C(host) and the C(directory); all are there, and C(run) is empty
    when nothing has to be taken back.
  type: list
  elements: dict
"""

import dataclasses
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.gym.platform.plugins.module_utils.drill_book import Book
from ansible_collections.gym.platform.plugins.module_utils.drill_note import Undo


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no type information
    """The lookup."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return the undo of each drill."""
        notes = [Book(Path(term)).note for term in terms]
        return [dataclasses.asdict(note.undo if note and note.undo else Undo()) for note in notes]
