"""A plan, as data and as text."""

from __future__ import annotations

from ansible_collections.gym.platform.plugins.module_utils.stack_plan import (
    Action,
    Change,
    Plan,
    Property,
    Ripple,
    StackPlan,
    refusal,
    refused,
    rendered,
)


def change(action: Action, logical_id: str = "Primary", **more: object) -> Change:
    return Change("database", logical_id, "AWS::RDS::DBInstance", action, **more)  # type: ignore[arg-type]


UPDATE = StackPlan(
    "database",
    "update",
    (
        change(
            "replace",
            properties=(
                Property("StorageEncrypted", False, True),
                Property("Tags[team].Value", None, "gym"),
                Property("Engine", "postgres", None),
            ),
            stateful=True,
        ),
        change("modify", "Alarm", certain=False),
    ),
)


def test_a_plan_reads_like_a_list_of_what_will_happen() -> None:
    plan = Plan(
        (
            StackPlan("network", "create", (Change("network", "Vpc", "AWS::EC2::VPC", "add"),)),
            UPDATE,
            StackPlan("queue", "none"),
            StackPlan("cdn", "update"),
            StackPlan("budget", "delete", (Change("budget", "Budget", "AWS::Budgets::Budget", "delete"),)),
        ),
        (Ripple("compute", "DatabaseHost", "database.Primary"),),
    )
    assert rendered(plan) == (
        "network: create\n"
        "    + Vpc  AWS::EC2::VPC\n"
        "\n"
        "database: update\n"
        "  -/+ Primary  AWS::RDS::DBInstance  (holds data)\n"
        "        ~ StorageEncrypted: false -> true\n"
        "        + Tags[team].Value: gym\n"
        "        - Engine: postgres\n"
        "    ~ Alarm  AWS::RDS::DBInstance  (perhaps)\n"
        "\n"
        "cdn: update\n"
        "      outputs only\n"
        "\n"
        "budget: delete\n"
        "    - Budget  AWS::Budgets::Budget\n"
        "\n"
        "  compute gets another DatabaseHost, because database.Primary changes\n"
        "\n"
        "Plan: 1 to add, 0 to adopt, 1 to modify, 1 to replace, 1 to delete.\n"
    )
    assert plan.summary == {"add": 1, "adopt": 0, "modify": 1, "replace": 1, "delete": 1}
    assert not plan.empty


def test_nothing_to_change_is_one_line() -> None:
    plan = Plan((StackPlan("network", "none"),))
    assert plan.empty
    assert rendered(plan) == "Nothing to change: everything is as described.\n"


def test_a_long_value_is_cut() -> None:
    long = Change("a", "B", "T", "modify", (Property("Policy", "x", {"Statement": ["y" * 200]}),))
    line = rendered(Plan((StackPlan("a", "update", (long,)),))).splitlines()[2]
    assert line.endswith("y…")
    assert len(line) < 100


def test_as_data_it_has_no_objects_of_ours() -> None:
    data = Plan((UPDATE,), (Ripple("compute", "DatabaseHost", "database.Primary"),)).as_dict()
    assert data["changes"][0]["properties"][0] == {"path": "StorageEncrypted", "before": False, "after": True}
    assert data["ripples"] == [{"stack": "compute", "parameter": "DatabaseHost", "source": "database.Primary"}]
    assert data["stacks"] == {"database": "update"}
    assert data["summary"]["replace"] == 1


def test_only_what_destroys_data_is_refused() -> None:
    changes = [
        change("replace", stateful=True),
        change("delete", "Replica", stateful=True),
        change("delete", "Gone", stateful=True),
        change("modify", "Same", stateful=True),
        change("delete", "Alarm"),
    ]
    found = refused(changes, {"database.Gone"})
    assert [item.logical_id for item in found] == ["Primary", "Replica"]
    message = refusal(found)
    assert "database.Primary (AWS::RDS::DBInstance) would be replaced" in message
    assert message.endswith("confirm_destroy: [database.Primary, database.Replica].")
