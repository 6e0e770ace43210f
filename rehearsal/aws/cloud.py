"""MiniStack as a rehearsal of CloudFormation: the types that it lacks, the guards, and drift of every type."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from ministack.app import app
from ministack.services import ssm, tagging
from ministack.services.cloudformation import _change_sets, changesets, handlers, provisioners, stacks
from ministack.services.cloudformation import drift as native_drift

from rehearsal.aws import (
    application_autoscaling,
    backups,
    control,
    databases,
    drift,
    guards,
    images,
    private,
    regions,
    resource_types,
    schemas,
    weights,
)

NOTHING = "didn't contain changes"
IMAGE = "ami-0123456789abcdef0"


class Replacing(dict[str, tuple[str, ...]]):
    """The properties that replace a resource when they change: MiniStack's where it knows a type, else the schema's."""

    def __init__(self, known: dict[str, tuple[str, ...]], pointers: str, region: str) -> None:
        """Look the others up when they are asked for."""
        super().__init__(known)
        self._pointers, self._region = pointers, region

    def get(self, rtype: str, default: Any = None) -> Any:
        """Return the properties of a type."""
        found = schemas.schema(rtype, self._region)
        if rtype not in self and found:
            # A change below a property may replace it.
            nested = schemas.names(found, "createOnlyProperties", nested=True)
            below = [path.split(".")[0] for path in nested if "." in path]
            own = schemas.names(found, self._pointers)
            self[rtype] = tuple(own if self._pointers == "createOnlyProperties" else own + below)
        return super().get(rtype, default)


def without_needless_conditions(find: Callable[..., Any], region: str) -> Callable[..., Any]:
    """AWS looks where within a property a change is before it calls a replacement possible; MiniStack does not."""

    def found(old: Any, new: Any, *args: Any, **kwargs: Any) -> Any:
        changes = find(old, new, *args, **kwargs)
        for change in (item["ResourceChange"] for item in changes):
            key, rtype = change["LogicalResourceId"], change["ResourceType"]
            if change.get("Replacement") != "Conditional":
                continue
            before, after = (side["Resources"][key].get("Properties") or {} for side in (old, new))
            nested = schemas.names(schemas.schema(rtype, region), "createOnlyProperties", nested=True)
            for detail in change["Details"]:
                name = detail["Target"].get("Name", "")
                below = [path for path in nested if path.startswith(f"{name}.")]
                if below and all(_within(before, path) == _within(after, path) for path in below):
                    detail["Target"]["RequiresRecreation"] = "Never"
            if all(detail["Target"]["RequiresRecreation"] == "Never" for detail in change["Details"]):
                change["Replacement"] = "False"
        return changes

    return found


def _within(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def mended(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what makes change sets that change outputs alone, and that adopt buckets.

    MiniStack finds nothing in the first, and takes the second's names for taken.
    """

    def created(params: Any) -> Any:
        before = set(_change_sets)
        answer = create(params)
        for identity in set(_change_sets) - before:
            change_set = _change_sets[identity]
            # Its own look at names before it begins; ours comes with each resource.
            change_set["_disable_validation"] |= bool(change_set["_import_existing"])
            stack = handlers._resolve_stack(change_set["StackName"]) or {}
            old, new = stack.get("_template") or {}, change_set["_template"]
            if NOTHING in change_set["StatusReason"] and old.get("Outputs") != new.get("Outputs"):
                change_set |= {"Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE", "StatusReason": ""}
        return answer

    return created


def register(region: str) -> frozenset[str]:
    """Teach MiniStack what it lacks, and return the types that have a service behind them."""
    table = provisioners._RESOURCE_HANDLERS
    native = frozenset(table)
    published = [rtype for rtype in schemas.index(region) if not rtype.startswith("AWS::CloudFormation::")]
    for rtype in published:
        if rtype in native:
            table[rtype] = resource_types.completed(rtype, table[rtype])
        else:
            table[rtype] = resource_types.EC2_TYPES.get(rtype) or resource_types.remembered(rtype)
    table["AWS::RDS::DBInstance"] = databases.stacked(table["AWS::RDS::DBInstance"])
    for rtype in published:
        table[rtype] = guards.guarded(rtype, table[rtype], native)
    emulated = native | frozenset(resource_types.EC2_TYPES)

    for name, pointers in (
        ("_REPLACING_PROPERTIES", "createOnlyProperties"),
        ("_CONDITIONALLY_REPLACING_PROPERTIES", "conditionalCreateOnlyProperties"),
    ):
        setattr(provisioners, name, Replacing(getattr(provisioners, name), pointers, region))
    native_drift.supports_drift, native_drift.detect_resource_drift = table.__contains__, drift.detector(emulated)
    handlers._capabilities_enforced = lambda: True
    for name in ("_deploy_stack_async", "_delete_stack_async"):
        watching = drift.watched(getattr(stacks, name))
        for module in (stacks, changesets, handlers):
            if hasattr(module, name):
                setattr(module, name, watching)
    handlers._ACTION_HANDLERS["CreateChangeSet"] = mended(changesets._create_change_set)

    changesets._diff_resources = without_needless_conditions(changesets._diff_resources, region)

    # It reads their tags for policies only, and not when all tagged resources are asked for.
    tagging._COLLECTORS["secretsmanager"] = tagging._collect_secretsmanager

    known = ssm.resolve_parameter_value

    def public(name: Any, *args: Any, **kwargs: Any) -> Any:
        # AWS's own image parameters, which nobody may write.
        return known(name, *args, **kwargs) or (IMAGE if str(name).startswith("/aws/service/ami-") else None)

    ssm.resolve_parameter_value = public
    return emulated


def serve(listener: socket.socket, region: str, ready: Callable[[], None]) -> None:
    """Serve on a socket; `ready` is called when requests are answered."""
    if moved := private.missing():
        raise SystemExit(f"This version of MiniStack has no {', '.join(moved)}: adapt rehearsal/aws, or pin another.")
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"

    weights.register()
    databases.register()
    backups.register()
    images.register()
    cloud = application_autoscaling.scaling(regions.reached(app))

    async def run() -> None:
        asyncio.get_running_loop().call_soon(ready)
        await hypercorn_serve(control.controlled(cloud, register(region)), config)

    asyncio.run(run())
