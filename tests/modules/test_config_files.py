"""config_files as a playbook uses it: rendered here, sent in one call, and plain about mistakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.modules.playing import Ansible, Outcome, Task


class Files:
    """A playbook's folder with templates/ and files/, and a host whose root is another folder."""

    def __init__(self, ansible: Ansible) -> None:
        self.ansible = ansible
        self.root = ansible.folder / "root"
        for name in ("templates", "files", "root"):
            (ansible.folder / name).mkdir()

    def template(self, name: str, text: str) -> None:
        (self.ansible.folder / "templates" / name).write_text(text)

    def task(self, *records: dict[str, Any], **more: Any) -> Task:
        mine = {"owner": str(os.getuid()), "group": str(os.getgid())}
        files = []
        for record in records:
            path = record["path"] if record["path"].startswith("/") else str(self.root / record["path"])
            files.append({**mine, **record, "path": path})
        places = {
            "pending_directory": str(self.ansible.folder / "run"),
            "record": str(self.ansible.folder / "record.json"),
            "backup_directory": str(self.ansible.folder / "backups"),
        }
        return {"gym.platform.config_files": {"files": files, **places}, **more}

    def play(self, *records: dict[str, Any], options: tuple[str, ...] = (), **variables: Any) -> Outcome:
        return self.ansible.play(self.task(*records), variables=variables, options=options)


@pytest.fixture
def files(local: Ansible) -> Files:
    return Files(local)


def test_all_sources_in_one_call_and_nothing_the_second_time(files: Files) -> None:
    files.template(
        "a.conf.j2",
        "# {{ template_path | basename }}\n{% for port in ports %}\nlisten {{ port }} {{ name }}\n{% endfor %}\n"
        "{% include 'part.j2' %}\n",
    )
    files.template("part.j2", "part of {{ name }}\n")
    (files.ansible.folder / "files" / "raw").write_bytes(b"{{ not rendered }}\xff\n")
    records: list[dict[str, Any]] = [
        {"path": "a.conf", "template": "a.conf.j2", "variables": {"name": "one"}, "units": ["a.service"]},
        {"path": "b.conf", "template": "a.conf.j2", "units": ["b.service"], "reload": True},
        {"path": "raw", "source": "raw"},
        {"path": "text", "content": "grüße {{ name }}"},
        {"path": "link", "state": "link", "target": "text"},
    ]
    task = files.task(*records)
    outcome = files.ansible.play(task, task, variables={"ports": "{{ base }}", "base": [80, 443], "name": "all"})
    first, second = outcome.results
    assert first["changed_files"] == [str(files.root / record["path"]) for record in records]
    assert (first["restart"], first["reload"]) == (["a.service"], ["b.service"])
    assert (files.root / "a.conf").read_text() == "# a.conf.j2\nlisten 80 one\nlisten 443 one\npart of one\n"
    assert (files.root / "b.conf").read_text() == "# a.conf.j2\nlisten 80 all\nlisten 443 all\npart of all\n"
    assert (files.root / "raw").read_bytes() == b"{{ not rendered }}\xff\n"
    assert (files.root / "text").read_text() == "grüße all"
    markers = files.ansible.folder / "run"
    assert {str(path.relative_to(markers)) for path in markers.rglob("*.service")} == {
        "restart/a.service",
        "reload/b.service",
    }
    assert (second["changed"], second["changed_files"], second["restart"]) == (False, [], [])


def test_a_plan_shows_everything_and_touches_nothing(files: Files) -> None:
    (files.root / "a").write_text("old\n")
    outcome = files.play(
        {"path": "a", "content": "new\n", "units": ["a.service"]},
        {"path": "b/c", "content": "new\n", "owner": "not-there-yet", "validate": "not-there-yet %s"},
        options=("--check", "--diff"),
    )
    assert outcome.last["changed"] is True
    assert outcome.last["restart"] == ["a.service"]
    shown = outcome.last["diff"][0]
    assert (shown["before"], shown["after"], shown["before_header"]) == ("old\n", "new\n", str(files.root / "a"))
    assert sorted(path.name for path in files.root.iterdir()) == ["a"]
    assert (files.root / "a").read_text() == "old\n"
    assert not (files.ansible.folder / "run").exists()
    assert not (files.ansible.folder / "record.json").exists()


def test_a_sensitive_content_is_nowhere_in_the_output(files: Files) -> None:
    (files.root / "a").write_text("old-hunter2\n")
    files.template("a.j2", "password = {{ password }}\n")
    outcome = files.play(
        {"path": "a", "template": "a.j2", "sensitive": True}, options=("--diff", "-vvvv"), password="new-hunter2"
    )
    assert (files.root / "a").read_text() == "password = new-hunter2\n"
    assert "hunter2" not in outcome.output
    assert "cGFzc3dvcmQgPS" not in outcome.output  # base64 of it


def test_a_file_that_was_changed_by_hand_is_kept(files: Files) -> None:
    record = {"path": "a", "content": "ours\n"}
    files.play(record)
    (files.root / "a").write_text("by hand\n")
    [kept] = files.play(record).last["backups"]
    assert Path(kept).read_text() == "by hand\n"
    assert files.play({"path": "a", "content": "newer\n"}).last["backups"] == []


def test_a_refused_file_changes_nothing_and_says_why(files: Files) -> None:
    (files.root / "a").write_text("old\n")
    outcome = files.play(
        {"path": "a", "content": "new\n", "units": ["a.service"]},
        {"path": "b", "content": "bad\n", "validate": "grep good %s"},
    )
    assert outcome.last["failed"] is True
    assert "b is not valid, so nothing was changed: `grep good %s` exited with 1" in outcome.last["msg"]
    assert (files.root / "a").read_text() == "old\n"
    assert [path.name for path in files.root.iterdir()] == ["a"]


def test_mistakes_are_told_on_the_controller(files: Files) -> None:
    files.template("undefined.j2", "{{ known }} {{ unkown_name }}\n")
    files.template("syntax.j2", "{% if %}\n")
    files.template("list.j2", "{{ [1, 2] }}")
    cases = {
        "undefined.j2": ("Template undefined.j2 for /etc/x cannot be rendered", "'unkown_name' is undefined"),
        "syntax.j2": ("Template syntax.j2 for /etc/x cannot be rendered", ""),
        "list.j2": ("Template list.j2 for /etc/x gives a list and not text", "to_nice_json"),
        "none.j2": ("'none.j2' for /etc/x is not in the role's templates/", "correct the name"),
    }
    tasks = [files.task({"path": "/etc/x", "template": name}) for name in cases]
    tasks.append(files.task({"path": "/etc/x", "source": "none"}))
    tasks.append(files.task({"path": "/etc/x", "content": {"a": 1}}))
    tasks.append(files.task({"path": "/etc/x", "content": "x", "mode": 416}))
    tasks.append(files.task({"path": "/etc/x", "content": "x", "owner": "rooot"}))
    outcome = files.ansible.play(*tasks, variables={"known": 1})
    messages = [result["msg"] for result in outcome.results]
    for message, said in zip(messages, cases.values(), strict=False):
        assert said[0] in message
        assert said[1] in message
    assert "'none' for /etc/x is not in the role's files/" in messages[4]
    assert "`content` is a dict; it must be text" in messages[5]
    assert "mode '416' is not legal: write four octal digits in quotes" in messages[6]
    assert "Owner 'rooot' of /etc/x does not exist on this host. Did you mean 'root'?" in messages[7]
    assert all(result["failed"] for result in outcome.results)
