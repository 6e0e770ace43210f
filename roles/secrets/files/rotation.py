"""Replace one secret: Secrets Manager calls this four times, once for each step.

A user of the cache has two passwords, the new one and the one before it, so that nobody who holds the older one is cut
off before they read the secret again.
"""

import json

import boto3

PENDING, CURRENT = "AWSPENDING", "AWSCURRENT"


def handler(event, context):
    """Do one step of a rotation; every step may be repeated."""
    secrets = boto3.client("secretsmanager")
    arn, version = event["SecretId"], event["ClientRequestToken"]
    described = secrets.describe_secret(SecretId=arn)
    stages = described["VersionIdsToStages"]
    if CURRENT in stages.get(version, []):
        return
    if PENDING not in stages.get(version, []):
        raise ValueError(f"{arn} has no pending version {version}.")
    step = event["Step"]
    if step == "createSecret":
        create(secrets, arn, version)
    elif step == "setSecret":
        users = [tag["Value"] for tag in described.get("Tags", []) if tag["Key"] == "CacheUser"]
        for user in users:
            tell_cache(secrets, arn, version, user)
    elif step == "finishSecret":
        live = next(one for one, held in stages.items() if CURRENT in held)
        secrets.update_secret_version_stage(
            SecretId=arn, VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=live
        )


def value(secrets, arn, **which):
    """Return a version of the secret."""
    return json.loads(secrets.get_secret_value(SecretId=arn, **which)["SecretString"])


def create(secrets, arn, version):
    """Make the new password, unless an earlier attempt did."""
    try:
        value(secrets, arn, VersionId=version, VersionStage=PENDING)
    except secrets.exceptions.ResourceNotFoundException:
        made = secrets.get_random_password(PasswordLength=48, ExcludePunctuation=True)["RandomPassword"]
        text = json.dumps({**value(secrets, arn, VersionStage=CURRENT), "password": made})
        secrets.put_secret_value(SecretId=arn, ClientRequestToken=version, SecretString=text, VersionStages=[PENDING])


def tell_cache(secrets, arn, version, user):
    """Let the user in with the new password and with the one that is live."""
    passwords = [
        value(secrets, arn, VersionId=version, VersionStage=PENDING)["password"],
        value(secrets, arn, VersionStage=CURRENT)["password"],
    ]
    boto3.client("elasticache").modify_user(UserId=user, Passwords=passwords)
