# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an environment may not be, even when every single value is legal.

One rule is one public function of the description, in the file of its noun; its docstring says why it exists and is
shown with the problem. A rule that needs a noun whose form is broken, or a key that must be there and is not, finds
nothing: that is reported already, and guessing would report it twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from types import ModuleType

from ansible_collections.gym.platform.plugins.module_utils import (
    policy_backup,
    policy_data,
    policy_edge,
    policy_firewall,
    policy_monitoring,
    policy_network,
    policy_platform,
    policy_production,
    policy_queues,
    policy_release,
    policy_secrets,
    policy_services,
)
from ansible_collections.gym.platform.plugins.module_utils.environment import Document, Path_, Problem, dotted
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Rule, UnsoundError

# In the order in which what they find is reported, where two find something in one place.
PARTS = (
    policy_platform,
    policy_services,
    policy_data,
    policy_queues,
    policy_edge,
    policy_release,
    policy_monitoring,
    policy_backup,
    policy_network,
    policy_firewall,
    policy_secrets,
)


def rules(part: ModuleType) -> list[Rule]:
    """Return the rules of a part: its public functions, in the order in which they are written."""
    functions = [one for name, one in vars(part).items() if inspect.isfunction(one) and not name.startswith("_")]
    return [one for one in functions if one.__module__ == part.__name__]


EVERYWHERE = [rule for part in PARTS for rule in rules(part)]
PRODUCTION = rules(policy_production)


def check(described: Description, misspelt: Collection[Path_] = ()) -> Iterator[Problem]:
    """Apply all rules and report all that they find, but for keys whose only fault is their spelling."""
    for rule in EVERYWHERE + (PRODUCTION if described.environment == "production" else []):
        try:
            findings = list(rule(described))
        except (UnsoundError, KeyError):
            continue
        for finding in findings:
            if finding.path in misspelt:
                continue
            document = described.hosts if finding.path[0] == "hosts" else described.nouns[str(finding.path[0])]
            if document is not None:
                key = dotted(finding.path, document.value)
                why = " ".join((rule.__doc__ or "").split())
                line = document.line(finding.path if finding.path[0] != "hosts" else _place(document, finding.path[1]))
                name = getattr(rule, "__name__", "policy")
                yield Problem(document.file, line, key, finding.message, finding.legal, finding.fix, why, name)


def _place(hosts: Document, host: str | int) -> Path_:
    """Find where a host is listed with its address."""
    paths = [path for path in hosts.lines if path[-2:] == (host, "ansible_host")]
    return paths[-1] if paths else ()
