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
from ansible_collections.gym.platform.plugins.module_utils import haproxy_runtime
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_atomically
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import (
    HaproxyError,
    MapUnknownError,
    NotRunningError,
    Runtime,
    bad_entries,
    parse_map,
    parse_older,
    parse_servers,
    render_map,
    unmet,
    wanted_map,
)
from ansible_collections.gym.platform.plugins.modules import haproxy_map, haproxy_servers

TABLE = (
    "# pxname,svname,qcur,qmax,scur,status,check_status,last_chk,\n"
    "api_blue,app-1,0,0,3,UP,L7OK,,\n"
    "api_blue,app-2,1,0,0,UP 2/3,* L7OK,,\n"
    "api_green,app-1,0,0,0,DOWN,L4CON,Connection refused,\n"
    "api_green,app-2,0,0,0,UP,INI,,\n"
    "api_green,BACKEND,0,0,9,UP,,,\n"
)


class FakeHaproxy:
    """Speaks the runtime API of HAProxy 2.6 and its master for one map, on a real socket."""

    def __init__(self, socket_path: Path, map_path: Path) -> None:
        self.entries: dict[str, str] = {}
        # The numbers of the processes that a reload has left.
        self.older: list[int] = []
        self.commands: list[str] = []
        self.known = True
        self.refuse = ""
        # How many connections are closed without an answer.
        self.deaf = 0
        self._socket, self._map = socket_path, str(map_path)
        self.open()

    def open(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self._socket))
        self._server.listen()
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                command = connection.makefile().read().strip()
                if self.deaf:
                    self.deaf -= 1
                    continue
                self.commands.append(command)
                connection.sendall(self._answer(command).encode())

    def _answer(self, command: str) -> str:
        if command == "show proc":
            older = "".join(f"{number:<15} worker          1\n" for number in self.older)
            header = f"#<PID>          <type>          <reloads>\n{'1':<15} master          1\n"
            return f"{header}# workers\n{'99':<15} worker          0\n# old workers\n{older}# programs\n\n"
        process, *words = command.split()
        assert process == "@1", "the master itself knows no maps and servers"
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
        # A thread that waits in accept() would keep the socket open.
        self._server.shutdown(socket.SHUT_RDWR)
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
    assert {command.removeprefix("@1 ").split()[0] for command in haproxy.commands} == {"show"}


def test_without_a_process_the_file_is_kept_for_its_start(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(place, capsys, entries={"api": 100})
    assert answer["running"] is False
    assert file_of(place) == "api 100\n"


def test_a_process_that_has_read_the_file_just_before_it_was_written_is_told_all_of_it(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, capsys, entries={"api": 50, "shop": 50})
    haproxy.entries["api"] = "100"

    def reload_meanwhile(path: Path, text: str) -> None:
        haproxy.entries = {"api": "50", "shop": "50"}
        write_atomically(path, text)

    monkeypatch.setattr(haproxy_map, "write_atomically", reload_meanwhile)
    run(place, capsys, entries={"api": 100, "shop": 100})
    assert haproxy.entries == {"api": "100", "shop": "100"}


def test_a_master_that_reloads_is_waited_for(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, capsys, entries={"api": 50})
    haproxy.close()
    threading.Timer(0.5, haproxy.open).start()
    haproxy.deaf = 1
    assert run(place, capsys, entries={"api": 100})["running"] is True
    assert haproxy.entries == {"api": "100"}


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


def test_nothing_is_drained_while_an_older_process_sees_its_connections_out(
    place: Path, haproxy: FakeHaproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    def wait(until: str) -> str:
        arguments = {"socket": str(place / "socket"), "backends": ["api_green"], "until": until, "timeout": 0}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            basic._ANSIBLE_PROFILE = "legacy"
            haproxy_servers.main()
        return str(json.loads(capsys.readouterr().out)["problem"])

    haproxy.older = [77, 78]
    assert "2 older HAProxy process(es) still see connections out" in wait("drained")
    assert "older" not in wait("up")
    haproxy.older = []
    assert wait("drained") == ""


def test_older_processes_are_those_that_a_reload_has_left() -> None:
    # As HAProxy 2.6.12 answers after a reload that failed, and after one that did not.
    head = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
    master = "26000           master          1 [failed: 1]   0d00h00m07s     2.6.12-1+deb12u3\n"
    worker = "26018           worker          1               0d00h00m07s     2.6.12-1+deb12u3\n"
    assert parse_older(f"{head}{master}# workers\n{worker}# programs\n\n") == []
    assert parse_older(f"{head}{master}# workers\n{worker}# old workers\n{worker}# programs\n\n") == [26018]
    with pytest.raises(HaproxyError, match="did not answer a table"):
        parse_older("Permission denied")


def test_only_the_servers_that_are_named_are_waited_for() -> None:
    servers = parse_servers(TABLE)
    assert (
        unmet(servers, ["api_blue"], "drained", names=["app-2"]) == "api_blue/app-2 still has 1 open or queued requests"
    )
    assert unmet(servers, ["api_green"], "up", names=["app-3"]) == "HAProxy has no backend api_green with app-3"


def test_a_backend_that_does_not_exist_never_fulfils_anything() -> None:
    assert unmet(parse_servers(TABLE), ["nothing"], "drained") == "HAProxy has no backend nothing"


def test_errors_have_their_own_kinds(place: Path, haproxy: FakeHaproxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRunningError):
        Runtime(str(place / "nothing")).ask("show info")
    monkeypatch.setattr(haproxy_runtime, "ANSWER_TIMEOUT_SECONDS", 0.3)
    (dead := FakeHaproxy(place / "dead", place)).close()
    with pytest.raises(NotRunningError):
        Runtime(str(place / "dead")).ask("show info")
    assert dead.commands == []
    with pytest.raises(MapUnknownError):
        Runtime(str(place / "socket")).read_map("/other.map")
    with pytest.raises(HaproxyError, match="did not answer a table"):
        parse_servers("Unknown command")
