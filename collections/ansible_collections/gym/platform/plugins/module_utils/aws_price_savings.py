"""What AWS recommends to reserve for a year or longer, and how an offering is bought that a person has named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gym.platform.plugins.module_utils.aws_client import RequestError, unless

# Cost Explorer and savings plans are served from one region for the whole account.
GLOBAL_SERVICES = ("ce", "savingsplans")
RDS, CACHE, PLAN = "rds", "elasticache", "savings_plan"
KINDS = (RDS, CACHE, PLAN)
SERVICES = {RDS: "Amazon Relational Database Service", CACHE: "Amazon ElastiCache"}
SECONDS_PER_YEAR = 365 * 24 * 3600
TERMS = {1: "ONE_YEAR", 3: "THREE_YEARS"}
PAYMENTS = {"no_upfront": "No Upfront", "partial_upfront": "Partial Upfront", "all_upfront": "All Upfront"}
LOOKBACKS = {7: "SEVEN_DAYS", 30: "THIRTY_DAYS", 60: "SIXTY_DAYS"}
NAME_TAG = "name"

# Return a client of a service.
Clients = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Terms:
    """For how many years, paid how, judged by how many days of use."""

    years: int
    payment: str
    lookback_days: int

    def asked(self) -> dict[str, str]:
        """Return them in the words of Cost Explorer."""
        return {
            "TermInYears": TERMS[self.years],
            "PaymentOption": self.payment.upper(),
            "LookbackPeriodInDays": LOOKBACKS[self.lookback_days],
        }


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What could be bought. `quantity` counts instances; of a savings plan it is US dollars an hour."""

    kind: str
    what: str
    quantity: float
    monthly_saving_usd: float
    percent: float
    upfront_usd: float
    offering: str | None


@dataclasses.dataclass(frozen=True)
class Purchase:
    """What is to be bought, once: `name` is how it is found again."""

    name: str
    kind: str
    offering: str
    quantity: float


def recommendations(clients: Clients, region: str, kinds: Sequence[str], terms: Terms) -> list[Recommendation]:
    """Return what AWS recommends for this region, the largest saving first. Raises what botocore raises."""
    found = [
        item
        for kind in kinds
        for item in (_plans(clients, terms) if kind == PLAN else _reservations(clients, region, kind, terms))
    ]
    return sorted(found, key=lambda item: -item.monthly_saving_usd)


def _pages(ask: Callable[..., Any], request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    token: dict[str, str] = {}
    while True:
        page = unless("DataUnavailableException", lambda token=token: ask(**request, **token))  # type: ignore[misc]
        # An account that is too new has nothing that could be recommended.
        if page is None:
            return
        yield page
        if not page.get("NextPageToken"):
            return
        token = {"NextPageToken": page["NextPageToken"]}


def _plans(clients: Clients, terms: Terms) -> Iterator[Recommendation]:
    ask = clients("ce").get_savings_plans_purchase_recommendation
    for page in _pages(ask, {"SavingsPlansType": "COMPUTE_SP", **terms.asked()}):
        found = page.get("SavingsPlansPurchaseRecommendation", {})
        for detail in found.get("SavingsPlansPurchaseRecommendationDetails", []):
            commitment = float(detail["HourlyCommitmentToPurchase"])
            yield Recommendation(
                kind=PLAN,
                what=f"a Compute Savings Plan of {commitment:g} USD an hour",
                quantity=commitment,
                monthly_saving_usd=float(detail["EstimatedMonthlySavingsAmount"]),
                percent=float(detail["EstimatedSavingsPercentage"]),
                upfront_usd=float(detail.get("UpfrontCost") or 0),
                offering=detail["SavingsPlansDetails"].get("OfferingId"),
            )


def _reservations(clients: Clients, region: str, kind: str, terms: Terms) -> Iterator[Recommendation]:
    ask = clients("ce").get_reservation_purchase_recommendation
    for page in _pages(ask, {"Service": SERVICES[kind], **terms.asked()}):
        for detail in (d for found in page["Recommendations"] for d in found["RecommendationDetails"]):
            details = detail["InstanceDetails"]
            instance = details.get("RDSInstanceDetails") or details.get("ElastiCacheInstanceDetails") or {}
            if not _is_here(instance, region):
                continue
            count = float(detail["RecommendedNumberOfInstancesToPurchase"])
            offering, title = _offering(clients, kind, instance, terms)
            yield Recommendation(
                kind=kind,
                what=f"{count:g} x {title}",
                quantity=count,
                monthly_saving_usd=float(detail["EstimatedMonthlySavingsAmount"]),
                percent=float(detail["EstimatedMonthlySavingsPercentage"]),
                upfront_usd=float(detail.get("UpfrontCost") or 0),
                offering=offering,
            )


# Cost Explorer says where in the words of the console.
PLACES = {"eu-west-1": "EU (Ireland)", "eu-central-1": "EU (Frankfurt)"}


def _is_here(instance: Mapping[str, Any], region: str) -> bool:
    return instance.get("Region") in (region, PLACES.get(region))


def _offering(clients: Clients, kind: str, instance: Mapping[str, Any], terms: Terms) -> tuple[str | None, str]:
    """Return the id of the offering that a recommendation means, and its title."""
    wanted = {"Duration": str(terms.years * SECONDS_PER_YEAR), "OfferingType": PAYMENTS[terms.payment]}
    if kind == RDS:
        multi = instance.get("DeploymentOption") == "Multi-AZ"
        name, engine = instance["InstanceType"], instance["DatabaseEngine"]
        pages = clients("rds").get_paginator("describe_reserved_db_instances_offerings")
        found = pages.paginate(DBInstanceClass=name, ProductDescription=engine.lower(), MultiAZ=multi, **wanted)
        offers = [offer["ReservedDBInstancesOfferingId"] for p in found for offer in p["ReservedDBInstancesOfferings"]]
        title = f"{name} {engine}{' Multi-AZ' if multi else ''}"
    else:
        name, engine = instance["NodeType"], instance["ProductDescription"]
        pages = clients("elasticache").get_paginator("describe_reserved_cache_nodes_offerings")
        found = pages.paginate(CacheNodeType=name, ProductDescription=engine.lower(), **wanted)
        offers = [offer["ReservedCacheNodesOfferingId"] for p in found for offer in p["ReservedCacheNodesOfferings"]]
        title = f"{name} {engine}"
    return (offers[0] if offers else None), title


# --- buying


def unconfirmed(purchases: Sequence[Purchase], confirmed: Sequence[str]) -> str | None:
    """Say in one sentence which purchase nobody has confirmed by naming its offering; None when all are."""
    for purchase in purchases:
        if purchase.offering not in confirmed:
            return (
                f"Buying '{purchase.name}' ({purchase.quantity:g} of the {purchase.kind} offering {purchase.offering})"
                " cannot be taken back: name that offering in confirm_purchase when it is meant."
            )
    return None


def bought(clients: Clients, purchase: Purchase) -> str | None:
    """Return the offering of what was already bought under this name. Raises RequestError when it is another one."""
    finders = {RDS: _bought_instances, CACHE: _bought_nodes, PLAN: _bought_plan}
    offering = finders[purchase.kind](clients, purchase.name)
    if offering not in (None, purchase.offering):
        raise RequestError(
            f"'{purchase.name}' was bought already, of the offering {offering}: give the purchase of"
            f" {purchase.offering} another name."
        )
    return offering


def _bought_instances(clients: Clients, name: str) -> str | None:
    ask = clients("rds").describe_reserved_db_instances
    found = unless("ReservedDBInstanceNotFound", lambda: ask(ReservedDBInstanceId=name))
    return found["ReservedDBInstances"][0]["ReservedDBInstancesOfferingId"] if found else None


def _bought_nodes(clients: Clients, name: str) -> str | None:
    ask = clients("elasticache").describe_reserved_cache_nodes
    found = unless("ReservedCacheNodeNotFound", lambda: ask(ReservedCacheNodeId=name))
    return found["ReservedCacheNodes"][0]["ReservedCacheNodesOfferingId"] if found else None


def _bought_plan(clients: Clients, name: str) -> str | None:
    token: dict[str, str] = {}
    while True:
        page = clients("savingsplans").describe_savings_plans(**token)
        for plan in page["savingsPlans"]:
            if plan.get("tags", {}).get(NAME_TAG) == name and plan["state"] not in ("retired", "payment-failed"):
                return str(plan["offeringId"])
        if not page.get("nextToken"):
            return None
        token = {"nextToken": page["nextToken"]}


def buy(clients: Clients, purchase: Purchase) -> None:
    """Buy. Whoever calls this has made sure that it is confirmed and was not bought before."""
    tags = [{"Key": NAME_TAG, "Value": purchase.name}]
    if purchase.kind == RDS:
        clients("rds").purchase_reserved_db_instances_offering(
            ReservedDBInstancesOfferingId=purchase.offering,
            ReservedDBInstanceId=purchase.name,
            DBInstanceCount=int(purchase.quantity),
            Tags=tags,
        )
    elif purchase.kind == CACHE:
        clients("elasticache").purchase_reserved_cache_nodes_offering(
            ReservedCacheNodesOfferingId=purchase.offering,
            ReservedCacheNodeId=purchase.name,
            CacheNodeCount=int(purchase.quantity),
            Tags=tags,
        )
    else:
        # The token lets AWS itself refuse to sell the same thing twice.
        clients("savingsplans").create_savings_plan(
            savingsPlanOfferingId=purchase.offering,
            commitment=f"{purchase.quantity:g}",
            clientToken=purchase.name,
            tags={NAME_TAG: purchase.name},
        )
