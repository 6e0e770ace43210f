"""What a target knows about its releases: who is at work, what is unfinished, what was. One JSON document of text.

Everything here is a function of a document and gives a new one; `Held` is the lock of one run over a `Store`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.release_driver import Release, Store
from ansible_collections.gym.platform.plugins.module_utils.release_plan import Pending, Stage

# A parameter of AWS and a ConfigMap's annotations are small; older entries are in the reports.
ENTRIES = 50
# How often a write is tried that another writer was faster with. Writers are few and their writes short.
ATTEMPTS = 5


class StoreError(Exception):
    """The document cannot be used, or another run holds the lock; the message is for the person who releases."""


@dataclass(frozen=True)
class Lock:
    """Who is at work. `host` and `process` tell whether the holder still lives where that can be seen."""

    holder: str
    host: str
    process: int
    # The boot-relative start time of the process: a number of another one may be the same.
    started: str
    since: str
    expires: str
    # What keeps others out, for a sentence: a drill takes this lock, too, because each would spoil the other's measure.
    work: str = "releasing"

    def same(self, lock: Lock) -> bool:
        """Tell whether it is of the same run, whenever it was taken."""
        return (self.holder, self.host, self.process, self.started) == (
            lock.holder,
            lock.host,
            lock.process,
            lock.started,
        )


@dataclass(frozen=True)
class Entry:
    """One ended release or rollback. `outcome` is live, rolled back, held or failed."""

    time: str
    kind: str
    release: Release
    outcome: str
    reason: str
    who: str
    seconds: float
    previous: Release | None = None
    # Whether the database lost something that the version before needs.
    contracted: bool = False
    dossier: str = ""


@dataclass(frozen=True)
class Document:
    """Everything that is kept."""

    lock: Lock | None = None
    pending: Pending | None = None
    entries: tuple[Entry, ...] = ()
    # Configurations and digests that are not let in again.
    void: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        plain = asdict(replace(self, entries=self.entries[-ENTRIES:]))
        if self.pending:
            plain["pending"]["stage"] = self.pending.stage.value
        return plain

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(self.plain(), indent=1, sort_keys=True)


def _release(plain: dict[str, str] | None) -> Release | None:
    return Release(**plain) if plain else None


def _pending(plain: dict[str, Any] | None) -> Pending | None:
    if not plain:
        return None
    # An earlier version of this kept no `previous`.
    parts = {"release": Release(**plain["release"]), "previous": _release(plain.get("previous"))}
    return Pending(**{**plain, **parts, "stage": Stage(plain["stage"])})


def parse(text: str) -> Document:
    """Read a document. Raises StoreError for one that this version did not write."""
    if not text.strip():
        return Document()
    try:
        plain: dict[str, Any] = json.loads(text)
        return Document(
            lock=Lock(**plain["lock"]) if plain["lock"] else None,
            pending=_pending(plain["pending"]),
            entries=tuple(
                Entry(**{**entry, "release": Release(**entry["release"]), "previous": _release(entry["previous"])})
                for entry in plain["entries"]
            ),
            void=dict(plain["void"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"what the target keeps about its releases cannot be read ({type(error).__name__}: {error}); move the"
            " document aside and release again: what serves is seen from the target itself"
        ) from error


def stamp(moment: datetime) -> str:
    """Return a moment as it is kept: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def acquire(document: Document, mine: Lock, now: datetime, alive: Callable[[Lock], bool | None]) -> Document:
    """Take the lock. Raises StoreError, with its holder's name, where somebody lives who has it.

    `alive` tells whether a holder's process runs, None where that cannot be seen from here: then its time decides.
    """
    lock = document.lock
    if lock and not mine.same(lock):
        living = alive(lock)
        if living or (living is None and lock.expires > stamp(now)):
            raise StoreError(
                f"{lock.holder} has been {lock.work} since {lock.since}. Wait for it to end; should it be dead, its"
                f" lock ends by itself at {lock.expires}"
            )
    return replace(document, lock=mine)


def finish(document: Document, entry: Entry) -> Document:
    """Write an ended release into the ledger; what was rolled back is void from now on."""
    void = dict(document.void)
    if entry.outcome == "rolled back":
        void[void_key(entry.release, entry.previous)] = entry.time
    ended = entry.outcome != "held"
    return replace(document, entries=(*document.entries, entry), void=void, pending=None if ended else document.pending)


def forget(document: Document) -> Document:
    """Drop an unfinished release that was taken back by a run for something else."""
    return replace(document, pending=None)


def ledger(document: Document) -> list[str]:
    """Return what is known as lines for a person, the latest last."""
    lines = [f"{'when':<20}  {'what':<8}  {'version':<24}  {'came out':<11}  {'took':>7}  who, and why"]
    for entry in document.entries:
        void = "  VOID" if condemned(document, entry.release) else ""
        why = f": {entry.reason}" if entry.reason else ""
        lines.append(
            f"{entry.time:<20}  {entry.kind:<8}  {entry.release.version:<24}  {entry.outcome:<11}"
            f"  {entry.seconds:>5.0f} s  {entry.who}{why}{void}"
        )
    if pending := document.pending:
        words = f"version {pending.release.version} on {pending.target}, {pending.stage.value}"
        lines.append(f"unfinished: {words}, before it {pending.live or 'nothing'}")
    if document.lock:
        lock = document.lock
        lines.append(f"locked by {lock.holder}, {lock.work} since {lock.since}, until {lock.expires}")
    return lines


def undo(document: Document, entry: Entry) -> Document:
    """Write a rollback into the ledger: what it undid is void, and before it is what was before that."""
    undone = before(document, entry.previous)
    if undone is None:
        # The document is younger than what was undone.
        return finish(document, entry)
    older = before(replace(document, entries=document.entries[: document.entries.index(undone)]), entry.release)
    void = {**document.void, void_key(undone.release, undone.previous): entry.time}
    return finish(replace(document, void=void), replace(entry, previous=older.previous if older else None))


def void_key(release: Release, previous: Release | None) -> str:
    """Return what a rollback condemns: the image; or the settings alone, where the image was the same before."""
    return release.configuration if previous and previous.digest == release.digest else release.digest


def condemned(document: Document, release: Release) -> str:
    """Return when the release was rolled back, or nothing if it may be released."""
    return document.void.get(release.configuration) or document.void.get(release.digest) or ""


def unvoid(document: Document, release: Release) -> Document:
    """Let a release in again."""
    void = {key: time for key, time in document.void.items() if key not in (release.configuration, release.digest)}
    return replace(document, void=void)


def before(document: Document, live: Release | None) -> Entry | None:
    """Return the entry of the release that a rollback undoes: the last one that brought the image which is live now.

    A release of the same image with other settings is none: settings go back where they are described.
    """
    for entry in reversed(document.entries):
        same = live is not None and entry.release.digest == live.digest
        if same and entry.outcome == "live" and (not entry.previous or entry.previous.digest != entry.release.digest):
            return entry
    return None


class Held:
    """The lock of this run: every change of the document goes through it, and fails once it is somebody else's."""

    def __init__(self, store: Store, mine: Lock, lease: timedelta, now: Callable[[], datetime]) -> None:
        """Remember the store; nothing is taken yet."""
        self._store, self._mine, self._lease, self._now = store, mine, lease, now
        self._renewed: datetime | None = None
        self._text, self._mark = "", ""

    def read(self) -> Document:
        """Return the document as it is, without the lock."""
        self._text, self._mark = self._store.read()
        return parse(self._text)

    def take(
        self, alive: Callable[[Lock], bool | None], change: Callable[[Document], Document] = lambda document: document
    ) -> bool:
        """Take the lock, and change the document with it if it is still what was read last; tell whether it was.

        Where it was, nobody has released since then. Raises StoreError where somebody has the lock.
        """
        read = self._mark

        def mine(document: Document) -> Document:
            locked = acquire(document, self._fresh(), self._now(), alive)
            return change(locked) if self._mark == read else locked

        return self._change(mine) == read

    def update(self, change: Callable[[Document], Document]) -> None:
        """Change the document and renew the lock. Raises StoreError where the lock was lost."""

        def mine(document: Document) -> Document:
            self._must_own(document)
            return change(replace(document, lock=self._fresh()))

        self._change(mine)

    def renew(self) -> None:
        """Renew the lock when a third of its time is over; cheap to call often."""
        if self._renewed is None or self._now() - self._renewed > self._lease / 3:
            self.update(lambda document: document)

    def free(self, change: Callable[[Document], Document] = lambda document: document) -> None:
        """Give the lock back with a last change. A lock that was given back already is fine."""

        def unlocked(document: Document) -> Document:
            self._must_own(document)
            return replace(change(document), lock=None)

        if self._renewed:
            self._change(unlocked)
            self._renewed = None

    def give_back(self) -> bool:
        """Give back what an earlier task of this run took, and tell whether it was there; anybody else's lock stays."""
        lock = self.read().lock
        if lock is None or not self._mine.same(lock):
            return False
        self._renewed = self._now()
        self.free()
        return True

    def _fresh(self) -> Lock:
        self._renewed = self._now()
        return replace(self._mine, expires=stamp(self._renewed + self._lease))

    def _must_own(self, document: Document) -> None:
        lock = document.lock
        if lock is None or not self._mine.same(lock):
            raise StoreError(
                f"the lock of this release was lost to {lock.holder if lock else 'nobody'}: it was not renewed in time."
                " Nothing more is done here"
            )

    def _change(self, change: Callable[[Document], Document]) -> str:
        """Change the document, and return the mark of the version that was changed."""
        # The version that was read last is mostly still the newest: no need to read it again.
        for _ in range(ATTEMPTS):
            text, changed = change(parse(self._text)).text(), self._mark
            mark = self._store.write(text, changed)
            if mark is not None:
                self._text, self._mark = text, mark
                return changed
            self.read()
        raise StoreError(
            f"others were faster with {ATTEMPTS} changes of what the target keeps about its releases; repeat"
        )
