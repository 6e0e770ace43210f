"""Where the counters of a release's two colours come from: one interface, and a source for each kind of monitoring.

    source = PrometheusSource("http://192.0.2.10:9090", service="gym-api")
    source.read(ago=600)    # {'blue': Counters, 'green': Counters} ten minutes ago: what the old colour usually does
    source.read()           # now; counters only grow from one reading to the next

What cannot be read is a SourceError, never a colour without errors.
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Protocol

from ansible_collections.gym.platform.plugins.module_utils.release_driver import COLOURS
from ansible_collections.gym.platform.plugins.module_utils.release_verdict import Counters

TIMEOUT_SECONDS = 5
# The only answers that are the colour's fault. Each front door counts what it says itself for want of an answer, too.
ERROR = "5xx"
ANSWERS = ("2xx", "3xx", "4xx", ERROR)
# Asked by the platform's own checks, every second and fast: they would hide what people wait for.
CHECKS = "/(healthz|readyz|metrics|version)"


class SourceError(RuntimeError):
    """The counters cannot be read; one sentence for the person who waits for a verdict."""


class Source(Protocol):
    """What a release reads."""

    def read(self, ago: float = 0) -> dict[str, Counters]:
        """Return the counters of both colours as they were some seconds ago. Raises SourceError."""


class Growing:
    """Counters that never fall, made of ones that begin at 0 again when what they count in is restarted, or vanish."""

    def __init__(self) -> None:
        """Know no series yet."""
        self._last: dict[tuple[str, ...], float] = {}
        self._lost: dict[tuple[str, ...], float] = {}

    def take(self, series: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], int]:
        """Return all series that were ever seen, each with what it lost by restarts."""
        for key, value in series.items():
            if value < self._last.get(key, 0):
                self._lost[key] = self._lost.get(key, 0) + self._last[key]
            self._last[key] = value
        return {key: round(value + self._lost.get(key, 0)) for key, value in self._last.items()}


class PrometheusSource:
    """Reads Prometheus: answers from HAProxy's exporter, as clients got them, and latency from the service's histogram.

    HAProxy counts among a backend's answers of 5xx those that it gave itself because no server was reached or none
    answered in time. An attempt that failed and was repeated elsewhere is no error: the client does not see it.
    """

    def __init__(self, url: str, service: str, ca_file: str = "", clock: Callable[[], float] = time.time) -> None:
        """Remember where Prometheus answers, and the service. Raises SourceError for what is no address."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise SourceError(f"prometheus is '{url}'; it is an address such as http://192.0.2.10:9090.")
        self._url, self._service, self._clock = url.rstrip("/"), service, clock
        try:
            self._tls = ssl.create_default_context(cafile=ca_file or None) if url.startswith("https") else None
        except OSError as error:
            raise SourceError(f"The certificate authority {ca_file} cannot be read: {error}.") from error
        self._answers, self._latency = Growing(), Growing()

    def read(self, ago: float = 0) -> dict[str, Counters]:
        """Return the counters of both colours as they were some seconds ago. Raises SourceError."""
        at = self._clock() - ago
        backends = "|".join(f"{self._service}_{colour}" for colour in COLOURS)
        answers = self._answers.take(
            self._query(
                f'haproxy_backend_http_responses_total{{proxy=~"{backends}"}}', ("proxy", "code", "instance"), at
            )
        )
        histogram = f'gym_http_request_duration_seconds_bucket{{service="{self._service}", route!~"{CHECKS}"}}'
        latency = self._latency.take(
            self._query(f"sum by (colour, le, instance) ({histogram})", ("colour", "le", "instance"), at)
        )
        return {colour: self._counters(colour, answers, latency) for colour in COLOURS}

    def _counters(
        self, colour: str, answers: Mapping[tuple[str, ...], int], latency: Mapping[tuple[str, ...], int]
    ) -> Counters:
        backend = f"{self._service}_{colour}"
        by_code = dict.fromkeys(ANSWERS, 0)
        known = False
        for (proxy, code, _), count in answers.items():
            if proxy == backend and code in by_code:
                by_code[code] += count
                known = True
        if not known:
            raise SourceError(
                f"{self._url} has no answers of {backend}: is HAProxy read (job haproxy), and is {backend} one of its"
                " backends?"
            )
        up_to: dict[float, int] = {}
        for (of, bound, _), count in latency.items():
            if of == colour:
                up_to[float(bound)] = up_to.get(float(bound), 0) + count
        return Counters(sum(by_code.values()), by_code[ERROR], tuple(sorted(up_to.items())))

    def _query(self, expression: str, labels: tuple[str, ...], at: float) -> dict[tuple[str, ...], float]:
        """Return the series of an instant query, by these labels."""
        words = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"})
        request = urllib.request.Request(f"{self._url}/api/v1/query?{words}")  # noqa: S310  checked above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self._tls) as response:  # noqa: S310
                found = json.load(response)
            if found["status"] != "success":
                raise SourceError(f"{self._url} answered {found.get('error', 'without data')}.")
            return {
                tuple(series["metric"].get(label, "") for label in labels): value
                for series in found["data"]["result"]
                if math.isfinite(value := float(series["value"][1]))
            }
        except urllib.error.HTTPError as error:
            raise SourceError(
                f"{self._url} answered {error.code}: {error.read(200).decode(errors='replace')}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{self._url} does not answer: {getattr(error, 'reason', error)}.") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise SourceError(f"{self._url} gave an answer that is not Prometheus's: {error!r}.") from error
