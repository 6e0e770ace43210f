"""Images that are replicated to other regions, which MiniStack only remembers, and adopted there by a stack."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import get_account_id, request_scope
from ministack.services import cloudcontrol, ecr
from ministack.services.cloudformation import changesets

KIND = "AWS::ECR::ReplicationConfiguration"
NATIVE_PUT = ecr._put_image


def put(asked: Mapping[str, Any]) -> Any:
    """Push an image, and have it in every region that the rules of this one's registry name."""
    answer = NATIVE_PUT(asked)
    if answer[0] < 400:
        for region in destinations(asked["repositoryName"]):
            copied(asked["repositoryName"], region)
    return answer


def destinations(repository: str) -> list[str]:
    """Return the regions to which a repository is replicated."""
    found = [json.loads(one["Properties"]) for one in cloudcontrol._resources.values() if one["TypeName"] == KIND]
    rules = [rule for one in found for rule in one["ReplicationConfiguration"]["Rules"]]
    return [
        destination["Region"]
        for rule in rules
        if any(repository.startswith(wanted["Filter"]) for wanted in rule.get("RepositoryFilters", [{"Filter": ""}]))
        for destination in rule["Destinations"]
    ]


def copied(repository: str, region: str) -> None:
    """Have a repository's images in another region; the repository is made where there is none."""
    images = copy.deepcopy(ecr._images[repository])
    with request_scope(get_account_id(), region):
        if repository not in ecr._repositories:
            ecr._create_repository({"repositoryName": repository})
        there = {image["imageDigest"] for image in ecr._images[repository]}
        ecr._images[repository] += [image for image in images if image["imageDigest"] not in there]


def unknown(repository: str) -> str | None:
    """Say that a repository cannot be adopted, because there is none of that name."""
    return None if repository in ecr._repositories else f"The repository {repository} was not found"


def register() -> None:
    """Teach MiniStack."""
    ecr._put_image = put
    changesets._IMPORT_LOOKUPS["AWS::ECR::Repository"] = ("RepositoryName",), unknown
