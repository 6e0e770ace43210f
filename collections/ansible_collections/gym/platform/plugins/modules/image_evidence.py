"""Say what is in an image and where it comes from, in files and beside the image in the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_evidence
short_description: Say what is in an image and where it comes from
description:
  - Reads the Debian and the Python packages off the image itself, and writes them as a CycloneDX bill of materials.
  - Writes what the image's build said of itself as an in-toto statement with SLSA provenance. An image of before builds
    said anything has none.
  - Attaches both to the image in the registry, as referrers.
  - Nothing is done for an image whose files are there already, or that has both attached.
options:
  name:
    description: The image's name in the engine and in the registry.
    type: str
    required: true
  version:
    description: The tag.
    type: str
    required: true
  digest:
    description: The image's digest in the registry; the engine's id where there is none.
    type: str
    default: ""
  directory:
    description: Where the files are written, as C(<name>.cdx.json) and C(<name>.intoto.json).
    type: path
    required: true
extends_documentation_fragment: [gym.platform.engine, gym.platform.registry]
author: [Gym Platform]
attributes:
  check_mode: {support: full, description: Says whether anything would be written or attached.}
"""

EXAMPLES = r"""
- name: Say what is in the image, and where it comes from
  gym.platform.image_evidence:
    name: gym-api
    version: 0123456789ab
    directory: build/development/images
"""

RETURN = r"""
files:
  description: The files that are there now.
  type: list
  elements: str
  returned: always
attached:
  description: The media types that were attached to the image in the registry.
  type: list
  elements: str
  returned: always
packages:
  description: How many packages are in the image.
  type: int
  returned: always
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils.image_contents import (
    Contents,
    bill_of_materials,
    contents,
)
from ansible_collections.gym.platform.plugins.module_utils.image_provenance import said, statement
from ansible_collections.gym.platform.plugins.module_utils.local_engine import ENGINE, Engine, EngineError
from ansible_collections.gym.platform.plugins.module_utils.oci_referrers import ReferrerError, Repository
from ansible_collections.gym.platform.plugins.module_utils.service_image import REGISTRY

BILL, PROVENANCE = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"
ENDINGS = {BILL: "cdx.json", PROVENANCE: "intoto.json"}


def look_into(engine: Engine, tag: str) -> Contents:
    """Read what is in an image, by a container that is made for it and never started."""
    container = engine.call("POST", "/containers/create", body={"Image": tag})["Id"]
    try:
        with engine.download(f"/containers/{container}/export") as archive:
            return contents(archive)
    finally:
        engine.call("DELETE", f"/containers/{container}", {"force": 1}, accept=(404,))


def moment(text: str) -> datetime:
    """Return a time of the engine, which has more digits than Python reads, in whole seconds of UTC."""
    return datetime.fromisoformat(text.partition(".")[0].removesuffix("Z")).replace(tzinfo=UTC)


def evidence(options: Mapping[str, Any], found: Mapping[str, Any], inside: Contents) -> dict[str, str]:
    """Return the documents about an image, by their media types; `found` is what the engine says of it."""
    name, version, created = options["name"], options["version"], moment(found["Created"])
    documents = {BILL: bill_of_materials(name, version, found["Id"], created, inside)}
    if build := said(found["Config"].get("Labels")):
        checksum = hashlib.sha256(documents[BILL].encode()).hexdigest()
        finished = f"{created:%Y-%m-%dT%H:%M:%SZ}"
        told = statement(name, version, options["digest"] or found["Id"], finished, build, checksum)
        documents[PROVENANCE] = json.dumps(told, indent=2) + "\n"
    return documents


def attach(options: Mapping[str, Any], documents: Mapping[str, str]) -> list[str]:
    """Attach what is not attached yet, and say what that was."""
    with requests.Session() as session, tempfile.NamedTemporaryFile("w", suffix=".pem") as authority:
        session.auth = (options["registry_username"], options["registry_password"])
        if options["registry_certificate_authority"]:
            authority.write(options["registry_certificate_authority"])
            authority.flush()
            session.verify = authority.name
            # Otherwise REQUESTS_CA_BUNDLE would be believed instead.
            session.trust_env = False
        repository = Repository(f"{options['registry']}/{options['name']}", session)
        title = f"{options['name']}:{options['version']}"
        return [
            kind
            for kind, document in documents.items()
            if repository.attach(
                options["digest"],
                kind,
                document.encode(),
                {"org.opencontainers.image.title": f"{title} {ENDINGS[kind]}"},
            )
        ]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do it; the result is the module's."""
    options = module.params
    engine = Engine(options["socket"])
    tag = f"{options['name']}:{options['version']}"
    found = engine.call("GET", f"/images/{quote(tag)}/json", accept=(404,))
    if found is None:
        # Only said of an image that is still to be built.
        if module.check_mode:
            return {"changed": True, "files": [], "attached": [], "packages": 0}
        module.fail_json(msg=f"The engine has no image {tag}: gym.platform.service_image builds it.")
    inside = look_into(engine, tag)
    documents = evidence(options, found, inside)
    files = {
        Path(options["directory"]) / f"{options['name']}.{ENDINGS[kind]}": text for kind, text in documents.items()
    }
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    attached: list[str] = []
    if not module.check_mode:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        if options["registry"] and options["digest"]:
            attached = attach(options, documents)
    return {
        "changed": bool(stale or attached),
        "files": sorted(map(str, files)),
        "attached": attached,
        "packages": len(inside.packages),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "digest": {"type": "str", "default": ""},
            "directory": {"type": "path", "required": True},
            **REGISTRY,
            **ENGINE,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (EngineError, ReferrerError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
