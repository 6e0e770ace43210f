"""What production becomes in the other region: the same, but for what is there once and what is already there."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_template_differences import mentions
from ansible_collections.gym.platform.plugins.module_utils.aws_templates import load

from tests.project import described
from tests.stacks.golden import GOLDEN, STAND_IN

PRIMARY, OWN = load(GOLDEN / "production"), load(GOLDEN / STAND_IN)


def resources(stack: str, kind: str) -> dict[str, Any]:
    return {key: one for key, one in OWN[stack].resources.items() if one["Type"] == f"AWS::{kind}"}


def test_everything_but_what_is_there_once_is_there_again() -> None:
    # What lives in production's other regions, the delivery network and the budget are there already.
    assert set(PRIMARY) - set(OWN) == {"backup_dr", "budget", "cdn", "secrets_dr", "storage_dr"}
    assert set(OWN) <= set(PRIMARY)


def test_no_name_is_the_primary_s_but_that_of_the_images() -> None:
    """Roles and buckets are named for the whole account, and the primary's are still there."""
    texts = {name: json.dumps(template.document) for name, template in OWN.items()}
    assert {name for name, text in texts.items() if "gym-production-" in text.replace("gym-production-dr", "")} == set()
    paths = {name for name, text in texts.items() if "gym/production/" in text}
    assert paths == {"registry", "secrets"}
    (repository,) = resources("registry", "ECR::Repository").values()
    assert repository["Properties"]["RepositoryName"] == "gym/production/gym-api"


def test_the_database_begins_with_the_primary_s_backups_and_is_the_same_otherwise() -> None:
    instance, original = (one["database"].resources["Shard1Primary"]["Properties"] for one in (OWN, PRIMARY))
    begins = {"SourceDBInstanceAutomatedBackupsArn", "RestoreTime"}
    inherited = {"AllocatedStorage", "DBName", "EngineVersion", "KmsKeyId", "MasterUsername", "MasterUserPassword"}
    inherited |= {"StorageEncrypted", "DBInstanceIdentifier"}
    copied = {name for name in original if name.startswith("AutomaticBackupReplication")}
    assert set(instance) - set(original) == begins
    assert set(original) - set(instance) == inherited - {"DBInstanceIdentifier"} | copied
    same = set(original) - inherited - copied
    assert {name: instance[name] for name in same} == {name: original[name] for name in same}
    assert OWN["database"].remembered == {"RestoreTime", "Shard1BackupsArn"}


def test_the_secrets_that_the_database_knows_are_the_primary_s_and_the_cache_s_are_new() -> None:
    for key, one in resources("secrets", "SecretsManager::Secret").items():
        secret = one["Properties"]
        replaced = f"{key.removesuffix('Secret')}Rotation" in OWN["secrets"].resources
        assert ("GenerateSecretString" in secret) is replaced, key
        if not replaced:
            name = secret["Name"].replace(STAND_IN, "production")
            assert secret["SecretString"] == f"{{{{resolve:secretsmanager:{name}}}}}"


def test_the_buckets_are_the_copies_that_are_there() -> None:
    assert set(resources("storage", "S3::Bucket")) == {"LogsBucket"}
    for bucket in described(STAND_IN, "buckets"):
        key = f"{bucket['name'].capitalize()}BucketArn"
        assert mentions(OWN["storage"].outputs[key]["Value"]) == {f"PrimaryStorageDr{key}"}
        assert key in PRIMARY["storage_dr"].outputs
    assert mentions(OWN["secrets"].outputs["StorageKeyArn"]["Value"]) == {"PrimarySecretsDrStorageKeyArn"}


def test_the_certificate_is_for_the_public_names_and_each_region_has_a_name_of_its_own() -> None:
    names = {}
    for which, stacks in (("stand-in", OWN), ("primary", PRIMARY)):
        compute = stacks["compute"].resources
        names[which] = compute["OriginRecord"]["Properties"]["Name"]
        covered = compute["Certificate"]["Properties"]["SubjectAlternativeNames"]
        assert {names[which], "origin.gym.example.com", "api.gym.example.com"} <= set(covered)
    assert names == {
        "stand-in": "eu-central-1-origin.gym.example.com",
        "primary": "eu-west-1-origin.gym.example.com",
    }
    switch = PRIMARY["cdn"].resources["OriginRecord"]["Properties"]
    assert (switch["Name"], switch["Type"], switch["TTL"]) == ("origin.gym.example.com", "CNAME", "60")


def test_the_delivery_network_asks_the_copy_of_a_bucket_that_does_not_answer() -> None:
    distribution = PRIMARY["cdn"].resources["Distribution"]["Properties"]["DistributionConfig"]
    (group,) = distribution["OriginGroups"]["Items"]
    assert [one["OriginId"] for one in group["Members"]["Items"]] == ["assets", "assets-copy"]
    assert distribution["CacheBehaviors"][0]["TargetOriginId"] == group["Id"]
    policies = PRIMARY["storage_dr"].resources["AssetsBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert "DeliveryNetwork" in {one["Sid"] for one in policies}
