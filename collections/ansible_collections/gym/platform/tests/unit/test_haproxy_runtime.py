"""The map is the same on disk and in the process, whoever was asked first and whatever was interrupted."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import (
    HaproxyError,
    MapUnknownError,
    NotRunningError,
    Runtime,
    bad_entries,
    parse_map,
    parse_servers,
    render_map,
    unmet,
    wanted_map,
)
from ansible_collections.gym.platform.plugins.modules import haproxy_map

TABLE = (
    "# pxname,svname,qcur,qmax,scur,status,check_status,last_chk,\n"
    "api_blue,app-1,0,0,3,UP,L7OK,,\n"
    "api_blue,app-2,1,0,0,UP 2/3,* L7OK,,\n"
    "api_green,app-1,0,0,0,DOWN,L4CON,Connection refused,\n"
    "api_green,app-2,0,0,0,UP,INI,,\n"
    "api_green,BACKEND,0,0,9,UP,,,\n"
)


class FakeHaproxy:
    """Speaks the runtime API of HAProxy 2.6 for one map, on a real socket."""

    def __init__(self, socket_path: Path, map_path: Path) -> None:
        self.entries: dict[str, str] = {}
        self.commands: list[str] = []
        self.known = True
        self.refuse = ""
        self._map = str(map_path)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(socket_path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                command = connection.makefile().readline().strip()
                self.commands.append(command)
                connection.sendall(self._answer(command).encode())

    def _answer(self, command: str) -> str:
        words = command.split()
        if words[:2] == ["show", "stat"]:
            return TABLE + "\n"
        if words[2] != self._map or not self.known:
            return "Unknown map identifier. Please use #<id> or <file>.\n\n"
        if words[0] == "show":
            lines = (f"0x55{index:04x} {k} {v}\n" for index, (k, v) in enumerate(self.entries.items()))
            return "".join(lines) + "\n"
        if self.refuse:
            return f"{self.refuse}\n"
        if words[0] == "del":
            del self.entries[words[3]]
        elif words[0] == "set" and words[3] not in self.entries:
            return "entry not found.\n\n"
        else:
            self.entries[words[3]] = words[4]
        return "\n"

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def haproxy(place: Path) -> Iterator[FakeHaproxy]:
    fake = FakeHaproxy(place / "socket", place / "maps" / "colours.map")
    yield fake
    fake.close()


def run(place: Path, capsys: pytest.CaptureFixture[str], check: bool = False, **options: Any) -> dict[str, Any]:
    """Call the module as Ansible does, and return what it prints."""
    arguments = {"path": str(place / "maps/colours.map"), "socket": str(place / "socket"), **options}
    with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        basic._ANSIBLE_PROFILE = "legacy"
        haproxy_map.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def file_of(place: Path) -> str:
    return (place / "maps/colours.map").read_text()


def test_a_new_service_gets_its_default_in_both_places(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(place, capsys, defaults={"api": 0})
    assert first["changed"] and first["running"] and first["problem"] == ""
    assert file_of(place) == "api 0\n"
    assert haproxy.entries == {"api": "0"}
    assert run(place, capsys, defaults={"api": 0})["changed"] is False


def test_a_default_never_takes_back_what_a_release_has_set(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, capsys, entries={"api": 100})
    answer = run(place, capsys, defaults={"api": 0, "shop": 0})
    assert answer["entries"] == {"api": "100", "shop": "0"}
    assert haproxy.entries == {"api": "100", "shop": "0"}


def test_a_crash_between_file_and_process_is_repaired(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, capsys, entries={"api": 0})
    (place / "maps/colours.map").write_text("api 100\n")
    assert run(place, capsys)["changed"] is True
    assert haproxy.entries == {"api": "100"}


def test_a_value_set_by_hand_in_the_process_is_seen_and_put_right(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, capsys, entries={"api": 0})
    haproxy.entries["api"] = "50"
    haproxy.entries["stranger"] = "1"
    answer = run(place, capsys, entries={"api": 0})
    assert [part["before"] for part in answer["diff"]] == ["api 0\n", "api 50\nstranger 1\n"]
    assert haproxy.entries == {"api": "0"}


def test_check_mode_writes_nowhere(place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(place, capsys, check=True, entries={"api": 100})
    assert answer["changed"] is True
    assert not (place / "maps").exists()
    assert [command.split()[0] for command in haproxy.commands] == ["show"]


def test_without_a_process_the_file_is_kept_for_its_start(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(place, capsys, entries={"api": 100})
    assert answer["running"] is False
    assert file_of(place) == "api 100\n"


def test_a_process_that_does_not_know_the_map_may_get_defaults_but_no_switch(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    haproxy.known = False
    assert run(place, capsys, defaults={"api": 0})["changed"] is True
    answer = run(place, capsys, entries={"api": 100})
    assert answer["failed"] and "apply the role haproxy first" in answer["problem"]
    assert file_of(place) == "api 0\n"


def test_a_refused_command_is_told_in_the_words_of_haproxy(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    haproxy.refuse = "Permission denied"
    answer = run(place, capsys, entries={"api": 100})
    assert answer["failed"] and "Permission denied" in answer["problem"]


@pytest.mark.parametrize(("key", "value"), [("a b", "1"), ("", "1"), ("#a", "1"), ("a", "1;shutdown"), ("a", "1\n2")])
def test_words_that_would_be_two_commands_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    assert bad_entries({key: value})
    answer = run(place, capsys, entries={key: value})
    assert answer["failed"] and "single words" in answer["msg"]
    assert not (place / "maps").exists()


def test_a_map_file_is_read_as_haproxy_reads_it() -> None:
    assert parse_map("# a comment\n\n api   10 \napi 90\nshop 5\n") == {"api": "10", "shop": "5"}
    assert parse_map(render_map({"b": "2", "a": "1"})) == {"a": "1", "b": "2"}


def test_entries_win_over_what_is_there_and_that_over_defaults() -> None:
    assert wanted_map({"a": "1", "b": "1"}, {"a": "2"}, {"b": "3", "c": "3"}) == {"a": "2", "b": "1", "c": "3"}


def test_servers_are_read_without_the_sums() -> None:
    servers = {(server.backend, server.name): server for server in parse_servers(TABLE)}
    assert len(servers) == 4
    assert servers["api_blue", "app-1"].open_requests == 3
    assert [name for name, server in servers.items() if server.up] == [("api_blue", "app-1"), ("api_blue", "app-2")]


def test_a_server_that_was_never_checked_is_not_up() -> None:
    problem = unmet(parse_servers(TABLE), ["api_green"], "up")
    assert "api_green/app-1 is DOWN (L4CON Connection refused)" in problem
    assert "api_green/app-2" in problem
    assert unmet(parse_servers(TABLE), ["api_blue"], "up") == ""


def test_open_and_queued_requests_keep_a_backend_from_being_drained() -> None:
    problem = unmet(parse_servers(TABLE), ["api_blue"], "drained")
    assert "api_blue/app-1 still has 3" in problem
    assert "api_blue/app-2 still has 1" in problem
    assert unmet(parse_servers(TABLE), ["api_green"], "drained") == ""


def test_a_backend_that_does_not_exist_never_fulfils_anything() -> None:
    assert unmet(parse_servers(TABLE), ["nothing"], "drained") == "HAProxy has no backend nothing"


def test_errors_have_their_own_kinds(place: Path, haproxy: FakeHaproxy) -> None:
    with pytest.raises(NotRunningError):
        Runtime(str(place / "nothing")).ask("show info")
    with pytest.raises(MapUnknownError):
        Runtime(str(place / "socket")).read_map("/other.map")
    with pytest.raises(HaproxyError, match="did not answer a table"):
        parse_servers("Unknown command")
