# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Alerts, and who receives them. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding
from ansible_collections.gym.platform.plugins.module_utils.schema import is_template, nearest


def alert_reaches_a_receiver(described: Description) -> Iterator[Finding]:
    """An alert that nobody receives is worse than none: everybody believes that it is watched."""
    receivers = [receiver["name"] for receiver in described["monitoring"]["receivers"]]
    legal = ", ".join(receivers) or "none yet: add one to the noun monitoring"
    for index, alert in described.records("alerts"):
        if "receiver" not in alert:
            yield Finding(
                ("alerts", index, "receiver"),
                f"is missing: nobody hears of {alert['name']}",
                legal,
                "add `receiver: ...`",
            )
        elif alert["receiver"] not in receivers:
            meant = nearest(alert["receiver"], receivers)
            fix = f"did you mean `{meant}`?" if meant else "add the receiver to the noun monitoring"
            yield Finding(("alerts", index, "receiver"), f"{alert['receiver']} is not a receiver", legal, fix)


def alert_has_one_threshold(described: Description) -> Iterator[Finding]:
    """Without a threshold an alert never fires; with two, one of them is forgotten."""
    for index, alert in described.records("alerts"):
        if ("above" in alert) == ("below" in alert):
            found = "both `above` and `below`" if "above" in alert else "neither `above` nor `below`"
            yield Finding(("alerts", index), f"has {found}", "one of them", "keep or add one")


def receiver_can_be_reached(described: Description) -> Iterator[Finding]:
    """An address of another kind would be accepted, and the alert would arrive nowhere."""
    forms: dict[str, Callable[[str], bool]] = {
        "log": lambda text: text == "journal",
        "email": lambda text: "@" in text and "://" not in text,
        "webhook": lambda text: text.startswith("https://"),
    }
    legal = {"log": "journal", "email": "a mail address", "webhook": "an https address"}
    for index, receiver in enumerate(described["monitoring"]["receivers"]):
        kind, address = receiver["kind"], receiver["address"]
        if kind in forms and not is_template(address) and not forms[kind](address):
            yield Finding(
                ("monitoring", "receivers", index, "address"), f"{address} is no address for {kind}", legal[kind]
            )
