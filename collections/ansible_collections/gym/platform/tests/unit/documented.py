"""What a module documents, with what it shares with others."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import yaml

FRAGMENTS = "ansible_collections.gym.platform.plugins.doc_fragments"


def documentation(module: ModuleType) -> dict[str, Any]:
    """Return a module's documentation as Ansible merges it: its own words, and those of the fragments that it names."""
    found: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)
    for named in found.get("extends_documentation_fragment", []):
        _, _, name, *part = named.split(".")
        fragment = importlib.import_module(f"{FRAGMENTS}.{name}").ModuleDocFragment
        shared = yaml.safe_load(getattr(fragment, part[0].upper() if part else "DOCUMENTATION"))
        for section in ("options", "attributes"):
            if section in shared:
                found[section] = {**shared[section], **found.get(section, {})}
    return found
