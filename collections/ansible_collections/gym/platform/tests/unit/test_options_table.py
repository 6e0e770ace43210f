"""The table of options in a README is what the argument specification says."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils.options_table import (
    BEGIN,
    END,
    MarkerError,
    current,
    main,
    options_table,
    rewrite,
)

SPECIFICATION = """
argument_specs:
  main:
    short_description: A role
    options:
      x_port: {type: int, default: 5, description: The port of C(x(1\\)).}
      x_kind: {type: str, required: true, choices: [a, b], description: "What | which."}
      x_list:
        type: list
        elements: dict
        default: []
        description: [Records., Several.]
        options:
          name: {type: str, required: true, description: A name.}
"""


def role(directory: Path, readme: str) -> Path:
    (directory / "x/meta").mkdir(parents=True)
    (directory / "x/meta/argument_specs.yml").write_text(SPECIFICATION.replace("(1\\)", ""))
    (directory / "x/README.md").write_text(readme)
    return directory / "x"


def test_every_option_is_a_row(tmp_path: Path) -> None:
    main_role = role(tmp_path, f"# x\n\n{BEGIN}\nold\n{END}\nafter\n")
    _, wanted = current(main_role)
    assert wanted.splitlines()[2:-1] == [
        BEGIN,
        "| Option | Type | Default | Description |",
        "| --- | --- | --- | --- |",
        "| `x_port` | int | `5` | The port of `x`. |",
        "| `x_kind` | str | *required* | What \\| which. One of `a`, `b`. |",
        "| `x_list` | list of dict | `[]` | Records. Several. |",
        "| `x_list[].name` | str | *required* | A name. |",
        END,
    ]
    assert wanted.endswith(f"{END}\nafter\n")


def test_writing_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role(tmp_path, f"{BEGIN}\n{END}\n")
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == "x/README.md\n"
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_one_role_without_a_page_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (role(tmp_path, f"{BEGIN}\n{END}\n").parent / "a/meta").mkdir(parents=True)
    (tmp_path / "a/meta/argument_specs.yml").write_text(SPECIFICATION.replace("(1\\)", ""))
    assert main(tmp_path) == 1
    assert capsys.readouterr() == ("x/README.md\n", "a/README.md is missing\n")


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarkerError, match=r"x/README\.md"):
        current(role(tmp_path, "# x\n"))
    with pytest.raises(MarkerError):
        rewrite(f"{BEGIN}\n", "table")


def test_a_role_without_options_says_so() -> None:
    assert options_table({"argument_specs": {"main": {}}}) == "This role has no options."
