"""Keep the settings of a Patroni cluster up to date, and restart what has to be restarted, one member at a time."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

# What people and procedures set while a cluster runs; not ours to take away.
NOT_OURS = ("pause", "standby_cluster")
LEADER_ROLES = ("leader", "standby_leader")
POLL_SECONDS = 0.5
# The options of every module that shows the certificate of its host, and of those that call the API besides.
IDENTITY: dict[str, dict[str, Any]] = {
    "certificate": {"type": "path", "required": True},
    "certificate_key": {"type": "path", "required": True, "no_log": False},
    "certificate_authority": {"type": "path", "required": True},
}
API: dict[str, dict[str, Any]] = {
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}


class PatroniError(Exception):
    """Patroni refused, or did not get where it was asked to get in time."""


class UnreachableError(PatroniError):
    """No Patroni answers at this address."""


class Api(Protocol):
    """One call of Patroni's REST API: status and document."""

    def __call__(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Call it."""


class HttpsApi:
    """Patroni's REST API over TLS, with a certificate and a password for what changes something."""

    def __init__(self, username: str, password: str, certificate: str, key: str, authority: str) -> None:
        """Load the certificates; an unreadable one is an error now, and not at the first call."""
        self._context = ssl.create_default_context(cafile=authority)
        self._context.load_cert_chain(certificate, key)
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Return status and document, or plain text where Patroni answers with that."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310 - https from our options
        try:
            # A restart answers when PostgreSQL is up again.
            with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:  # noqa: S310
                return int(answer.status), _document(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _document(error.read())
        except OSError as error:
            raise UnreachableError(f"Patroni does not answer at {url}: {error}") from error


def _document(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace").strip()


def merge(current: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the cluster shall have: ours, and what is not ours to take away."""
    return {**{key: current[key] for key in NOT_OURS if key in current}, **desired}


class Cluster:
    """The cluster, seen from one of its members."""

    def __init__(
        self,
        api: Api,
        url: str,
        name: str,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look at the cluster through the Patroni at this address, which is the member of this name."""
        self._api, self._url, self._name = api, url.rstrip("/"), name
        self._timeout, self._clock, self._sleep = timeout, clock, sleep

    def _read(self, path: str, url: str | None = None) -> dict[str, Any]:
        # A member that is not fit for service answers 503 with the same document.
        _, document = self._api("GET", f"{url or self._url}/{path}")
        return document if isinstance(document, dict) else {}

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the members by name."""
        return {member["name"]: member for member in self._read("cluster").get("members", [])}

    def leader(self) -> dict[str, Any] | None:
        """Return the member that leads; None while there is none."""
        return next((member for member in self.members().values() if member.get("role") in LEADER_ROLES), None)

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        end = self._clock() + self._timeout
        reason = "it answered"
        while True:
            try:
                if condition():
                    return
            except UnreachableError as error:
                reason = str(error)
            if self._clock() > end:
                raise PatroniError(
                    f"{self._name}: {what} did not happen within {self._timeout:.0f} s ({reason})."
                    f" `journalctl -u patroni -u etcd` on this host says why."
                )
            self._sleep(POLL_SECONDS)

    def _serves(self, name: str) -> bool:
        """Tell whether a member leads, or is fed by the one that leads."""
        leader = self.leader()
        member = self.members().get(name)
        if leader is None or member is None or member.get("state") != "running":
            return False
        if leader["name"] == name:
            return True
        feeds = self._read("patroni", _base(leader)).get("replication", [])
        return any(feed.get("application_name") == name and feed.get("state") == "streaming" for feed in feeds)

    def wait_until_it_serves(self) -> str:
        """Wait until this member leads or is fed, and return the name of the leader."""
        self._wait("joining the cluster", lambda: self._serves(self._name))
        leader = self.leader()
        return str(leader["name"]) if leader else ""

    def hand_over(self, leader: str, successor: str) -> None:
        """Let a successor lead, and wait until it does and the former leader is fed by it.

        Raises PatroniError, with Patroni's own words, when it refuses or somebody else leads afterwards.
        """
        status, answer = self._api("POST", f"{self._url}/switchover", {"leader": leader, "candidate": successor})
        if status != 200:
            raise PatroniError(f"Patroni did not let {leader} hand over to {successor}, {status}: {answer}")
        self._wait(f"the promotion of {successor}", lambda: (self.leader() or {}).get("name") == successor)
        self._wait(f"the return of {leader} as a follower", partial(self._serves, leader))

    def configuration(self) -> dict[str, Any]:
        """Return the settings that the cluster has."""
        return self._read("config")

    def replace_configuration(self, configuration: Mapping[str, Any]) -> None:
        """Set all settings, and wait until every member that runs has applied them."""
        members = [member for member in self.members().values() if member.get("state") == "running"]
        seen = {member["name"]: self._rounds(member) for member in members}
        status, answer = self._api("PUT", f"{self._url}/config", configuration)
        if status != 200:
            raise PatroniError(f"Patroni refused the settings with {status}: {answer}")

        # The round that is under way may still use the old settings; the one after it does not.
        rounds = dict.fromkeys(seen, 0)

        def applied(member: Mapping[str, Any]) -> bool:
            now = self._rounds(member)
            if now != seen[member["name"]]:
                seen[member["name"]] = now
                rounds[member["name"]] += 1
            return rounds[member["name"]] >= 2

        self._wait("applying the settings", lambda: all(list(map(applied, members))))

    def _rounds(self, member: Mapping[str, Any]) -> Any:
        return self._read("patroni", _base(member)).get("dcs_last_seen")

    def pending_restarts(self) -> list[dict[str, Any]]:
        """Return the members that need a restart of PostgreSQL: replicas first, the leader last."""
        pending = [member for member in self.members().values() if self._is_pending(member)]
        return sorted(pending, key=lambda member: (member.get("role") in LEADER_ROLES, member["name"]))

    def _is_pending(self, member: Mapping[str, Any]) -> bool:
        # The member knows; what it told etcd is a round old.
        try:
            return bool(self._read("patroni", _base(member)).get("pending_restart"))
        except UnreachableError:
            # A member that is down starts with the new settings.
            return False

    def restart_what_needs_it(self) -> list[str]:
        """Restart one member after the other, each only when the one before serves again.

        A replica refuses a limit such as max_connections that was lowered until it has replayed that the leader has the
        lower value. So there can be a second round.
        """
        restarted: list[str] = []
        for _ in range(2):
            for member in self.pending_restarts():
                name = str(member["name"])
                self._wait(f"the catching up of {name}", partial(self._has_caught_up, name))
                status, answer = self._api("POST", f"{_base(member)}/restart", {"restart_pending": True})
                # 503: the restart was already made, or another one is under way.
                if status not in (200, 503):
                    raise PatroniError(f"Patroni refused to restart {name} with {status}: {answer}")
                self._wait(f"the restart of {name}", partial(self._serves, name))
                restarted.append(name)
        if pending := self.pending_restarts():
            names = ", ".join(member["name"] for member in pending)
            raise PatroniError(f"After two rounds still to be restarted: {names}. `patronictl list` shows why.")
        return restarted

    def _has_caught_up(self, name: str) -> bool:
        """Tell whether a member has replayed all that the leader had written when it was asked."""
        leader, member = self.leader(), self.members().get(name)
        if leader is None or member is None:
            return False
        if leader["name"] == name:
            return True
        written = self._position(leader, "location")
        if written is None:
            return False
        self._wait(f"the replay on {name}", lambda: (self._position(member, "replayed_location") or -1) >= written)
        return self._serves(name)

    def _position(self, member: Mapping[str, Any], which: str) -> int | None:
        position = self._read("patroni", _base(member)).get("xlog", {}).get(which)
        return None if position is None else int(position)


def _base(member: Mapping[str, Any]) -> str:
    """Return the address of a member's API without the path that Patroni publishes."""
    return str(member["api_url"]).rsplit("/", 1)[0]
