"""What a machine of the platform can be asked about itself. Each probe returns observations, and never raises.

An observation has `service`, `healthy`, `state` and, where they mean something, `version`, `colour`, `traffic` and
`detail`: a row of the table that playbooks/status.yml prints.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.docker_engine import Engine
from ansible_collections.gym.platform.plugins.module_utils.haproxy_runtime import MASTER_SOCKET, Runtime

Observation = dict[str, Any]
TIMEOUT_SECONDS = 5


class ProbeError(Exception):
    """What was asked gave no usable answer."""


def observation(service: str, healthy: bool, state: str, **more: Any) -> Observation:
    """Make a row."""
    return {"service": service, "healthy": healthy, "state": state, **more}


# --- systemd -------------------------------------------------------------------------------------------------------


def read_units(text: str) -> list[dict[str, str]]:
    """Read the paragraphs of `systemctl show`."""
    return [
        dict(line.partition("=")[::2] for line in paragraph.splitlines() if "=" in line)
        for paragraph in text.strip().split("\n\n")
        if paragraph.strip()
    ]


def judge_units(units: Sequence[Mapping[str, str]]) -> list[Observation]:
    """A unit of the list has to be active."""
    found = []
    for unit in units:
        state = unit["ActiveState"] if unit["LoadState"] == "loaded" else unit["LoadState"]
        restarts = int(unit.get("NRestarts") or 0)
        detail = f"restarted by itself {restarts} times" if restarts else ""
        found.append(observation(unit["Id"].removesuffix(".service"), state == "active", state, detail=detail))
    return found


def judge_failed(text: str) -> list[Observation]:
    """Any other unit that failed is a problem too."""
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    return [observation(name.removesuffix(".service"), False, "failed") for name in names]


def units(options: Mapping[str, Any]) -> list[Observation]:
    """Ask systemd for the units of a list, and for whatever else failed."""
    names = list(options["names"])
    keys = "--property=Id,LoadState,ActiveState,NRestarts"
    shown = _run(["systemctl", "show", keys, *names]) if names else ""
    failed = _run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend"])
    rows = judge_units(read_units(shown))
    known = {row["service"] for row in rows}
    return rows + [row for row in judge_failed(failed) if row["service"] not in known]


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS).stdout


# --- containers ----------------------------------------------------------------------------------------------------


def judge_containers(containers: Sequence[Mapping[str, Any]]) -> list[Observation]:
    """A service has to run and pass its health check; a job has to have ended well the last time."""
    rows = []
    for item in containers:
        if item["kind"] == "job":
            failed = item["status"].startswith("Exited") and not item["status"].startswith("Exited (0)")
            state = "waits for its timer" if item["status"].startswith("Created") else item["status"].lower()
            healthy = not failed
        else:
            state = item["health"] or ("running" if item["running"] else item["status"].lower())
            healthy = item["running"] and item["health"] == "healthy"
        rows.append(
            observation(
                item["name"],
                healthy,
                state,
                kind=item["kind"],
                version=item["version"],
                colour=item["colour"],
                of=item["service"],
            )
        )
    return rows


def containers(options: Mapping[str, Any]) -> list[Observation]:
    """Ask the Docker engine for the platform's containers."""
    return judge_containers(Engine(options.get("socket", "/run/docker.sock")).containers())


# --- the front door ------------------------------------------------------------------------------------------------


def judge_traffic(shares: Mapping[str, str], servers: Sequence[Any]) -> list[Observation]:
    """Each service needs a server that is up in every colour that gets traffic."""
    rows = []
    for service, share in sorted(shares.items()):
        green = int(share)
        for colour, per_cent in (("blue", 100 - green), ("green", green)):
            members = [server for server in servers if server.backend == f"{service}_{colour}"]
            up = [server for server in members if server.up]
            if per_cent:
                state = f"{len(up)} of {len(members)} servers up"
                healthy = bool(members) and len(up) == len(members)
                rows.append(observation(service, healthy, state, colour=colour, traffic=per_cent))
    return rows


def traffic(options: Mapping[str, Any]) -> list[Observation]:
    """Ask HAProxy where the requests go."""
    runtime = Runtime(options.get("socket", MASTER_SOCKET))
    return judge_traffic(runtime.read_map(options["map"]), runtime.servers())


# --- the database --------------------------------------------------------------------------------------------------


def judge_member(name: str, cluster: Mapping[str, Any], allowed_lag: int) -> list[Observation]:
    """A member has to run or stream, and a replica must not be far behind."""
    for member in cluster.get("members", []):
        if member["name"] == name:
            role = str(member["role"])
            lag = member.get("lag", 0)
            primary = role in ("leader", "standby_leader")
            late = not primary and (not isinstance(lag, int) or lag > allowed_lag)
            detail = "" if primary else (f"{lag} bytes behind" if isinstance(lag, int) else f"lag {lag}")
            healthy = member["state"] in ("running", "streaming") and not late
            return [observation("postgresql", healthy, f"{role}, {member['state']}", detail=detail)]
    return [observation("postgresql", False, "not a member of its cluster")]


def database(options: Mapping[str, Any]) -> list[Observation]:
    """Ask this machine's Patroni for its cluster."""
    context = ssl.create_default_context(cafile=options["ca_file"])
    if options.get("certificate"):
        context.load_cert_chain(options["certificate"], options["certificate"] + ".key")
    with urllib.request.urlopen(options["url"], timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
        return judge_member(options["name"], json.load(answer), int(options.get("allowed_lag_bytes", 16 * 1024 * 1024)))


# --- the cache -----------------------------------------------------------------------------------------------------


def judge_cache(info: Mapping[str, str], *, replicated: bool) -> list[Observation]:
    """A replica has to be linked to its primary, and a primary has to have one where there shall be any."""
    role = info.get("role", "unknown")
    if role == "slave":
        linked = info.get("master_link_status") == "up"
        seconds = info.get("master_last_io_seconds_ago", "?")
        detail = (
            f"heard its primary {seconds} s ago"
            if linked
            else f"has no primary for {info.get('master_link_down_since_seconds', '?')} s"
        )
        return [observation("redis", linked, "replica", detail=detail)]
    replicas = int(info.get("connected_slaves", 0))
    healthy = role == "master" and (replicas > 0 or not replicated)
    return [observation("redis", healthy, "primary", detail=f"{replicas} replicas")]


def parse_info(text: str) -> dict[str, str]:
    """Read the answer of INFO."""
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line and not line.startswith("#"))


def cache(options: Mapping[str, Any]) -> list[Observation]:
    """Ask this machine's Redis how replication goes."""
    context = ssl.create_default_context(cafile=options["ca_file"])
    plain = socket.create_connection((options["address"], int(options.get("port", 6379))), TIMEOUT_SECONDS)
    with context.wrap_socket(plain, server_hostname=options["address"]) as connection:
        stream = connection.makefile("rwb")

        def ask(*words: str) -> str:
            stream.write(b"*%d\r\n" % len(words))
            for word in words:
                stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
            stream.flush()
            line = stream.readline().decode().strip()
            if line.startswith("$"):
                body = stream.read(int(line[1:]) + 2)
                return body.decode()
            if not line.startswith("+"):
                raise ProbeError(f"Redis answered {line or 'nothing'}")
            return line[1:]

        ask("AUTH", options["username"], options["password"])
        return judge_cache(parse_info(ask("INFO", "replication")), replicated=bool(options["replicated"]))


# --- the queues ----------------------------------------------------------------------------------------------------


def judge_queue(name: str, attributes: Mapping[str, str], dead: bool) -> Observation:
    """Count what waits. A message among the dead ones waits for a person."""
    waiting = int(attributes["ApproximateNumberOfMessages"])
    moving = int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0))
    delayed = int(attributes.get("ApproximateNumberOfMessagesDelayed", 0))
    detail = f"{waiting} wait, {moving} in delivery" + (f", {delayed} delayed" if delayed else "")
    return observation(name, not (dead and waiting), "dead letters" if dead else "queue", detail=detail)


def queues(options: Mapping[str, Any]) -> list[Observation]:
    """Ask the SQS endpoint for the depth of each queue; needs the interpreter that has boto3."""
    import boto3  # here, because only the queue's host has it
    from botocore.config import Config

    client = boto3.client(
        "sqs",
        endpoint_url=options["endpoint_url"],
        region_name=options["region"],
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        config=Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"max_attempts": 1}),
    )
    rows = []
    for queue in options["queues"]:
        letter = queue.get("dead_letter")
        for name, dead in [(queue["name"], False)] + ([(letter["name"], True)] if letter else []):
            real = f"{name}.fifo" if queue.get("fifo") else name
            url = client.get_queue_url(QueueName=real)["QueueUrl"]
            attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            rows.append(judge_queue(real, attributes, dead))
    return rows


PROBES: Mapping[str, Callable[[Mapping[str, Any]], list[Observation]]] = {
    "units": units,
    "containers": containers,
    "traffic": traffic,
    "database": database,
    "cache": cache,
    "queues": queues,
}


def ask(kind: str, options: Mapping[str, Any]) -> list[Observation]:
    """Run one probe. A probe that fails is an observation: status has to go on."""
    try:
        return PROBES[kind](options)
    except Exception as error:
        sentence = str(error).strip().splitlines()
        return [observation(kind, False, "gave no answer", detail=sentence[0] if sentence else type(error).__name__)]
