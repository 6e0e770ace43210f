"""Recommendations as AWS words them, and that nothing is bought which nobody has named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError
from ansible_collections.gym.platform.plugins.modules import aws_savings
from botocore.stub import Stubber

REGION = "eu-west-1"
RDS_OFFER, CACHE_OFFER, PLAN_OFFER = "rds-offer", "cache-offer", "plan-offer"
TERMS = {"TermInYears": "ONE_YEAR", "PaymentOption": "NO_UPFRONT", "LookbackPeriodInDays": "THIRTY_DAYS"}
OFFER = {"Duration": "31536000", "OfferingType": "No Upfront"}


class Account:
    """The services of an account, each as a list of the calls that are expected."""

    def __init__(self) -> None:
        self.stubs: dict[str, Stubber] = {}
        for service in ("ce", "rds", "elasticache", "savingsplans"):
            client = boto3.client(service, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
            self.stubs[service] = Stubber(client)
            self.stubs[service].activate()

    def client(self, service: str) -> Any:
        return self.stubs[service].client

    def recommends(self, service: str, *details: dict[str, Any], **page: Any) -> None:
        self.stubs["ce"].add_response(
            "get_reservation_purchase_recommendation",
            {"Recommendations": [{"RecommendationDetails": list(details)}], **page},
            {"Service": service, **TERMS},
        )

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        usual = {"years": 1, "payment": "no_upfront", "lookback_days": 30, "purchase": [], "confirm_purchase": []}
        given = {**usual, "kinds": [], "region": REGION, **options}
        found = aws_savings.run(given, self.client, check)
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()
        return found


@pytest.fixture
def account() -> Iterator[Account]:
    found = Account()
    yield found
    for stub in found.stubs.values():
        stub.deactivate()


def detail(instance: dict[str, Any], count: str = "2", saving: str = "100.5") -> dict[str, Any]:
    return {
        "InstanceDetails": instance,
        "RecommendedNumberOfInstancesToPurchase": count,
        "EstimatedMonthlySavingsAmount": saving,
        "EstimatedMonthlySavingsPercentage": "32.5",
        "UpfrontCost": "0",
    }


DATABASE = {
    "RDSInstanceDetails": {
        "InstanceType": "db.r7g.large",
        "Region": "EU (Ireland)",
        "DatabaseEngine": "PostgreSQL",
        "DeploymentOption": "Multi-AZ",
    }
}
ELSEWHERE = {"RDSInstanceDetails": {**DATABASE["RDSInstanceDetails"], "Region": "EU (Frankfurt)"}}
NODE = {"ElastiCacheInstanceDetails": {"NodeType": "cache.m7g.large", "Region": REGION, "ProductDescription": "Valkey"}}


def test_recommendations_come_with_their_offering_and_the_largest_first(account: Account) -> None:
    account.recommends("Amazon Relational Database Service", detail(ELSEWHERE), detail(DATABASE))
    account.stubs["rds"].add_response(
        "describe_reserved_db_instances_offerings",
        {"ReservedDBInstancesOfferings": [{"ReservedDBInstancesOfferingId": RDS_OFFER}]},
        {"DBInstanceClass": "db.r7g.large", "ProductDescription": "postgresql", "MultiAZ": True, **OFFER},
    )
    account.recommends("Amazon ElastiCache", detail(NODE, "3", "20"))
    account.stubs["elasticache"].add_response(
        "describe_reserved_cache_nodes_offerings",
        {"ReservedCacheNodesOfferings": []},
        {"CacheNodeType": "cache.m7g.large", "ProductDescription": "valkey", **OFFER},
    )
    plan = {
        "SavingsPlansDetails": {"OfferingId": PLAN_OFFER},
        "HourlyCommitmentToPurchase": "0.42",
        "EstimatedMonthlySavingsAmount": "150",
        "EstimatedSavingsPercentage": "20",
    }
    account.stubs["ce"].add_response(
        "get_savings_plans_purchase_recommendation",
        {"SavingsPlansPurchaseRecommendation": {"SavingsPlansPurchaseRecommendationDetails": [plan]}},
        {"SavingsPlansType": "COMPUTE_SP", **TERMS},
    )
    found = account.run(kinds=["rds", "elasticache", "savings_plan"])
    assert not found["changed"]
    assert found["monthly_saving_usd"] == 270.5
    assert [(item["what"], item["offering"], item["quantity"]) for item in found["recommendations"]] == [
        ("a Compute Savings Plan of 0.42 USD an hour", PLAN_OFFER, 0.42),
        ("2 x db.r7g.large PostgreSQL Multi-AZ", RDS_OFFER, 2),
        ("3 x cache.m7g.large Valkey", None, 3),
    ]


def test_pages_are_followed(account: Account) -> None:
    account.recommends("Amazon ElastiCache", NextPageToken="more")
    account.stubs["ce"].add_response(
        "get_reservation_purchase_recommendation",
        {"Recommendations": []},
        {"Service": "Amazon ElastiCache", **TERMS, "NextPageToken": "more"},
    )
    assert account.run(kinds=["elasticache"])["recommendations"] == []


def test_an_account_without_use_has_no_recommendation(account: Account) -> None:
    account.stubs["ce"].add_client_error("get_savings_plans_purchase_recommendation", "DataUnavailableException")
    assert account.run(kinds=["savings_plan"])["recommendations"] == []


# --- buying


def purchase(kind: str, offering: str, quantity: float = 2) -> list[dict[str, Any]]:
    return [{"name": "gym-2030", "kind": kind, "offering": offering, "quantity": quantity}]


@pytest.mark.parametrize("confirmed", [[], ["another-offer"], ["gym-2030"], ["rds"]])
def test_nothing_is_bought_that_nobody_named(account: Account, confirmed: list[str]) -> None:
    # A call that is not expected would be an error of another kind.
    with pytest.raises(RequestError, match=r"'gym-2030' \(2 of the rds offering rds-offer\) cannot be taken back"):
        account.run(purchase=purchase("rds", RDS_OFFER), confirm_purchase=confirmed)


def test_check_mode_says_what_would_be_bought_and_buys_nothing(account: Account) -> None:
    account.stubs["rds"].add_client_error("describe_reserved_db_instances", "ReservedDBInstanceNotFound")
    found = account.run(check=True, purchase=purchase("rds", RDS_OFFER))
    assert (found["changed"], found["bought"]) == (True, ["gym-2030"])


def test_a_named_offering_is_bought(account: Account) -> None:
    account.stubs["rds"].add_client_error("describe_reserved_db_instances", "ReservedDBInstanceNotFound")
    account.stubs["rds"].add_response(
        "purchase_reserved_db_instances_offering",
        {},
        {
            "ReservedDBInstancesOfferingId": RDS_OFFER,
            "ReservedDBInstanceId": "gym-2030",
            "DBInstanceCount": 2,
            "Tags": [{"Key": "name", "Value": "gym-2030"}],
        },
    )
    assert account.run(purchase=purchase("rds", RDS_OFFER), confirm_purchase=[RDS_OFFER])["bought"] == ["gym-2030"]


def test_nodes_and_plans_are_bought_in_their_own_words(account: Account) -> None:
    account.stubs["elasticache"].add_client_error("describe_reserved_cache_nodes", "ReservedCacheNodeNotFoundFault")
    account.stubs["elasticache"].add_response(
        "purchase_reserved_cache_nodes_offering",
        {},
        {
            "ReservedCacheNodesOfferingId": CACHE_OFFER,
            "ReservedCacheNodeId": "gym-2030",
            "CacheNodeCount": 3,
            "Tags": [{"Key": "name", "Value": "gym-2030"}],
        },
    )
    account.run(purchase=purchase("elasticache", CACHE_OFFER, 3), confirm_purchase=[CACHE_OFFER])
    old = {"tags": {"name": "gym-2030"}, "state": "retired", "offeringId": "old"}
    account.stubs["savingsplans"].add_response("describe_savings_plans", {"savingsPlans": [old], "nextToken": "more"})
    account.stubs["savingsplans"].add_response("describe_savings_plans", {"savingsPlans": []}, {"nextToken": "more"})
    account.stubs["savingsplans"].add_response(
        "create_savings_plan",
        {},
        {
            "savingsPlanOfferingId": PLAN_OFFER,
            "commitment": "0.42",
            "clientToken": "gym-2030",
            "tags": {"name": "gym-2030"},
        },
    )
    account.run(purchase=purchase("savings_plan", PLAN_OFFER, 0.42), confirm_purchase=[PLAN_OFFER])


def owned(account: Account, kind: str, offering: str) -> None:
    if kind == "rds":
        reserved = {"ReservedDBInstances": [{"ReservedDBInstancesOfferingId": offering}]}
        account.stubs["rds"].add_response("describe_reserved_db_instances", reserved)
    elif kind == "elasticache":
        nodes = {"ReservedCacheNodes": [{"ReservedCacheNodesOfferingId": offering}]}
        account.stubs["elasticache"].add_response("describe_reserved_cache_nodes", nodes)
    else:
        plan = {"tags": {"name": "gym-2030"}, "state": "active", "offeringId": offering}
        account.stubs["savingsplans"].add_response("describe_savings_plans", {"savingsPlans": [plan]})


@pytest.mark.parametrize("kind", ["rds", "elasticache", "savings_plan"])
def test_what_was_bought_is_not_bought_again(account: Account, kind: str) -> None:
    owned(account, kind, "offer")
    found = account.run(purchase=purchase(kind, "offer"), confirm_purchase=["offer"])
    assert (found["changed"], found["bought"]) == (False, [])


@pytest.mark.parametrize("kind", ["rds", "elasticache", "savings_plan"])
def test_a_name_stands_for_one_purchase(account: Account, kind: str) -> None:
    owned(account, kind, "other")
    with pytest.raises(RequestError, match="was bought already, of the offering other"):
        account.run(purchase=purchase(kind, "offer"), confirm_purchase=["offer"])
