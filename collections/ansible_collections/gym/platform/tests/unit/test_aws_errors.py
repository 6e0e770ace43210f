"""What AWS complains about, in one sentence."""

from __future__ import annotations

import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_errors import explain, hint, unknown_region
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ProfileNotFound,
    ReadTimeoutError,
)


def answer(code: str, message: str = "The words of AWS.") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateChangeSet")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (answer("ExpiredTokenException"), "The session's credentials have expired: sign in again"),
        (answer("RequestExpired"), "The session's credentials have expired"),
        (answer("UnrecognizedClientException"), "AWS does not know these credentials"),
        (answer("InvalidClientTokenId"), "AWS does not know these credentials"),
        (answer("AccessDenied"), "These credentials may not do that"),
        (answer("OptInRequired"), "The region is not enabled for this account"),
        (answer("Throttling"), "AWS still refuses so many calls after ten attempts"),
        # A quota and a rate have nearly the same name.
        (answer("RequestLimitExceeded"), "AWS still refuses so many calls"),
        (answer("LimitExceededException"), "A quota of the account is used up"),
        (answer("AlreadyExistsException"), "The name is taken by something that is not ours"),
        (answer("ValidationError", "Stack [x] already exists and cannot be created again"), "The name is taken"),
        (answer("ValidationError"), "AWS refused CreateChangeSet in eu-west-1: ValidationError: The words of AWS"),
        (NoCredentialsError(), "There are no AWS credentials"),
        (ProfileNotFound(profile="x"), "There are no AWS credentials"),
        (EndpointConnectionError(endpoint_url="https://x"), "AWS in eu-west-1 cannot be reached"),
        (ReadTimeoutError(endpoint_url="https://x"), "AWS in eu-west-1 cannot be reached"),
        (ParamValidationError(report="bad\nworse"), "The AWS SDK refused: Parameter validation failed: bad worse"),
    ],
)
def test_an_error_is_one_sentence(error: BotoCoreError | ClientError, sentence: str) -> None:
    told = explain(error, "eu-west-1")
    assert told.startswith(sentence)
    assert "\n" not in told
    assert not told.endswith(".")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("gym-logs already exists", " (the name is taken: choose another, or remove it)"),
        ("The maximum number of VPCs has been reached.", " (raise the quota in Service Quotas, or ask for less)"),
        (
            "Action denied by stack policy: x",
            " (the stack protects what holds data: name it in confirm_destroy if that is meant)",
        ),
        ("User: arn:x is not authorized to perform", " (extend the policy of the credentials)"),
        ("Rate exceeded", " (AWS was asked too often: repeat the run)"),
        ("Invalid value", ""),
    ],
)
def test_a_failed_resource_has_advice(reason: str, advice: str) -> None:
    assert hint(reason) == advice


def test_a_region_that_does_not_exist_is_told_with_the_nearest() -> None:
    known = ["eu-west-1", "eu-central-1"]
    assert unknown_region("eu-west-1", known) is None
    assert unknown_region("eu-wset-1", known) == "There is no AWS region 'eu-wset-1'; did you mean eu-west-1?"
    assert unknown_region("x", known) == "There is no AWS region 'x'; the legal ones are eu-central-1, eu-west-1."
