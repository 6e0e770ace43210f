"""The names of MiniStack that are not public and that the rehearsal stands on, all in one place."""

from __future__ import annotations

import importlib

NAMES = {
    "ministack.app": ("app",),
    "ministack.core.responses": ("get_account_id", "get_region", "request_scope"),
    "ministack.services.cloudcontrol": ("_resources", "_resource_key"),
    "ministack.services.ec2": ("_ACTION_MAP", "_addresses", "_nat_gateways"),
    "ministack.services.alb": ("_action_xml", "_p", "_parse_actions", "_rules"),
    "ministack.services.ecr": ("_create_repository", "_images", "_put_image", "_repositories"),
    "ministack.services.ecs": ("_ACTION_MAP", "_mark_task_stopped", "_primary_deployment", "_services", "_tasks"),
    "ministack.services.backup": (
        "_describe_copy_job",
        "_err",
        "_jobs",
        "_list_recovery_points_by_vault",
        "_list_tags",
        "_ok",
        "_paginate",
        "_start_job",
        "_vaults",
        "handle_request",
    ),
    "ministack.services.rds": (
        "_ACTION_MAP",
        "_create_snapshot_internal",
        "_error",
        "_instance_xml",
        "_instances",
        "_p",
        "_parse_member_list",
        "_resolve_instance",
        "_snapshot_xml",
        "_snapshots",
        "_tags",
        "_xml",
    ),
    "ministack.services.s3": ("_buckets",),
    "ministack.services.ssm": ("resolve_parameter_value",),
    "ministack.services.tagging": ("_COLLECTORS", "_collect_secretsmanager"),
    "ministack.services.cloudformation": ("_stacks", "_change_sets"),
    "ministack.services.cloudformation.changesets": (
        "_IMPORT_LOOKUPS",
        "_create_change_set",
        "_deploy_stack_async",
        "_diff_resources",
    ),
    "ministack.services.cloudformation.drift": (
        "_DRIFT_READERS",
        "_differences",
        "detect_resource_drift",
        "supports_drift",
    ),
    "ministack.services.cloudformation.handlers": (
        "_ACTION_HANDLERS",
        "_capabilities_enforced",
        "_delete_stack_async",
        "_deploy_stack_async",
        "_resolve_stack",
    ),
    "ministack.services.cloudformation.provisioners": (
        "_CONDITIONALLY_REPLACING_PROPERTIES",
        "_REPLACING_PROPERTIES",
        "_RESOURCE_HANDLERS",
        "_physical_name",
    ),
    "ministack.services.cloudformation.stacks": (
        "_delete_stack_async",
        "_deploy_stack_async",
        "_stack_region",
        "_stack_region_context",
    ),
}


def missing() -> list[str]:
    """List the names that this version of MiniStack does not have."""
    return [
        f"{module}.{name}"
        for module, names in NAMES.items()
        for name in names
        if not hasattr(importlib.import_module(module), name)
    ]
