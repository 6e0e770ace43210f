"""The manifests of a release to staging, were it to compute on Kubernetes: `make golden` writes them anew.

They are what the driver applies, from what the role hands it: wiring, nouns and all. What only the cloud knows stands
there as its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# First, also where pytest has not: it makes Ansible find the collection's filters.
import conftest  # noqa: F401

# isort: split
import yaml
from ansible_collections.gym.platform.plugins.module_utils import kubernetes_manifests as manifests
from ansible_collections.gym.platform.plugins.module_utils.kubernetes_pod import Target, configuration, settings
from ansible_collections.gym.platform.plugins.module_utils.release_driver import BLUE, Release
from ansible_collections.gym.platform.plugins.module_utils.release_kubernetes import described

from tests.project import Role, environment

GOLDEN = Path(__file__).parent / "golden"
VERSION, DIGEST = "1.2", f"sha256:{'0' * 64}"


def target(name: str = "staging") -> Target:
    """Return what the role would hand to the driver in an environment, with names for what the cloud knows."""
    role = Role("release_kubernetes")

    def value(variable: str, known: dict[str, Any]) -> Any:
        templar = environment(name).templar(role, "localhost", known)
        return templar.template(templar.available_variables[variable])

    cloud = {
        "__release_kubernetes_registry": {"address": "registry.example.com/gym", "username": "", "password": ""},
        "__release_kubernetes_outputs": value("release_kubernetes_outputs", {}),
        "__release_kubernetes_secret_values": {key: key for key in value("__release_kubernetes_secret_names", {})},
    }
    return described(value("__release_kubernetes_target", cloud))


def rendered(wanted: Target) -> dict[str, list[dict[str, Any]]]:
    """Return the manifests of a release to blue that green serves before, by what they are for."""
    release = Release(VERSION, DIGEST, configuration(wanted, VERSION, DIGEST))
    migration = manifests.one_off(wanted, "migrate", ["migrate"], release)
    found: dict[str, list[Any]] = {
        "foundation": [*manifests.foundation(wanted), *settings(wanted)],
        "one_off": [migration, manifests.one_off_secrets(wanted, migration)],
    }
    for service in wanted.of("web", "worker"):
        found[service["name"]] = [
            manifests.workload(wanted, service, BLUE, release, service["replicas"]),
            manifests.scaler(service, BLUE, service["replicas"]),
            manifests.budget(service, BLUE),
        ]
    for service in wanted.of("web"):
        found[service["name"]].append(manifests.route(wanted, service, share=90))
    for service in wanted.of("job"):
        found[service["name"]] = [manifests.timer(wanted, service, release)]
    return {name: [item.to_dict() for item in items if item] for name, items in found.items()}


def texts() -> dict[str, str]:
    """Return the files that are kept."""
    return {
        f"{name}.yml": yaml.safe_dump_all(items, sort_keys=True, explicit_start=True, width=120)
        for name, items in rendered(target()).items()
    }


def main() -> None:
    """Write them."""
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.yml"):
        path.unlink()
    for name, text in texts().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
