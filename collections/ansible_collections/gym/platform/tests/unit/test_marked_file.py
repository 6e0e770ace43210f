"""Of two who replace the same version of a file, one does; the other hears of it."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.gym.platform.plugins.modules import marked_file
from module_runs import answer

TWO_AT_ONCE = """
import sys
from pathlib import Path
from ansible_collections.gym.platform.plugins.modules.marked_file import mark_of, read, swap
path, mark, mine = Path(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
print(mark_of(swap(path, mine, mark)) == mark)
"""


def asked(path: Path, text: str | None = None, **options: Any) -> dict[str, Any]:
    content = {} if text is None else {"content": base64.b64encode(text.encode()).decode()}
    return answer(marked_file.main, path=str(path), **content, **options)


def text_of(found: dict[str, Any]) -> str:
    return base64.b64decode(found["content"]).decode()


def test_a_file_is_made_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "document.json"
    nothing = asked(path)
    assert (text_of(nothing), nothing["mark"], path.parent.exists()) == ("", "", False)
    first = asked(path, "one", mark="")
    assert (first["written"], first["changed"]) == (True, True)
    assert (text_of(asked(path)), asked(path)["mark"]) == ("one", first["mark"])
    second = asked(path, "two", mark=first["mark"])
    assert second["written"]
    assert text_of(second) == "one"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_version_that_is_not_the_marked_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    first = asked(path, "one", mark="")
    late = asked(path, "late", mark="")
    assert (late["written"], late["changed"], late["mark"]) == (False, False, first["mark"])
    assert path.read_text() == "one"


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "document.json"
    assert asked(path, "one", mark="", check=True)["written"]
    assert not path.parent.exists()


def test_of_many_at_once_exactly_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    mark = asked(path, "one", mark="")["mark"]
    command = [sys.executable, "-c", TWO_AT_ONCE, str(path), mark]
    writers = [
        subprocess.Popen([*command, f"writer {number}"], stdout=subprocess.PIPE, text=True) for number in range(6)
    ]
    said = [writer.communicate()[0].strip() for writer in writers]
    assert said.count("True") == 1
    assert path.read_text() == f"writer {said.index('True')}"
