"""Render the files of gym.platform.config_files on the controller and send them to the host in one call."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import RecordError, parse_records

# The same as ansible.builtin.template, so that a template means the same in both.
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """The half of config_files that needs the role's files and the task's variables."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the records, turn every body into content, and call the module once."""
        del tmp
        super().run(None, task_vars)
        variables = dict(task_vars or {})
        arguments = dict(self._task.args)
        try:
            # Everything that can be told without the host is told before anything is rendered.
            parse_records(arguments.get("files"))
        except RecordError as error:
            raise AnsibleActionFail(str(error)) from error
        arguments["files"] = [self._with_content(dict(raw), variables) for raw in arguments["files"]]
        result: dict[str, Any] = self._execute_module(
            module_name="gym.platform.config_files", module_args=arguments, task_vars=task_vars
        )
        return result

    def _with_content(self, raw: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        extra = raw.pop("variables", None) or {}
        if (template := raw.pop("template", None)) is not None:
            content = self._render(template, raw["path"], {**variables, **extra}).encode()
        elif (source := raw.pop("source", None)) is not None:
            content = Path(self._find("files", source, raw["path"])).read_bytes()
        elif (text := raw.pop("content", None)) is not None:
            content = text.encode()
        else:
            return raw
        return {**raw, "content_base64": base64.b64encode(content).decode()}

    def _render(self, name: str, path: str, variables: dict[str, Any]) -> str:
        source = self._find("templates", name, path)
        folders = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), str(Path(source).parent)]
        templar = self._templar.copy_with_new_env(
            searchpath=[str(place) for folder in folders for place in (Path(folder, "templates"), folder)],
            available_variables={**variables, **generate_ansible_template_vars(name, source, path)},
        )
        text = trust_as_template(self._loader.get_text_file_contents(source))
        try:
            rendered = templar.template(text, escape_backslashes=False, overrides=OVERRIDES)
        except AnsibleError as error:
            raise AnsibleActionFail(f"Template {name} for {path} cannot be rendered: {error}") from error
        if rendered is None:
            return ""
        if isinstance(rendered, (list, dict)):
            raise AnsibleActionFail(
                f"Template {name} for {path} gives a {'list' if isinstance(rendered, list) else 'dict'} and not text: "
                f"end it with a filter such as to_nice_json, or with a line break."
            )
        return str(rendered)

    def _find(self, folder: str, name: str, path: str) -> str:
        try:
            return str(self._find_needle(folder, name))
        except AnsibleError as error:
            raise AnsibleActionFail(
                f"'{name}' for {path} is not in the role's {folder}/: correct the name, or add the file. {error}"
            ) from error
