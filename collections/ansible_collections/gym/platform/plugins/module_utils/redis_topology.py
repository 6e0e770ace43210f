"""What a Redis Cluster looks like, and the next steps towards the one that is wished for. Pure: no connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SLOTS = 16384


@dataclass(frozen=True)
class Member:
    """One line of CLUSTER NODES."""

    node_id: str
    address: str
    role: str
    primary_id: str
    slots: int
    failed: bool
    myself: bool

    def __str__(self) -> str:
        """Write the member for a diff, without what differs between two observers."""
        return f"{self.address} {self.role} slots={self.slots}{' failed' if self.failed else ''}"


@dataclass(frozen=True)
class Meet:
    """One node is introduced to another."""

    address: str
    other: str

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.address} meets {self.other}"


@dataclass(frozen=True)
class TakeSlots:
    """A primary takes slots that nobody has."""

    address: str
    first: int
    last: int

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.address} takes the slots {self.first} to {self.last}"


@dataclass(frozen=True)
class Replicate:
    """A node without slots becomes a replica."""

    address: str
    primary_id: str
    primary_address: str

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.address} replicates {self.primary_address}"


Step = Meet | TakeSlots | Replicate


def parse_nodes(text: str) -> list[Member]:
    """Read the answer of CLUSTER NODES."""
    members = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8:
            continue
        flags = words[2].split(",")
        if "noaddr" in flags or "handshake" in flags:
            continue
        members.append(
            Member(
                node_id=words[0],
                address=words[1].rsplit("@", 1)[0].rsplit(":", 1)[0],
                role="replica" if "slave" in flags else "primary",
                primary_id="" if words[3] == "-" else words[3],
                # Slots on the move are written in brackets, and belong to one that is counted already.
                slots=sum(_width(word) for word in words[8:] if not word.startswith("[")),
                failed="fail" in flags,
                myself="myself" in flags,
            )
        )
    return members


def _width(word: str) -> int:
    first, _, last = word.partition("-")
    return int(last or first) - int(first) + 1


def agreed(views: Mapping[str, Sequence[Member]], nodes: Sequence[str]) -> bool:
    """Tell whether every node knows every other one, and all say the same about roles and slots.

    A node knows its own address only after another one has told it, so it is found by `myself`.
    """
    pictures = set()
    for observer, members in views.items():
        addresses = {observer if member.myself else member.address: member for member in members}
        if not set(nodes) <= set(addresses):
            return False
        pictures.add(tuple((addresses[node].role, addresses[node].slots) for node in nodes))
    return len(pictures) == 1


def plan(views: Mapping[str, Sequence[Member]], nodes: Sequence[str], primaries: int) -> list[Step]:
    """Work out the next steps; none when the cluster is as it is wished.

    In the order of need: all nodes know each other, then the slots have owners, then the others are replicas.
    A slot that has an owner stays where it is.
    """
    hub = max(nodes, key=lambda node: (len(views[node]), -nodes.index(node)))
    known = {hub if member.myself else member.address: member for member in views[hub]}
    strangers = [node for node in nodes if node not in known]
    if strangers:
        return [Meet(node, hub) for node in strangers]
    if not any(member.slots for member in known.values()):
        edges = [round(SLOTS * number / primaries) for number in range(primaries + 1)]
        return [TakeSlots(nodes[n], edges[n], edges[n + 1] - 1) for n in range(primaries)]
    owners = {member.node_id: address for address, member in known.items() if member.slots}
    followers = Counter(dict.fromkeys(owners, 0))
    followers.update(member.primary_id for member in known.values() if member.primary_id in owners)
    steps: list[Step] = []
    for node in nodes:
        member = known[node]
        if member.role == "primary" and not member.slots:
            target = min(
                owners,
                key=lambda node_id: (
                    followers[node_id],
                    nodes.index(owners[node_id]) if owners[node_id] in nodes else len(nodes),
                ),
            )
            followers[target] += 1
            steps.append(Replicate(node, target, owners[target]))
    return steps
