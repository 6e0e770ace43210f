"""The program by which a Redis host finds out who the primary is."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[6] / "roles" / "redis" / "files" / "redis_node.py"
A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
POLICY = {"sessions": ("session:", 100), "rate_limit": ("rate:", 10)}
WISH = "port 0\nsentinel monitor gym-cache 192.0.2.1 6379 2\nsentinel auth-user gym-cache sentinel\n"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redis_node", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules["redis_node"] = module
    spec.loader.exec_module(module)
    return module


node: Any = load()


def settings(**changes: Any) -> Any:
    values = {
        "mode": "sentinel", "primary_name": "gym-cache", "address": A, "port": 6379, "sentinel_port": 26379,
        "nodes": (A, B), "sentinels": (A, B, C), "ca_file": "/nowhere", "user": "node", "password": "x",
        "ttl_policy": POLICY,
    }  # fmt: skip
    return node.Settings(**{**values, **changes})


def sentinel(address: str, epoch: int = 0) -> Any:
    return node.SentinelAnswer(address, epoch, failing_over=False)


def peer(address: str, primary: str, offset: int = 0) -> Any:
    role = "master" if address == primary else "slave"
    return node.NodeAnswer(address, role, primary, link_up=True, loading=False, offset=offset)


@pytest.mark.parametrize(
    ("sentinels", "peers", "remembered", "expected"),
    [
        # The first start of all.
        ([], [], None, A),
        # A host that was made anew must not become the primary because it stands first.
        ([sentinel(B)], [], None, B),
        ([], [peer(B, B)], None, B),
        # A primary that crashed and comes back after a failover.
        ([sentinel(B, 1)], [peer(B, B)], A, B),
        # One Sentinel has not heard of the failover yet.
        ([sentinel(A, 1), sentinel(B, 2), sentinel(A, 1)], [], A, B),
        # Restarted while the Sentinels are away: the replica still follows it.
        ([], [peer(B, A)], A, A),
        ([], [peer(B, A)], None, A),
        # The whole environment was without power.
        ([], [], B, B),
        # Two primaries: the one that has been written to.
        ([], [peer(B, B, 10), peer(C, C, 5)], None, B),
        # Nobody believes in a host that is not a member any more.
        ([sentinel("192.0.2.9")], [peer(B, "192.0.2.9")], "192.0.2.9", A),
    ],
)
def test_the_primary_is_decided_on_the_best_word_there_is(
    sentinels: list[Any], peers: list[Any], remembered: str | None, expected: str
) -> None:
    assert node.choose_primary((A, B, C), sentinels, peers, remembered)[0] == expected


def test_a_server_replicates_another_one_and_never_itself() -> None:
    assert node.server_configuration("port 0\n", B, settings()).endswith(f"\nreplicaof {B} 6379\n")
    assert "replicaof" not in node.server_configuration("port 0\n", A, settings())
    assert "replicaof" not in node.server_configuration("port 0\n", B, settings(mode="cluster"))


def test_the_last_primary_is_remembered_from_what_ran() -> None:
    assert node.remembered_server_primary(None, settings()) is None
    assert node.remembered_server_primary("port 0\n", settings()) == A
    assert node.remembered_server_primary(f"port 0\nreplicaof {B} 6379\n", settings()) == B


def test_sentinel_keeps_what_it_learnt_and_takes_the_rest_from_the_wish() -> None:
    running = "\n".join(
        [
            f"sentinel monitor gym-cache {B} 6379 1", "sentinel myid abc", "sentinel current-epoch 4",
            "sentinel config-epoch gym-cache 4", "sentinel leader-epoch gym-cache 4",
            f"sentinel known-replica gym-cache {A} 6379", f"sentinel known-sentinel gym-cache {C} 26379 def",
            "sentinel known-sentinel gym-cache 192.0.2.9 26379 gone", "sentinel known-replica gym-cache 192.0.2.9 6379",
            "sentinel auth-pass gym-cache old", "sentinel down-after-milliseconds gym-cache 1",
        ]
    )  # fmt: skip
    text = node.sentinel_configuration(WISH, running, B, settings())
    assert f"sentinel monitor gym-cache {B} 6379 2\n" in text
    for kept in (
        "myid abc",
        "current-epoch 4",
        "config-epoch gym-cache 4",
        f"known-replica gym-cache {A}",
        f"{C} 26379 def",
    ):
        assert kept in text
    for dropped in ("192.0.2.9", "auth-pass", "down-after"):
        assert dropped not in text


def test_sentinel_forgets_epochs_and_replicas_of_another_primary() -> None:
    lines = ["monitor gym-cache 192.0.2.9 6379 2", "config-epoch gym-cache 4", f"known-replica gym-cache {A} 6379"]
    running = "".join(f"sentinel {line}\n" for line in lines)
    text = node.sentinel_configuration(WISH, running, A, settings())
    assert f"sentinel monitor gym-cache {A} 6379 2" in text
    assert "config-epoch" not in text
    assert "known-replica" not in text


def test_the_status_says_who_leads_and_who_follows() -> None:
    nodes = [peer(A, B), peer(B, B)]
    lines, whole = node.replication(settings(), [sentinel(B)] * 3, nodes)
    assert lines == [
        f"primary is {B}, on the word of 3 of 3 Sentinels",
        f"{A} follows {B}, link up",
        f"{B} leads",
    ]
    assert whole


@pytest.mark.parametrize(
    ("votes", "nodes", "line"),
    [
        ([B], [], f"primary is {B}, on the word of 1 of 3 Sentinels"),
        ([], [], "primary is unknown, on the word of 0 of 3 Sentinels"),
        ([B] * 3, [], f"{A} does not answer"),
        ([B] * 3, [("slave", B, False)], f"{A} follows {B}, link down"),
        ([B] * 3, [("master", A, True)], f"{A} leads"),
    ],
)
def test_the_status_is_not_whole_when_one_is_away_or_disagrees(
    votes: list[str], nodes: list[tuple[str, str, bool]], line: str
) -> None:
    primary = peer(B, B)
    answers = [node.NodeAnswer(A, role, follows, up, False, 0) for role, follows, up in nodes]
    lines, whole = node.replication(settings(), [sentinel(address) for address in votes], [primary, *answers])
    assert line in lines
    assert not whole


def test_a_failover_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, True, False, False, False])
    monkeypatch.setattr(
        node, "ask_sentinel", lambda *_: node.SentinelAnswer(B if not (busy := next(answers)) else A, 1, busy)
    )
    monkeypatch.setattr(node.time, "sleep", lambda _: None)
    assert {answer.address for answer in node.ask_sentinels(settings())} == {B}


def test_hosts_that_do_not_answer_are_no_error() -> None:
    unreachable = settings(port=1, sentinel_port=1, ca_file=None, nodes=("127.0.0.1",), sentinels=("127.0.0.1",))
    assert node.ask_sentinel(unreachable, "127.0.0.1") is None
    assert node.ask_node(unreachable, "127.0.0.1") is None


def test_configuration_files_are_replaced_whole_and_are_private(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("old")
    node.replace(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_audit_tells_keys_without_an_end_from_keys_that_live_too_long() -> None:
    lives = [
        ("session:a", 100_000), ("session:b", -1), ("session:c", 100_001), ("rate:a", 9_000), ("rate:b", -2), ("x", 5),
    ]  # fmt: skip
    assert node.audit(POLICY, lives) == {
        "sessions": {"keys": 3, "no_ttl": 1, "too_long": 1},
        "rate_limit": {"keys": 1, "no_ttl": 0, "too_long": 0},
        "unknown": {"keys": 1, "no_ttl": 0, "too_long": 0},
    }
    text = node.metrics(node.audit(POLICY, lives), 12.0)
    assert 'redis_ttl_policy_violations{use="sessions",kind="too_long"} 1\n' in text
    assert text.endswith("redis_ttl_policy_audited_at_seconds 12\n")


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"+OK\r\n", "OK"),
        (b":-2\r\n", -2),
        (b"$5\r\na\r\nbc\r\n", "a\r\nbc"),
        (b"$-1\r\n", None),
        (b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n", ["0", ["k"]]),
    ],
)
def test_answers_are_read_as_redis_writes_them(wire: bytes, expected: object) -> None:
    ours, theirs = socket.socketpair()
    connection = object.__new__(node.Connection)
    connection._socket, connection._stream = ours, ours.makefile("rb")
    threading.Thread(target=theirs.sendall, args=(wire,)).start()
    assert connection.command("PING", "é") == expected
    assert theirs.recv(100) == "*2\r\n$4\r\nPING\r\n$2\r\né\r\n".encode()


@pytest.mark.parametrize(("wire", "error"), [(b"-NOPERM no\r\n", "ReplyError"), (b"+O", "ConnectionError")])
def test_an_answer_that_is_an_error_or_broken_off_is_raised(wire: bytes, error: str) -> None:
    ours, theirs = socket.socketpair()
    connection = object.__new__(node.Connection)
    connection._socket, connection._stream = ours, ours.makefile("rb")
    theirs.sendall(wire)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(Exception) as raised:
        connection.command("PING")
    assert type(raised.value).__name__ == error


class Saving:
    """A Redis that needs two looks for each thing that it writes."""

    def __init__(self, **said: str) -> None:
        self.said = {"rdb_last_bgsave_status": "ok", "aof_last_bgrewrite_status": "ok", **said}
        self.commands: list[str] = []
        self.looks = 0

    def command(self, *words: str) -> str:
        if words[0] != "INFO":
            assert self.looks == 0, "it was still busy"
            self.commands.append(words[0])
            self.looks = 2
            return "started"
        self.looks = max(self.looks - 1, 0)
        busy = {"rdb_bgsave_in_progress": str(self.looks), "aof_rewrite_in_progress": "0", "aof_rewrite_scheduled": "0"}
        return "\r\n".join(f"{key}:{value}" for key, value in {**busy, **self.said}.items())


def test_a_snapshot_is_whole_before_the_log_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.time, "sleep", lambda _: None)
    redis = Saving()
    node.write_files(redis)
    assert redis.commands == ["BGSAVE", "BGREWRITEAOF"]
    assert redis.looks == 0


def test_a_snapshot_that_failed_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.time, "sleep", lambda _: None)
    with pytest.raises(Exception, match="BGSAVE failed"):
        node.write_files(Saving(rdb_last_bgsave_status="err"))


def test_what_is_copied_is_what_the_manifest_names_and_stays_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "appendonlydir"
    log.mkdir()
    (tmp_path / "dump.rdb").write_text("keys")
    (log / "base.2").write_text("base")
    (log / "incr.2").write_text("")
    (log / "base.1").write_text("outdated")
    (log / "appendonly.aof.manifest").write_text("file base.2 seq 2 type b\nfile incr.2 seq 2 type i\n")
    for _ in range(2):
        node.link_files(tmp_path)
    (tmp_path / "dump.rdb").unlink()
    saved = tmp_path / "saved"
    assert (saved / "dump.rdb").read_text() == "keys"
    names = sorted(path.name for path in (saved / "appendonlydir").iterdir())
    assert names == ["appendonly.aof.manifest", "base.2", "incr.2"]
    assert not (tmp_path / "saved.new").exists()
