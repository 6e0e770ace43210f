"""Run a module in the test's own process, and read what it answers."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

from ansible.module_utils.testing import patch_module_args


def answer(main: Callable[[], None], check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a module with these options and return its answer, also that of a failure."""
    written = io.StringIO()
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with patch_module_args(arguments), contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
        main()
    found: dict[str, Any] = json.loads(written.getvalue().splitlines()[-1])
    return found
