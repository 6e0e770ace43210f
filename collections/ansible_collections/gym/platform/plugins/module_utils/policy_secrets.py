# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""References to secrets, and the store that makes them. Each public function is a rule of module_utils/policy.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.environment import Path_
from ansible_collections.gym.platform.plugins.module_utils.policy_rule import Description, Finding, repeated
from ansible_collections.gym.platform.plugins.module_utils.schema import nearest, schemas


def cache_uses_have_secrets(described: Description) -> Iterator[Finding]:
    """Each use of the cache has its own user and password, so that a stolen one opens one prefix only."""
    fixed = schemas()["secrets"]["properties"]["secrets"]["properties"]
    wanted = {f"cache_{use['name']}_password": use["name"] for use in described["cache"]["uses"]}
    missing = [key for key in wanted if key not in described["secrets"]]
    for key in described["secrets"]:
        if key.startswith("cache_") and key not in wanted and key not in fixed:
            meant = nearest(key, missing)
            missing = [other for other in missing if other != meant]
            fix = f"did you mean `{meant}`?" if meant else "remove it, or add the use to the noun cache"
            yield Finding(("secrets", key), "is the password of no use of the cache", ", ".join(wanted), fix)
    for key in missing:
        reference = f"\"{{{{ lookup('gym.platform.secret', 'cache/{wanted[key]}') }}}}\""
        yield Finding(
            ("secrets", key),
            f"is missing: the cache's use {wanted[key]} has no password",
            "a reference",
            f"add `{key}: {reference}`",
        )


def secrets_are_apart(described: Description) -> Iterator[Finding]:
    """One secret for two purposes cannot be replaced for one of them, and opens both when it leaks."""
    places: list[tuple[Path_, Any]] = [(("secrets", key), reference) for key, reference in described["secrets"].items()]
    for place, _reference, first in repeated(places):
        yield Finding(place, f"refers to the same secret as {first[-1]}", "a secret of its own")


def referenced_secrets_are_made(described: Description) -> Iterator[Finding]:
    """The store makes what is listed in it: a reference to anything else ends a run half way."""
    if described["secret_store"]["provider"] != "file":
        return
    made = {one["name"] for one in described["secret_store"]["generated"]}
    # An authority is one entry that makes two secrets, a key and a certificate.
    made |= {
        f"{one['name']}/{part}"
        for one in described["secret_store"]["generated"]
        if one["kind"] == "certificate_authority"
        for part in ("key", "certificate")
    }
    for key, reference in described["secrets"].items():
        name = reference.split("'")[3] if "gym.platform.secret'" in reference and reference.count("'") >= 4 else None
        if name is not None and name not in made:
            meant = nearest(name, made)
            yield Finding(
                ("secrets", key),
                f"{name} is made by nobody",
                "a name in secret_store.generated",
                f"did you mean `{meant}`?" if meant else "add it to secret_store.generated",
            )
