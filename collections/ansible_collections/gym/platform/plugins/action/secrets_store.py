"""Make the secrets of an environment that do not exist yet, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gym.platform.plugins.module_utils.secret_store import (
    GENERATORS,
    SecretStore,
    SecretStoreError,
    missing,
)

AUTHORITY = "certificate_authority/certificate"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Read what is stored, generate what is missing, write once."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the names that were made. Raises AnsibleActionFail with one sentence."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "generated": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "name": {"type": "str", "required": True},
                        "kind": {"type": "str", "required": True, "choices": list(GENERATORS)},
                    },
                },
            }
        )
        directory = Path(arguments["directory"])
        store = SecretStore(directory)
        try:
            stored = store.read()
            new = missing(arguments["generated"], stored)
            wanted = stored | new
            public = _public_files(directory, wanted)
            if not self._task.check_mode:
                if new:
                    store.write(wanted)
                for path, text in public.items():
                    path.write_text(text)
        except (SecretStoreError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        return {
            "changed": bool(new or public),
            "made": sorted(new),
            "diff": {"before": "\n".join(sorted(stored)) + "\n", "after": "\n".join(sorted(wanted)) + "\n"},
        }


def _public_files(directory: Path, stored: dict[str, str]) -> dict[Path, str]:
    """Return the public files that are not as the store says: people and tools verify servers by the authority."""
    path = directory / "ca.pem"
    text = stored.get(AUTHORITY)
    if text is None or (path.exists() and path.read_text() == text):
        return {}
    return {path: text}
