"""Where an image comes from: what a build says of itself, and the SLSA provenance that is made of it. Pure.

What a build says is a label of the image, so it is as old as the image and cannot be lost or be another one's.
The words are those of https://slsa.dev/spec/v1.0/provenance and https://in-toto.io/Statement/v1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

LABEL = "gym.platform.build"
# The role's README describes how; a new number when the way of building changes.
BUILD_TYPE = "https://gym.example.com/builds/service-image/v1"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class Build:
    """What a build says of itself. Digests are SHA-256 in hexadecimal, times RFC 3339 in UTC."""

    # Who builds, and the run of it, as URIs.
    builder: str
    invocation: str
    started: str
    # The repository, and the commit; neither where the folder is in no commit as it was built.
    repository: str
    commit: str
    folder: str
    requirements_sha256: str
    suite: str
    packages: Sequence[str]
    python: str

    def label(self) -> str:
        """Return the label's value."""
        return json.dumps(asdict(self), sort_keys=True)


def said(labels: Mapping[str, str] | None) -> Build | None:
    """Return what the build of an image said, or None for an image that was built before builds said anything."""
    text = (labels or {}).get(LABEL)
    return Build(**json.loads(text)) if text else None


def public_address(remote: str) -> str:
    """Return a repository's address without a user or a password, or nothing for a path of this machine."""
    ssh = re.fullmatch(r"[\w.-]+@([\w.-]+):(.+)", remote)
    if ssh:
        return f"ssh://{ssh[1]}/{ssh[2]}"
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https", "ssh", "git") or not parts.hostname:
        return ""
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, parts.hostname + port, parts.path, "", ""))


def statement(name: str, version: str, digest: str, finished: str, build: Build, bill_sha256: str) -> dict[str, Any]:
    """Return the statement about the image with this digest; `bill_sha256` is that of its bill of materials."""
    materials: list[dict[str, Any]] = []
    if build.commit:
        source = {"uri": f"git+{build.repository}"} if build.repository else {"name": "repository"}
        materials.append({**source, "digest": {"gitCommit": build.commit}})
    requirements = f"{build.folder}/requirements.txt"
    materials.append({"name": requirements, "digest": {"sha256": build.requirements_sha256}})
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"folder": build.folder, "version": version},
                "internalParameters": {
                    "suite": build.suite,
                    "packages": list(build.packages),
                    "python": build.python,
                },
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": build.builder},
                "metadata": {
                    **({"invocationId": build.invocation} if build.invocation else {}),
                    "startedOn": build.started,
                    "finishedOn": finished,
                },
                "byproducts": [{"name": "bill of materials", "digest": {"sha256": bill_sha256}}],
            },
        },
    }
