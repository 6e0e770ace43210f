# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a release reaches people. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding


def shares_of_a_release_rise(described: Description) -> Iterator[Finding]:
    """A share below the one before would send people back and forth between two versions."""
    shares = described["release"]["shares"]
    if shares != sorted(set(shares)):
        yield Finding(("release", "shares"), f"{shares} does not rise", f"such as {sorted(set(shares))}")


def smoke_tests_ask_web_services(described: Description) -> Iterator[Finding]:
    """Only what is behind the front door can be asked before it gets traffic."""
    web = [service["name"] for service in described["services"] if service["kind"] == "web"]
    for index, test in enumerate(described["release"]["smoke"]):
        if test["service"] not in web:
            yield Finding(
                ("release", "smoke", index, "service"), f"{test['service']} is no web service", ", ".join(web)
            )


def releases_begin_on_hosts_that_there_are(described: Description) -> Iterator[Finding]:
    """ECS and Kubernetes start a colour that has no traffic as a whole; a part of it at a time is for our own hosts."""
    serial, compute = described["release"]["serial"], described["platform"]["compute"]
    if compute != "docker_hosts" and serial != "100%":
        yield Finding(("release", "serial"), f"{serial} where services run on {compute}", "100%")
