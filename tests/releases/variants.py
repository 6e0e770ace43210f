"""Versions of the reference service that differ in a setting: the built image under other tags, made in the registry.

A variant shares every layer with the image that was built last; only the settings in its configuration differ. So a bad
version costs a second and not a build.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import requests
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore

from tests.end_to_end.platform_access import ROOT, STATE
from tests.project import environment

BUILT = ROOT / "build" / "development" / "images" / "gym-api.json"
REPOSITORY = "gym-api"
TIMEOUT_SECONDS = 30
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class Registry:
    """The development platform's image registry, spoken to as any client does."""

    def __init__(self) -> None:
        """Find its address in the inventory, and the password where the platform keeps it."""
        host = environment().inventory.get_groups_dict()["registry"][0]
        address = environment().inventory.get_host(host).vars["ansible_host"]
        self._url = f"https://{address}:5000/v2/{REPOSITORY}"
        self._session = requests.Session()
        # This machine may have proxies and certificates of its own in the environment; this registry is ours.
        self._session.trust_env = False
        self._session.auth = ("platform", SecretStore(STATE).get("registry/push"))
        self._session.verify = str(STATE / "ca.pem")

    def built(self) -> str:
        """Return the tag of the image that was built last."""
        return str(json.loads(BUILT.read_text())["version"])

    def variant(self, tag: str, settings: Mapping[str, str]) -> str:
        """Have the built image with these environment variables under a tag, and return the tag."""
        manifest = self._call("GET", f"manifests/{self.built()}", headers={"Accept": MANIFESTS}).json()
        configuration = self._call("GET", f"blobs/{manifest['config']['digest']}").json()
        # The label makes two variants with the same settings two images.
        configuration["config"].setdefault("Labels", {})["variant"] = tag
        configuration["config"]["Env"] = [
            *configuration["config"].get("Env", []),
            *(f"{name}={value}" for name, value in settings.items()),
        ]
        content = json.dumps(configuration).encode()
        manifest["config"] |= {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
        place = self._call("POST", "blobs/uploads/").headers["Location"]
        self._session.put(
            place, params={"digest": manifest["config"]["digest"]}, data=content, timeout=TIMEOUT_SECONDS
        ).raise_for_status()
        self._call(
            "PUT", f"manifests/{tag}", data=json.dumps(manifest), headers={"Content-Type": manifest["mediaType"]}
        )
        return tag

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = self._session.request(method, f"{self._url}/{path}", timeout=TIMEOUT_SECONDS, **options)
        answer.raise_for_status()
        return answer
