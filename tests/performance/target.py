"""The environment that smoke and performance tests are pointed at: its front door, and who asks.

Development runs on this machine, in either of its regions, and is known to it. Any other environment has to be named,
and its test gym's credentials handed over, by environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore, SecretStoreError

from tests.end_to_end.client import FrontDoor

ROOT = Path(__file__).resolve().parents[2]
# Both of its regions are on this machine, and have the same secrets and the same authority.
STATE = ROOT / ".state/development"
DOORS = {"development": 8443, "development-dr": 9443}
TENANT = "north-gym"
# What a machine trusts by itself, where an environment has a public certificate.
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
NEEDED = ("TARGET_URL", "TARGET_TENANT", "TARGET_PASSWORD", "TARGET_KIOSK_TOKEN")


class TargetError(Exception):
    """There is nothing to test; the message is one sentence."""


@dataclass(frozen=True)
class Target:
    """Where an environment is entered, and the demo user and the kiosk of its test gym."""

    door: FrontDoor
    tenant: str
    password: str
    kiosk: str


def target(environment: str, variables: Mapping[str, str] = os.environ) -> Target:
    """Return what is tested. Raises TargetError where that is not said, so that nobody is loaded by accident."""
    if environment in DOORS:
        secrets = SecretStore(STATE)
        door = FrontDoor("127.0.0.1", DOORS[environment], "api.gym.localhost", STATE / "ca.pem")
        try:
            token = f"{secrets.get('service/demo_kiosk_token')}-{TENANT}"
            return Target(door, TENANT, secrets.get("service/demo_password"), token)
        except SecretStoreError as error:
            hint = f"{environment} does not run here, `make up ENV={environment}` stands it up"
            raise TargetError(f"{hint}: {error}") from error
    missing = [name for name in NEEDED if not variables.get(name)]
    if missing:
        raise TargetError(
            f"{environment} is not on this machine, and {', '.join(missing)} not set: environment variables have to "
            "say where it is, and who may ask it."
        )
    url, tenant, password, kiosk = (variables[name] for name in NEEDED)
    address = urlsplit(url)
    if address.scheme != "https" or not address.hostname or address.path not in ("", "/"):
        raise TargetError(f"TARGET_URL is '{url}'; it is an address such as https://api.staging.example.com.")
    door = FrontDoor(address.hostname, address.port or 443, address.hostname, SYSTEM_AUTHORITIES)
    return Target(door, tenant, password, kiosk)
