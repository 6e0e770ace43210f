"""A record that cannot be meant is refused in one sentence: the bad value, what is legal, the fix."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gym.platform.plugins.module_utils.config_file_records import (
    Record,
    RecordError,
    parse_record,
    parse_records,
)

FILE: dict[str, Any] = {"path": "/etc/demo.conf", "content": "x"}


def test_defaults_are_the_documented_ones() -> None:
    assert parse_record({"path": "/etc/demo.conf", "content_base64": "eA=="}, 1) == Record(
        path="/etc/demo.conf", state="file", owner="root", group="root", mode=0o644, content=b"x", target="",
        validate=(), units=(), reload=False, sensitive=False,
    )  # fmt: skip
    assert parse_record({"path": "/etc/demo", "state": "directory"}, 1).mode == 0o755


def test_a_command_is_split_into_words_as_a_shell_would_but_never_given_to_one() -> None:
    record = parse_record({**FILE, "validate": "check --name='a b' %s; reboot"}, 1)
    assert record.validate == ("check", "--name=a b", "%s;", "reboot")


def test_a_key_that_is_left_empty_counts_as_left_out() -> None:
    assert parse_record({**FILE, "template": None, "mode": None}, 1).mode == 0o644


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"content": "x"}, "Record 3 of `files` has no `path`: add the absolute path"),
        ("just text", "Record 3 of `files` is 'just text'; it must be a mapping"),
        ({**FILE, "path": "etc/demo.conf"}, "The path 'etc/demo.conf' is not absolute: begin it with '/'."),
        ({**FILE, "path": "/etc/../root/x"}, "The path '/etc/../root/x' has '.', '..' or '//' in it"),
        ({**FILE, "path": "/"}, "or is the root"),
        ({**FILE, "ownr": "root"}, "/etc/demo.conf: unknown key 'ownr'. Did you mean 'owner'? Legal keys: content, "),
        ({**FILE, "state": "fil"}, "state 'fil' is not one of file, directory, absent, link. Did you mean 'file'?"),
        ({"path": "/a"}, "exactly one of `template`, `content` and `source`; it has none."),
        ({**FILE, "template": "t.j2"}, "it has `template` and `content`."),
        ({**FILE, "state": "absent"}, "`content` means nothing with `state: absent`; remove one of the two."),
        (
            {**FILE, "content": {"a": 1}},
            "`content` is a dict; it must be text (a filter such as to_nice_json makes it).",
        ),
        ({"path": "/a", "state": "link"}, "`target` belongs to `state: link`, and only there; the state is 'link'."),
        ({**FILE, "target": "/b"}, "`target` belongs to `state: link`, and only there; the state is 'file'."),
        ({**FILE, "mode": 416}, "mode '416' is not legal: write four octal digits in quotes, as in \"0640\"."),
        ({**FILE, "mode": "0888"}, "mode '0888' is not legal"),
        ({**FILE, "mode": "u=rw"}, "mode 'u=rw' is not legal"),
        ({**FILE, "validate": "check it"}, "the validate command 'check it' has no '%s'"),
        ({**FILE, "validate": "check '%s"}, "cannot be read: No closing quotation"),
        ({"path": "/a", "state": "directory", "validate": "x %s"}, "`validate` means nothing with `state: directory`"),
        ({**FILE, "units": "ssh.service"}, "`units` is 'ssh.service'; it must be a list of unit names."),
        ({**FILE, "units": ["ssh"]}, "'ssh' is not the full name of a unit: end it with one of .service, .socket"),
        ({**FILE, "units": ["../../etc/x.service"]}, "'../../etc/x.service' is not the full name of a unit"),
        ({**FILE, "reload": "later"}, "`reload` is 'later'; it must be true or false."),
        ({**FILE, "variables": {"a": 1}}, "`variables` mean something only beside `template`; remove them."),
        ({"path": "/a", "template": "t", "variables": [1]}, "`variables` is '[1]'; it must be a mapping"),
        ({"path": "/a", "content_base64": "%%"}, "`content_base64` is not base64"),
    ],
)
def test_a_bad_record_is_refused_in_one_sentence(raw: object, said: str) -> None:
    with pytest.raises(RecordError) as refused:
        parse_record(raw, 3)
    assert said in str(refused.value)


def test_a_path_may_be_listed_once() -> None:
    with pytest.raises(RecordError, match=r"The path /etc/demo\.conf is listed twice in `files`: keep one"):
        parse_records([FILE, {"path": "/etc/demo.conf/", "state": "absent"}])


@pytest.mark.parametrize("raw", [None, [], "text", {"path": "/a"}])
def test_files_must_be_a_list(raw: object) -> None:
    with pytest.raises(RecordError, match="`files` must be a list of at least one record"):
        parse_records(raw)
