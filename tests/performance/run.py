"""Put a bounded load on an environment and judge it: `make performance ENV=...`.

Exit status 0: good enough. 1: too slow or too many errors, in one sentence. 2: it could not be measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import urllib3

from tests.end_to_end.client import Client
from tests.performance.target import ROOT, Target, TargetError, target
from tests.performance.verdict import Limits, report

LOCUST = ROOT / ".cache/performance/bin/locust"
# Twenty people who make two requests a second each are a busy evening; more than that is not asked of anybody here.
USERS, MOST_USERS = 20, 200
SECONDS, MOST_SECONDS = 30, 600
P95_MS, ERROR_PERCENT = 500, 1
# Locust starts, waits 10 s for open requests, and draws its page.
ENDING_SECONDS = 120


def number(variables: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    """Return a number that may be set. Raises TargetError with one sentence when it is none, or out of bounds."""
    value = variables.get(name) or str(default)
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise TargetError(f"{name} is '{value}'; it is a number from {least:g} to {most:g}.")
    return found


def log_in(of: Target) -> tuple[str, list[str]]:
    """Open a session of the staff; return its token, and the gym's members. Raises TargetError when that fails."""
    client = Client(of.door)
    body = {"tenant": of.tenant, "user_name": "demo", "password": of.password}
    try:
        session = client.request("POST", "/v1/sessions", body=body)
        if session.status != 201:
            raise TargetError(f"{of.door.name} refused the demo user of {of.tenant} with status {session.status}.")
        token = str(session.json()["token"])
        members = client.request("GET", "/v1/members", token=token)
    except urllib3.exceptions.HTTPError as error:
        raise TargetError(f"{of.door.name} does not answer: {error}.") from error
    if members.status != 200 or not members.json()["members"]:
        raise TargetError(f"{of.door.name} showed no members of {of.tenant}, with status {members.status}.")
    return token, [member["id"] for member in members.json()["members"]]


def load(of: Target, users: int, seconds: int, stem: Path) -> None:
    """Run Locust, which writes its figures and its page. Raises TargetError when it could not."""
    token, members = log_in(of)
    told = {
        "LOAD_NAME": of.door.name,
        "LOAD_AUTHORITY": str(of.door.authority),
        "LOAD_KIOSK_TOKEN": of.kiosk,
        "LOAD_STAFF_TOKEN": token,
        "LOAD_MEMBERS": ",".join(members),
    }
    command = [str(LOCUST), "--headless", "--only-summary", f"--locustfile={Path(__file__).with_name('locustfile.py')}"]
    command += [f"--host=https://{of.door.address}:{of.door.port}", f"--users={users}", f"--spawn-rate={users}"]
    command += [f"--run-time={seconds}s", "--stop-timeout=10", "--exit-code-on-error=0"]
    # Locust puts .json to the name itself.
    command += [f"--json-file={stem}", f"--html={stem}.html"]
    try:
        done = subprocess.run(command, env=os.environ | told, check=False, timeout=seconds + ENDING_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"Locust did not end {ENDING_SECONDS} s after its time.") from error
    if done.returncode != 0 or not stem.with_suffix(".json").is_file():
        raise TargetError(f"Locust ended with {done.returncode} and measured nothing.")


def main(environment: str) -> int:
    """Load, judge, and write both down; return the exit status."""
    now = datetime.now(UTC)
    stem = ROOT / "reports" / environment / "performance" / f"{now:%Y%m%dT%H%M%SZ}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    try:
        users = int(number(os.environ, "PERFORMANCE_USERS", USERS, 1, MOST_USERS))
        seconds = int(number(os.environ, "PERFORMANCE_SECONDS", SECONDS, 1, MOST_SECONDS))
        limits = Limits(
            number(os.environ, "PERFORMANCE_P95_MS", P95_MS, 1, 60_000),
            number(os.environ, "PERFORMANCE_ERROR_PERCENT", ERROR_PERCENT, 0, 100),
        )
        load(target(environment), users, seconds, stem)
    except TargetError as error:
        print(error, file=sys.stderr)
        return 2
    written = stem.with_suffix(".json")
    entries = json.loads(written.read_text(encoding="utf-8"))
    found = report(environment, f"{now:%Y-%m-%d %H:%M:%S} UTC", users, seconds, limits, entries)
    written.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"{found['sentence']}\n{written}\n{stem.with_suffix('.html')}", file=sys.stderr)
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
