"""What a release asks of a target, whatever runs there. A new target is one file with a class that answers this.

The words: a release has two *colours*, blue and green, and each stands for all services of the environment. The *live*
colour gets the requests, the other one is *idle*. What has no colour are *jobs*, which a timer starts, and *one-offs*,
which run once, such as a migration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

BLUE, GREEN = "blue", "green"
COLOURS = (BLUE, GREEN)


class DriverError(Exception):
    """The target did not do what it was asked; the message is a sentence for the person who releases."""


def other(colour: str) -> str:
    """Return the colour that is not this one."""
    return GREEN if colour == BLUE else BLUE


@dataclass(frozen=True)
class Release:
    """What runs, or shall run, in a colour.

    `version` is what people say, `digest` what machines check. `configuration` is a fingerprint of everything that the
    instances are started with, the image and the secrets among it, and apart from the colour: equal ones are the same.
    """

    version: str
    digest: str
    configuration: str


class Standing(Enum):
    """How what stands in a colour compares with the release that is wanted."""

    ABSENT = "absent"
    # All that is there is of the wanted release, but something is missing, stopped or too much.
    PART = "part"
    WHOLE = "whole"
    # Something of another release is there.
    OTHER = "other"


@dataclass(frozen=True)
class Colour:
    """What was observed of one colour: `release` is the one of its first instance, None where it has none."""

    standing: Standing = Standing.ABSENT
    release: Release | None = None


@dataclass(frozen=True)
class Observation:
    """What a target answers about itself.

    `share` is the per cent of requests that goes to green, None where the parts of the front door do not agree;
    `jobs` tells whether what has no colour is of the wanted release.
    """

    colours: Mapping[str, Colour]
    share: int | None
    jobs: Standing = Standing.WHOLE


@dataclass(frozen=True)
class Request:
    """A GET to a web service, for a smoke test."""

    service: str
    path: str


@dataclass(frozen=True)
class Answer:
    """What a service answered to a request."""

    status: int
    body: str = ""


class Address(Protocol):
    """Where one colour can be asked apart from the traffic, for smoke tests."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answers in the order of the requests. Raises DriverError when one is not answered at all."""


class Driver(Protocol):
    """The functions of a target. Each may be called again after an interruption, and then does only what is left."""

    @property
    def longest_seconds(self) -> float:
        """No function takes longer: who is silent for more than that is taken for dead."""

    def observe(self, wanted: Release | None) -> Observation:
        """Tell what stands in the colours and where the requests go. Changes nothing.

        Where no release is wanted, whatever stands is another one.
        """

    def resolve(self, version: str, digest: str = "") -> Release:
        """Return the release that a version stands for at this moment: a tag, a digest, or both where both are known.

        Raises DriverError for an image that does not exist.
        """

    def start(self, colour: str, release: Release) -> None:
        """Start the release's web services and workers in a colour and wait until all are ready.

        A colour that serves already is only completed. A target of several machines may go over them in batches, and
        begins none after one that failed. Raises DriverError with what is not ready, and why.
        """

    def shift(self, share: int) -> None:
        """Send that per cent of the requests to green, and the rest to blue, everywhere."""

    def stop(self, colour: str, stays: Release | None) -> None:
        """Let a colour finish its open requests and the messages that it holds, and remove it.

        Jobs are renewed so that they follow the release that stays; None leaves them as they are. With both colours
        stopped and none that stays, nothing is left of what releases make.
        """

    def address(self, colour: str) -> Address:
        """Return where the colour can be asked, whatever its share of the requests."""

    def run(self, name: str, command: Sequence[str], release: Release) -> str:
        """Run a command once, to its end, in the release's image, and return its last lines of standard output.

        The name tells which secrets it gets: `migrate`, `assets`, `command`. Raises DriverError when it fails.
        """


class Store(Protocol):
    """Where the target keeps what releases know: one JSON document of text. It is as durable as the target."""

    def read(self) -> tuple[str, str]:
        """Return the document and the mark of its version; both are empty where there is none yet."""

    def write(self, document: str, mark: str) -> str | None:
        """Replace the document if its version is still the marked one: the new mark, or None if it is not."""
