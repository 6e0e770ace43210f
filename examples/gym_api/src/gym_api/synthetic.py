"""Synthetic gyms: a pure function of a plan. The same plan gives the same bytes, on every machine and every day."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from random import Random

from faker import Faker

_NAMES = 1000
_KIOSKS = 2
# Gyms are full before and after work. Index: hour of the day.
_HOURS = [0, 0, 0, 0, 0, 1, 5, 9, 7, 4, 3, 3, 5, 4, 3, 3, 6, 10, 12, 9, 5, 2, 1, 0]
_DAYS_A_MONTH = 30


@dataclass(frozen=True)
class Plan:
    """How much to make, and from which seed."""

    seed: int
    gyms: int
    members: int
    months: int
    visits: int
    until: date

    @property
    def fingerprint(self) -> str:
        """Name the plan. The last day is left out: loading again tomorrow is still the same plan."""
        return f"seed={self.seed} gyms={self.gyms} members={self.members} months={self.months} visits={self.visits}"


@dataclass(frozen=True)
class Table:
    """Rows for one table, as lines of COPY's text format."""

    name: str
    columns: tuple[str, ...]
    lines: Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Gym:
    """A gym's identity, from which the rest of it follows."""

    plan: Plan
    number: int

    def random(self, purpose: str) -> Random:
        """Return a generator of its own for each purpose: more members do not change the kiosks."""
        return Random(f"{self.plan.seed}/{self.number}/{purpose}")  # noqa: S311 - reproducible is the point

    @cached_property
    def id(self) -> str:
        """The gym's id."""
        return _uuid(self.random("id"))

    @property
    def slug(self) -> str:
        """The gym's name in addresses."""
        return f"gym-{self.plan.seed}-{self.number:05d}"

    @property
    def member_ids(self) -> list[str]:
        """The ids of its members."""
        chance = self.random("members")
        return [_uuid(chance) for _ in range(self.plan.members)]

    @property
    def kiosk_ids(self) -> list[str]:
        """The ids of its kiosks."""
        chance = self.random("kiosks")
        return [_uuid(chance) for _ in range(_KIOSKS)]


class Synthetic:
    """All rows of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Prepare the names."""
        self.plan = plan
        fake = Faker("en_GB")
        fake.seed_instance(plan.seed)
        self.first_names = [fake.first_name() for _ in range(_NAMES)]
        self.last_names = [fake.last_name() for _ in range(_NAMES)]
        self._streets = [fake.street_name() for _ in range(_NAMES)]

    def tables(self) -> list[Table]:
        """Return the tables in the order in which they refer to each other."""
        return [
            Table("tenants", ("id", "slug", "name", "created_at"), self._tenants),
            Table("members", ("tenant_id", "id", "name", "joined_at"), self._members),
            Table("kiosks", ("tenant_id", "id", "name", "token_digest"), self._kiosks),
            Table(
                "check_ins",
                ("tenant_id", "id", "member_id", "kiosk_id", "idempotency_key", "checked_in_at", "day"),
                self._check_ins,
            ),
        ]

    @property
    def _start(self) -> datetime:
        return datetime.combine(self.plan.until, time(), UTC) - timedelta(days=_DAYS_A_MONTH * self.plan.months)

    def _gyms(self) -> Iterator[Gym]:
        return (Gym(self.plan, number) for number in range(1, self.plan.gyms + 1))

    def _tenants(self) -> Iterator[str]:
        for gym in self._gyms():
            street = gym.random("name").choice(self._streets)
            yield f"{gym.id}\t{gym.slug}\t{street} Gym\t{self._start:%Y-%m-%d %H:%M:%S+00}\n"

    def _members(self) -> Iterator[str]:
        for gym in self._gyms():
            chance = gym.random("names")
            for member in gym.member_ids:
                name = f"{chance.choice(self.first_names)} {chance.choice(self.last_names)}"
                joined = self._start - timedelta(days=chance.randrange(1000))
                yield f"{gym.id}\t{member}\t{name}\t{joined:%Y-%m-%d %H:%M:%S+00}\n"

    def _kiosks(self) -> Iterator[str]:
        for gym in self._gyms():
            chance = gym.random("tokens")
            for number, kiosk in enumerate(gym.kiosk_ids, 1):
                # The digest of no token that anybody has: nothing can log in as a synthetic kiosk.
                yield f"{gym.id}\t{kiosk}\tDoor {number}\t\\\\x{chance.randbytes(32).hex()}\n"

    def _check_ins(self) -> Iterator[str]:
        hours = [hour for hour, weight in enumerate(_HOURS) for _ in range(weight)]
        for gym in self._gyms():
            chance = gym.random("check-ins")
            below = chance.random
            visits = sorted(
                (
                    month * _DAYS_A_MONTH * 86400
                    + int(below() * _DAYS_A_MONTH) * 86400
                    + hours[int(below() * len(hours))] * 3600
                    + int(below() * 3600),
                    member,
                )
                for member in gym.member_ids
                for month in range(self.plan.months)
                for _ in range(self.plan.visits)
            )
            kiosks, tenant, start = gym.kiosk_ids, gym.id, self._start
            for second, member in visits:
                moment = start + timedelta(seconds=second)
                kiosk = kiosks[int(below() * len(kiosks))]
                yield f"{tenant}\t{_uuid(chance)}\t{member}\t{kiosk}\t{_uuid(chance)}\t{moment}\t{moment.date()}\n"


class Checksum:
    """A checksum of all lines that went through."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._sha256 = hashlib.sha256()
        self.rows: dict[str, int] = {}

    def blocks(self, table: Table, lines_a_block: int = 5000) -> Iterator[bytes]:
        """Hand on a table's lines in blocks that are worth a system call each."""
        self.rows[table.name] = 0
        block: list[str] = []
        for line in table.lines():
            block.append(line)
            if len(block) == lines_a_block:
                yield self._seal(table, block)
                block = []
        if block:
            yield self._seal(table, block)

    def hexdigest(self) -> str:
        """Return the checksum."""
        return self._sha256.hexdigest()

    def _seal(self, table: Table, block: list[str]) -> bytes:
        data = "".join(block).encode()
        self._sha256.update(data)
        self.rows[table.name] += len(block)
        return data


def _uuid(chance: Random) -> str:
    return f"{chance.getrandbits(128):032x}"
