"""What AWS and its SDK complain about, in one sentence that says what to do. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  botocore's own name
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

# By the code of the answer; services do not agree on the names.
CODES = (
    (
        r"ExpiredToken|RequestExpired|TokenRefreshRequired",
        "The session's credentials have expired: sign in again, and repeat the run; it carries on where it stopped",
    ),
    (
        r"InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|AuthFailure|InvalidAccessKeyId|IncompleteSig",
        "AWS does not know these credentials: check AWS_PROFILE, or AWS_ACCESS_KEY_ID with its secret",
    ),
    (r"OptInRequired", "The region is not enabled for this account: enable it, or correct platform.region"),
    (r"AccessDenied|UnauthorizedOperation|NotAuthorized", "These credentials may not do that: extend their policy"),
    (
        r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown",
        "AWS still refuses so many calls after ten attempts: wait some minutes and repeat the run, or lower `workers`",
    ),
    (
        r"LimitExceeded|QuotaExceeded|ServiceQuota",
        "A quota of the account is used up: raise it in Service Quotas, or remove what is no longer needed",
    ),
    (r"AlreadyExists", "The name is taken by something that is not ours: choose another platform.name, or remove it"),
)
# By what a stack's event says of a resource.
REASONS = (
    (r"already exists|AlreadyExists|AlreadyOwnedBy|EntityExists", "the name is taken: choose another, or remove it"),
    (
        r"limit exceeded|LimitExceeded|quota|maximum number|InsufficientInstanceCapacity",
        "raise the quota in Service Quotas, or ask for less",
    ),
    (r"denied by stack policy", "the stack protects what holds data: name it in confirm_destroy if that is meant"),
    (r"is not authorized|AccessDenied", "extend the policy of the credentials"),
    (r"Rate exceeded|Throttl", "AWS was asked too often: repeat the run"),
)


def sentence(text: str) -> str:
    """Return a text on one line and without its full stop."""
    return " ".join(text.split()).rstrip(".")


def explain(error: BotoCoreError | ClientError, region: str) -> str:
    """Return one sentence for an answer, or for none: what is wrong, and what to do. It ends without a full stop."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound)):
        return f"There are no AWS credentials ({sentence(str(error))}): set AWS_PROFILE, or sign in"
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return (
            f"AWS in {region} cannot be reached ({sentence(str(error))}): check the network and "
            "repeat the run; what had begun goes on without us and is waited for then"
        )
    if not isinstance(error, ClientError):
        return f"The AWS SDK refused: {sentence(str(error))}"
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), sentence(str(answer.get("Message", "")))
    if code == "ValidationError" and "already exists" in message:
        code = "AlreadyExistsException"
    for pattern, advice in CODES:
        if re.search(pattern, code):
            return f"{advice} ({error.operation_name} in {region}: {code}: {message})"
    return f"AWS refused {error.operation_name} in {region}: {code}: {message}"


def hint(reason: str) -> str:
    """Return what to do about a resource that failed for this reason, in brackets, or nothing."""
    return next((f" ({advice})" for pattern, advice in REASONS if re.search(pattern, reason, re.IGNORECASE)), "")


def unknown_region(region: str, known: Collection[str]) -> str | None:
    """Say that a region does not exist, and which one was meant."""
    if region in known:
        return None
    near = difflib.get_close_matches(region, known, 1, 0.7)
    meant = f"did you mean {near[0]}?" if near else f"the legal ones are {', '.join(sorted(known))}."
    return f"There is no AWS region '{region}'; {meant}"
