"""The dossier of a release: everything that it can tell, as data and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(story: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write `<UTC time>.json` into the directory, and return what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{str(story['begun']).replace(':', '-')}.json"
    path.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    return [path]
