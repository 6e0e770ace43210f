#!/usr/bin/python3
"""What a Redis host has to find out for itself: who is the primary now, am I ready, do all keys keep their policy.

Ansible writes wishes under /etc/redis and never says who the primary is, because that changes without Ansible. Each
start of Redis or Sentinel builds the configuration that really runs, under /var/lib/redis, from the wish and from what
the Sentinels and the other nodes answer. So a run of Ansible never undoes a failover, and a node that comes back after
one starts as a replica instead of as a second primary. And where files are to be copied, it has Redis write them first.

Only the standard library: it must start before anything else on the host does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/redis/node.json")
WISHES = Path("/etc/redis")
RUNNING = Path("/var/lib/redis")
# Only for the bytes of one answer: a host that is down must not hold up the start of another one.
TIMEOUT_SECONDS = 2.0
# Longer than a failover takes, which is bounded by Sentinel's own failover-timeout.
FAILOVER_WAIT_SECONDS = 20.0
SCAN_BATCH = 1000
# A snapshot of the largest memory that a host has, on a slow disk.
SAVE_WAIT_SECONDS = 600.0
SAVE_POLL_SECONDS = 0.2
# Lines that Sentinel itself learns and writes; all others are Ansible's.
LEARNT = re.compile(
    r"^sentinel (?P<word>myid|current-epoch|config-epoch|leader-epoch|known-replica|known-sentinel)"
    r"(?P<rest> .*)$"
)
MONITOR = re.compile(r"^sentinel monitor (?P<name>\S+) (?P<address>\S+) (?P<tail>\d+ \d+)$", re.MULTILINE)
REPLICAOF = re.compile(r"^replicaof (?P<address>\S+) \d+$", re.MULTILINE)


class ReplyError(Exception):
    """Redis answered with an error."""


@dataclass(frozen=True)
class Settings:
    """What Ansible tells the host: the members, and the helper's own narrow user."""

    mode: str
    primary_name: str
    address: str
    port: int
    sentinel_port: int
    nodes: tuple[str, ...]
    sentinels: tuple[str, ...]
    ca_file: str
    user: str
    password: str
    ttl_policy: Mapping[str, tuple[str, int]]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the settings that Ansible wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        policy = {use["name"]: (use["prefix"], use["ttl_seconds"]) for use in data.pop("uses")}
        members = {key: tuple(data.pop(key)) for key in ("nodes", "sentinels")}
        return cls(**{**data, **members}, ttl_policy=policy)


@dataclass(frozen=True)
class SentinelAnswer:
    """What one Sentinel says about the primary."""

    address: str
    config_epoch: int
    failing_over: bool


@dataclass(frozen=True)
class NodeAnswer:
    """What one Redis node says about itself."""

    address: str
    role: str
    primary: str
    link_up: bool
    loading: bool
    offset: int


class Connection:
    """One TLS connection that speaks Redis's protocol."""

    def __init__(self, settings: Settings, address: str, port: int) -> None:
        """Connect, verify the certificate and log in."""
        context = ssl.create_default_context(cafile=settings.ca_file)
        raw = socket.create_connection((address, port), TIMEOUT_SECONDS)
        self._socket = context.wrap_socket(raw, server_hostname=address)
        self._stream = self._socket.makefile("rb")
        self.command("AUTH", settings.user, settings.password)

    def __enter__(self) -> Connection:
        """Begin a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._stream.close()
        self._socket.close()

    def command(self, *words: str) -> Any:
        """Send one command and return its answer."""
        return self.pipeline([words])[0]

    def pipeline(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Send several commands in one go and return their answers."""
        self._socket.sendall(b"".join(encode(words) for words in commands))
        return [self._read() for _ in commands]

    def _read(self) -> Any:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed in the middle of an answer")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._stream.read(int(rest) + 2)[:-2].decode(errors="surrogateescape")
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        raise ReplyError(f"unknown kind of answer: {line!r}")


def encode(words: Sequence[str]) -> bytes:
    """Write a command in Redis's protocol."""
    parts = [word.encode(errors="surrogateescape") for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def ask_sentinel(settings: Settings, address: str) -> SentinelAnswer | None:
    """Ask one Sentinel who the primary is; None when it does not answer or does not know."""
    try:
        with Connection(settings, address, settings.sentinel_port) as sentinel:
            reply = sentinel.command("SENTINEL", "MASTER", settings.primary_name)
    except (OSError, ReplyError):
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return SentinelAnswer(fields["ip"], int(fields["config-epoch"]), "failover_in_progress" in fields["flags"])


def ask_node(settings: Settings, address: str) -> NodeAnswer | None:
    """Ask one Redis node for its part in the replication; None when it does not answer."""
    try:
        with Connection(settings, address, settings.port) as node:
            text = "\r\n".join(node.command("INFO", section) for section in ("replication", "persistence"))
    except (OSError, ReplyError):
        return None
    fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    return NodeAnswer(
        address=address,
        role=fields["role"],
        primary=fields.get("master_host", address),
        link_up=fields.get("master_link_status", "up") == "up",
        loading=fields["loading"] != "0",
        offset=int(fields["master_repl_offset"]),
    )


def ask_sentinels(settings: Settings) -> list[SentinelAnswer]:
    """Ask all Sentinels, and again while one of them is in the middle of a failover."""
    deadline = time.monotonic() + FAILOVER_WAIT_SECONDS
    while True:
        answers = [answer for address in settings.sentinels if (answer := ask_sentinel(settings, address))]
        if not any(answer.failing_over for answer in answers) or time.monotonic() > deadline:
            return answers
        time.sleep(0.5)


def choose_primary(
    nodes: Sequence[str], sentinels: Iterable[SentinelAnswer], peers: Iterable[NodeAnswer], remembered: str | None
) -> tuple[str, str]:
    """Decide who the primary is, and say on whose word: the Sentinels', the peers', our memory's, or nobody's yet.

    The first node of the list is the primary only where nobody knows of any: that is the first start of all.
    An address that is not a member any more is not believed, whoever says it.
    """
    votes = [answer for answer in sentinels if answer.address in nodes]
    if votes:
        return max(votes, key=lambda answer: answer.config_epoch).address, "the Sentinels"
    known = [peer for peer in peers if peer.primary in nodes]
    primaries = [peer for peer in known if peer.role == "master"]
    if primaries:
        return max(primaries, key=lambda peer: peer.offset).address, "a peer that is the primary"
    if known:
        return max(known, key=lambda peer: peer.offset).primary, "a peer that replicates"
    if remembered in nodes and remembered is not None:
        return remembered, "the last configuration that ran here"
    return nodes[0], "nobody: the first start of all"


def find_primary(settings: Settings, remembered: str | None) -> str:
    """Ask everybody, decide, and leave a line in the journal that says why."""
    peers = (ask_node(settings, address) for address in settings.nodes if address != settings.address)
    address, source = choose_primary(
        settings.nodes, ask_sentinels(settings), [peer for peer in peers if peer], remembered
    )
    print(f"primary is {address}, on the word of {source}")
    return address


def server_configuration(wish: str, primary: str, settings: Settings) -> str:
    """The configuration that Redis runs with: the wish, and whom it replicates."""
    if settings.mode == "cluster" or primary == settings.address:
        return wish
    return f"{wish}\nreplicaof {primary} {settings.port}\n"


def remembered_server_primary(running: str | None, settings: Settings) -> str | None:
    """Whom the last running configuration of this Redis followed; itself when it was the primary."""
    if running is None:
        return None
    found = REPLICAOF.search(running)
    return found["address"] if found else settings.address


def sentinel_configuration(wish: str, running: str, primary: str, settings: Settings) -> str:
    """The configuration that Sentinel runs with: the wish, the primary, and what it has learnt about members."""
    monitored = MONITOR.search(running)
    same_primary = monitored is not None and monitored["address"] == primary
    text = MONITOR.sub(lambda found: f"sentinel monitor {found['name']} {primary} {found['tail']}", wish)
    return text + "".join(f"{line}\n" for line in _learnt(running, primary, same_primary, settings))


def _learnt(running: str, primary: str, same_primary: bool, settings: Settings) -> Iterator[str]:
    for line in running.splitlines():
        found = LEARNT.match(line)
        if found is None:
            continue
        word, values = found["word"], found["rest"].split()
        if word == "known-replica" and (values[1] not in settings.nodes or values[1] == primary):
            continue
        if word == "known-sentinel" and values[1] not in settings.sentinels:
            continue
        # An epoch is a statement about one primary: about another one it would be a lie.
        if word in ("config-epoch", "leader-epoch") and not same_primary:
            continue
        yield line


def replace(path: Path, text: str) -> None:
    """Write a file in one step, readable by Redis alone: it holds passwords."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _existing(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def prepare_server(settings: Settings) -> int:
    """Build the configuration that Redis is about to start with."""
    path = RUNNING / "redis.conf"
    primary = settings.address
    if settings.mode == "sentinel":
        primary = find_primary(settings, remembered_server_primary(_existing(path), settings))
    replace(path, server_configuration((WISHES / "redis.conf").read_text(), primary, settings))
    return 0


def prepare_sentinel(settings: Settings) -> int:
    """Build the configuration that Sentinel is about to start with."""
    path = RUNNING / "sentinel.conf"
    running = _existing(path) or ""
    monitored = MONITOR.search(running)
    remembered = monitored["address"] if monitored and monitored["address"] in settings.nodes else None
    # A Sentinel that knows a primary keeps it: if it is outdated, the others tell it by their higher epoch.
    primary = remembered or find_primary(settings, None)
    replace(path, sentinel_configuration((WISHES / "sentinel.conf").read_text(), running, primary, settings))
    return 0


def server_ready(settings: Settings) -> int:
    """Succeed when Redis has loaded its data and, as a replica, has caught up with its primary."""
    node = ask_node(settings, settings.address)
    return 0 if node and not node.loading and node.link_up else 1


def sentinel_ready(settings: Settings) -> int:
    """Succeed when Sentinel knows a primary."""
    return 0 if ask_sentinel(settings, settings.address) else 1


def use_of(key: str, policy: Mapping[str, tuple[str, int]]) -> str | None:
    """The use that a key belongs to, by its prefix."""
    return next((name for name, (prefix, _) in policy.items() if key.startswith(prefix)), None)


def audit(policy: Mapping[str, tuple[str, int]], lives: Iterable[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """Count keys by use: all of them, those that would live for ever, those that live longer than their policy.

    A life is what PTTL answers: milliseconds, -1 for a key that never expires, -2 for one that just has.
    """
    counts = {name: {"keys": 0, "no_ttl": 0, "too_long": 0} for name in [*policy, "unknown"]}
    for key, milliseconds in lives:
        if milliseconds == -2:
            continue
        name = use_of(key, policy)
        count = counts[name or "unknown"]
        count["keys"] += 1
        if milliseconds == -1:
            count["no_ttl"] += 1
        elif name is not None and milliseconds > policy[name][1] * 1000:
            count["too_long"] += 1
    return counts


def lives(connection: Connection) -> Iterator[tuple[str, int]]:
    """Every key of this node with the milliseconds that it still has to live."""
    cursor = "0"
    while True:
        cursor, keys = connection.command("SCAN", cursor, "COUNT", str(SCAN_BATCH))
        yield from zip(keys, connection.pipeline([("PTTL", key) for key in keys]), strict=True)
        if cursor == "0":
            return


def persistence(connection: Connection) -> dict[str, str]:
    """What Redis says about its files."""
    lines = connection.command("INFO", "persistence").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def at_rest(connection: Connection) -> dict[str, str]:
    """Wait until Redis writes neither a snapshot nor its log anew, and return what it says then."""
    deadline = time.monotonic() + SAVE_WAIT_SECONDS
    busy = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    while any((fields := persistence(connection))[key] != "0" for key in busy):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Redis did not finish writing within {SAVE_WAIT_SECONDS:.0f} s")
        time.sleep(SAVE_POLL_SECONDS)
    return fields


def write_files(connection: Connection) -> None:
    """Have Redis write a snapshot and a short log, one after the other, and wait until both are whole."""
    for command, status in (("BGSAVE", "rdb_last_bgsave_status"), ("BGREWRITEAOF", "aof_last_bgrewrite_status")):
        at_rest(connection)
        connection.command(command)
        if at_rest(connection)[status] != "ok":
            raise ReplyError(f"{command} failed; the journal of redis-server says why")


def link_files(running: Path) -> None:
    """Have what was written under `saved/`, as second names of the same files.

    Redis goes on: it replaces the snapshot and the log's parts by new files, and appends to the last part. A log whose
    last command is cut short is read up to there.
    """
    draft, place = running / "saved.new", running / "saved"
    for old in (draft, place):
        shutil.rmtree(old, ignore_errors=True)
    (draft / "appendonlydir").mkdir(parents=True)
    manifest = Path("appendonlydir/appendonly.aof.manifest")
    shutil.copy2(running / manifest, draft / manifest)
    parts = [line.split()[1] for line in (draft / manifest).read_text().splitlines() if line.startswith("file ")]
    for name in ("dump.rdb", *(f"appendonlydir/{part}" for part in parts)):
        os.link(running / name, draft / name)
    draft.replace(place)


def save(settings: Settings) -> int:
    """Make files that may be copied, now."""
    with Connection(settings, settings.address, settings.port) as connection:
        write_files(connection)
    link_files(RUNNING)
    return 0


def metrics(counts: Mapping[str, Mapping[str, int]], now: float) -> str:
    """Write the counts as Prometheus metrics."""
    lines = [
        "# HELP redis_ttl_policy_keys Keys of a use at the last audit.",
        "# TYPE redis_ttl_policy_keys gauge",
        *(f'redis_ttl_policy_keys{{use="{use}"}} {count["keys"]}' for use, count in counts.items()),
        "# HELP redis_ttl_policy_violations Keys that live longer than the policy of their use, or for ever.",
        "# TYPE redis_ttl_policy_violations gauge",
        *(
            f'redis_ttl_policy_violations{{use="{use}",kind="{kind}"}} {count[kind]}'
            for use, count in counts.items()
            for kind in ("no_ttl", "too_long")
        ),
        "# HELP redis_ttl_policy_audited_at_seconds When the last audit ended.",
        "# TYPE redis_ttl_policy_audited_at_seconds gauge",
        f"redis_ttl_policy_audited_at_seconds {now:.0f}",
    ]
    return "\n".join(lines) + "\n"


def audit_ttl(settings: Settings) -> int:
    """Audit this node's keys and write the metrics into the unit's runtime directory."""
    with Connection(settings, settings.address, settings.port) as connection:
        if settings.mode == "cluster":
            # Without it a replica sends everybody who asks for a key away, to its primary.
            connection.command("READONLY")
        counts = audit(settings.ttl_policy, lives(connection))
    broken = {use: count for use, count in counts.items() if count["no_ttl"] or count["too_long"]}
    print(f"keys outside the TTL policy: {json.dumps(broken)}" if broken else "every key keeps the TTL policy")
    directory = Path(os.environ["RUNTIME_DIRECTORY"])
    (directory / "redis_ttl.prom").write_text(metrics(counts, time.time()))
    return 0


def replication(
    settings: Settings, sentinels: Sequence[SentinelAnswer], nodes: Sequence[NodeAnswer]
) -> tuple[list[str], bool]:
    """Say who is the primary and who follows, in a line for each, and tell whether all is as it has to be."""
    votes = [answer.address for answer in sentinels]
    primary = max(sentinels, key=lambda answer: answer.config_epoch).address if sentinels else ""
    agreeing = votes.count(primary)
    lines = [f"primary is {primary or 'unknown'}, on the word of {agreeing} of {len(settings.sentinels)} Sentinels"]
    whole = agreeing == len(settings.sentinels)
    answers = {answer.address: answer for answer in nodes}
    for address in settings.nodes:
        answer = answers.get(address)
        if answer is None:
            lines.append(f"{address} does not answer")
        elif answer.role == "master":
            lines.append(f"{address} leads")
        else:
            lines.append(f"{address} follows {answer.primary}, link {'up' if answer.link_up else 'down'}")
        follows = answer is not None and answer.role != "master" and answer.primary == primary and answer.link_up
        leads = answer is not None and answer.role == "master" and address == primary
        whole = whole and (leads or follows)
    return lines, whole


def show_status(settings: Settings) -> int:
    """Ask all Sentinels and nodes, and end with 1 when one is away or disagrees."""
    sentinels = [answer for address in settings.sentinels if (answer := ask_sentinel(settings, address))]
    nodes = [answer for address in settings.nodes if (answer := ask_node(settings, address))]
    lines, whole = replication(settings, sentinels, nodes)
    print("\n".join(lines))
    return 0 if whole else 1


ACTIONS = {
    "status": show_status,
    "prepare-server": prepare_server,
    "prepare-sentinel": prepare_sentinel,
    "server-ready": server_ready,
    "sentinel-ready": sentinel_ready,
    "audit-ttl": audit_ttl,
    "save": save,
}


def main(arguments: Sequence[str]) -> int:
    """Do one of the actions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=ACTIONS)
    return ACTIONS[parser.parse_args(arguments).action](Settings.read(SETTINGS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
