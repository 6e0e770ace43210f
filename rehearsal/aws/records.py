"""What MiniStack's services keep of a resource, found by its physical id, whatever the service calls it."""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

# Services whose module has another name.
MODULES = {
    "ElasticLoadBalancingV2": "alb",
    "WAFv2": "waf",
    "CertificateManager": "acm",
    "Logs": "cloudwatch_logs",
    "Events": "eventbridge",
}
# Changes by itself, and is no property.
VOLATILE = re.compile(
    r"e?tag|_?(last|created|updated|modified).*|.*(time|timestamp|date|status|token|reason)"
    r"|(running|pending|registered|active)\w*count|objects|messages|instances|tasks|events|deployments"
    # What was written into logs and tables; CloudFront's Items are properties.
    r"|(?-i:streams|items|ItemCount|TableSizeBytes)"
    r"|_?version_?id|sequence.*|_master.*",
    re.IGNORECASE,
)
PLURALS = {"target_group": "tgs", "load_balancer": "lbs", "alias": "aliases", "repository": "repositories"}


def service(rtype: str) -> Any:
    """Return the module of a type's service, or None."""
    _, name, _ = rtype.split("::")
    try:
        return importlib.import_module(f"ministack.services.{MODULES.get(name, name.lower())}")
    except ImportError:
        return None


def kinds(rtype: str) -> set[str]:
    """Return what MiniStack can call the store of a type: `DBProxy` is in `db_proxies` or `proxies`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", rtype.split("::")[2]).lower()
    bare = words.removeprefix("db_")
    return {PLURALS.get(name, re.sub(r"y$", "ie", name) + "s") for name in (words, bare)}


def stores(rtype: str) -> dict[str, MutableMapping[str, Any]]:
    """Return the stores of a type's service by name."""
    module = service(rtype)
    found = {} if module is None else vars(module)
    return {name: store for name, store in found.items() if type(store).__name__.endswith("ScopedDict")}


def found_in(rtype: str, physical_id: str) -> dict[str, tuple[MutableMapping[str, Any], str]]:
    """Return by name the stores that know a resource, each with the key under which it does."""
    keys = {
        physical_id,
        *physical_id.split("|"),
        re.split(r"[/|]", physical_id)[-1],
        "/".join(physical_id.split("/")[-2:]),
    }

    def by_key(store: Mapping[str, Any]) -> str | None:
        return next((key for key in keys if key in store), None)

    def by_value(store: Mapping[str, Any]) -> str | None:
        return next((k for k, v in store.items() if isinstance(v, dict) and physical_id in _texts(v)), None)

    everything = stores(rtype)
    for look in (by_key, by_value):
        found = {
            name.strip("_"): (store, key) for name, store in everything.items() if (key := look(store)) is not None
        }
        if found:
            break
    own = kinds(rtype) & found.keys()
    records = {name for name, (store, key) in found.items() if isinstance(store[key], dict) and len(store[key]) > 2}
    # A record of its own kind is the resource; records of other kinds only mention it, and lists are its children.
    return {
        name: (store, key)
        for name, (store, key) in found.items()
        if (name in own or name not in records or not own) and not (records and isinstance(store[key], list))
    }


def _texts(record: Mapping[str, Any]) -> list[str]:
    return [value for value in record.values() if isinstance(value, str)]


def plain(value: Any) -> Any:
    """Return a record as data, without what changes by itself."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if not VOLATILE.fullmatch(str(key))}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__


def record(rtype: str, physical_id: str) -> dict[str, Any]:
    """Return everything that the service keeps of a resource, or nothing."""
    return copy.deepcopy({name: plain(store[key]) for name, (store, key) in found_in(rtype, physical_id).items()})


def named(rtype: str, name: str) -> bool:
    """Whether the service has a resource of this type with this name."""
    kind = rtype.split("::")[2]
    everything = stores(rtype)
    store = next((everything[f"_{own}"] for own in sorted(kinds(rtype)) if f"_{own}" in everything), {})
    for key, value in store.items():
        fields = value if isinstance(value, dict) else {}
        own = [text for field, text in fields.items() if re.fullmatch(rf"({kind})?_?(name|identifier)", field, re.I)]
        if name == key or name in own or str(key).endswith(f":{name}"):
            return True
    return False


def leaves(value: Any) -> Iterator[str]:
    """Go through all values of a record as text, those of JSON within it too."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        try:
            yield from leaves(json.loads(value))
        except ValueError:
            yield value.lower()
    elif value not in (None, ""):
        yield re.sub(r"\.0$", "", str(value).lower())
