"""Build the image of a service without any image registry, and push it to ours."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_image
short_description: Build the image of a service and push it
description:
  - Makes a small Debian with C(mmdebstrap), out of the machine's own package sources, and keeps it in the engine.
  - Installs the service's hash-pinned requirements beside it and builds the image by the service's C(Dockerfile).
  - The image is tagged with its version. Where the engine, or the registry, has that tag, nothing is done.
  - It may be interrupted at any time. The next run does what is missing.
  - Who built it, when, of which commit and of what is a label of the image. M(gym.platform.image_evidence) makes
    provenance of it.
options:
  name:
    description: The image's name in the engine and in the registry.
    type: str
    required: true
  source:
    description: The service's folder, with C(Dockerfile), C(requirements.txt) and C(src/).
    type: path
    required: true
  version:
    description: The tag.
    type: str
    required: true
  suite:
    description: The Debian release under the service.
    type: str
    default: bookworm
  packages:
    description: The Debian packages under the service.
    type: list
    elements: str
    required: true
  python:
    description: The version of Python that these packages bring.
    type: str
    default: "3.11"
  cache:
    description: Where the build takes place, and where its logs are kept.
    type: path
    required: true
  output:
    description: The file that says which image it is, as JSON.
    type: path
    required: true
  uv:
    description: The program C(uv). Where there is none, this Python's C(pip) installs the requirements, more slowly.
    type: str
    default: uv
  builder:
    description: Who builds, as a URI.
    type: str
    default: urn:gym-platform:controller
  invocation:
    description: The run of the builder, as a URI.
    type: str
    default: ""
extends_documentation_fragment: [gym.platform.engine, gym.platform.registry]
author: [Gym Platform]
attributes:
  check_mode: {support: full, description: Says whether the image would be built or pushed.}
"""

EXAMPLES = r"""
- name: Build the reference service
  gym.platform.service_image:
    name: gym-api
    source: examples/gym_api
    version: 0123456789ab
    packages: [ca-certificates, python3]
    cache: .cache/service_image
    output: build/development/images/gym-api.json
"""

RETURN = r"""
image:
  description: The name, the version, the engine's id, and the registry's digest where it was pushed.
  type: dict
  returned: always
done:
  description: What was built or pushed, with the seconds that each took.
  type: dict
  returned: always
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils import service_image as image
from ansible_collections.gym.platform.plugins.module_utils.atomic_file import write_if_different
from ansible_collections.gym.platform.plugins.module_utils.image_provenance import LABEL, Build, public_address
from ansible_collections.gym.platform.plugins.module_utils.image_workshop import (
    IN_NAMESPACES,
    BuildError,
    Workshop,
    output_of,
    own_sources,
)
from ansible_collections.gym.platform.plugins.module_utils.local_engine import ENGINE, Engine, EngineError
from ansible_collections.gym.platform.plugins.module_utils.local_image import apt_settings, explain

# A registry that was started a moment ago may not listen yet, and one that is far away may stumble.
PUSH_RETRIES = 3


class Builder:
    """Builds images in the engine."""

    def __init__(self, engine: Engine, workshop: Workshop) -> None:
        """Build with this engine."""
        self._engine = engine
        self._workshop = workshop

    def image_id(self, tag: str) -> str | None:
        """Return the id of an image, or None where there is none."""
        found = self._engine.call("GET", f"/images/{quote(tag)}/json", accept=(404,))
        return str(found["Id"]) if found else None

    def base(self, base: image.Base) -> None:
        """Make the Debian under the service."""
        if os.geteuid() != 0:
            raise BuildError("Building an image needs root (mmdebstrap): run this as root.")
        with self._workshop.alone() as place:
            if self.image_id(base.tag):
                return
            sources = place / "sources.list"
            sources.write_text("".join(f"{line}\n" for line in own_sources(base.suite)))
            settings = apt_settings(output_of(["apt-config", "dump"])).splitlines()
            archive = place / "base.tar"
            command = [*IN_NAMESPACES, "env", f"TMPDIR={place}"]
            command += image.mmdebstrap_command(base, archive, sources, settings)
            # mmdebstrap's `_apt` user has to reach the directory.
            place.chmod(0o755)
            self._workshop.run(command, "base.log", "Making the base of the image with mmdebstrap")
            repository, _, tag = base.tag.partition(":")
            query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": f"LABEL {image.LABEL}"}
            with archive.open("rb") as stream:
                self._drain("/images/create", query, stream)

    def service(self, tag: str, base: image.Base, source: Path, installer: list[str], build: Build) -> None:
        """Build the service on its base."""
        with self._workshop.alone() as place:
            if self.image_id(tag):
                return
            site_packages = place / "site-packages"
            command = image.install_command(installer, source / "requirements.txt", site_packages, build.python)
            self._workshop.run(command, "requirements.log", "Installing the requirements of the service")
            with (place / "context.tar").open("w+b") as context:
                image.build_context(source, site_packages, context)
                context.seek(0)
                labels = {**dict([image.LABEL.split("=")]), LABEL: build.label()}
                query: dict[str, Any] = {"t": tag, "buildargs": {"BASE": base.tag}, "labels": labels}
                query |= {"networkmode": "none", "rm": 1, "forcerm": 1}
                self._drain("/build", query, context)

    def _drain(self, path: str, query: dict[str, Any], body: Any) -> None:
        said: list[str] = []
        try:
            # Bit by bit, so that what was said before an error is known.
            said.extend(
                str(answer.get("stream") or answer.get("status") or "")
                for answer in self._engine.stream("POST", path, query, body)
            )
        except EngineError as error:
            reason = explain("".join(said) + f"\n{error}", "the engine's directory")
            raise BuildError(f"Building the image failed: {reason}") from error


class Registry:
    """Our registry, through skopeo: the engine would have to be told of its certificate, and be restarted."""

    def __init__(self, address: str, username: str, password: str, certificate_authority: str, place: Path) -> None:
        """Keep credentials and certificate in files that only this user reads, for as long as `place` is there."""
        self._address = address
        self._auth = place / "auth.json"
        self._auth.write_text(image.auth_file(address, username, password))
        self._certificates = place / "certificates"
        self._certificates.mkdir()
        if certificate_authority:
            (self._certificates / "ca.crt").write_text(certificate_authority)

    def digest(self, name: str, version: str) -> str | None:
        """Return the digest of a tag, or None where the registry has none."""
        command = ["skopeo", "inspect", "--no-tags", "--format={{.Digest}}"]
        command += [f"--authfile={self._auth}", f"--cert-dir={self._certificates}"]
        result = self._skopeo([*command, f"docker://{self._address}/{name}:{version}"])
        if result.returncode == 0:
            return result.stdout.strip()
        if "manifest unknown" in result.stderr or "name unknown" in result.stderr:
            return None
        raise self._error("asked", result.stderr)

    def push(self, name: str, version: str) -> None:
        """Push an image of the engine."""
        command = ["skopeo", "copy", "--quiet", f"--retry-times={PUSH_RETRIES}", f"--dest-authfile={self._auth}"]
        command += [f"--dest-cert-dir={self._certificates}", f"docker-daemon:{name}:{version}"]
        result = self._skopeo([*command, f"docker://{self._address}/{name}:{version}"])
        if result.returncode != 0:
            raise self._error("given the image", result.stderr)

    def _error(self, what: str, stderr: str) -> BuildError:
        return BuildError(f"The registry {self._address} could not be {what}: {image.skopeo_reason(stderr)}")

    @staticmethod
    def _skopeo(command: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise BuildError("skopeo is not installed: install Debian's package skopeo (`make up` does).") from error


def installer_of(uv: str) -> list[str]:
    """Return the program that installs requirements."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(uv) or shutil.which("uv", path=beside)
    return [found, "pip"] if found else [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def commit_of(folder: Path) -> tuple[str, str]:
    """Return the repository's public address and the commit that a folder is in; neither when it was changed since."""
    git = ["git", "-C", str(folder)]
    commit = output_of([*git, "rev-parse", "HEAD"]).strip()
    if not commit or output_of([*git, "status", "--porcelain", "--", "."]).strip():
        return "", ""
    return public_address(output_of([*git, "remote", "get-url", "origin"]).strip()), commit


def build_of(options: dict[str, Any], base: image.Base) -> Build:
    """Return what the build says of itself."""
    source = Path(options["source"])
    repository, commit = commit_of(source)
    root = output_of(["git", "-C", str(source), "rev-parse", "--show-toplevel"]).strip()
    return Build(
        builder=options["builder"],
        invocation=options["invocation"],
        started=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        repository=repository,
        commit=commit,
        folder=source.resolve().relative_to(root).as_posix() if root else source.name,
        requirements_sha256=hashlib.sha256((source / "requirements.txt").read_bytes()).hexdigest(),
        suite=base.suite,
        packages=base.packages,
        python=options["python"],
    )


def build(module: AnsibleModule, done: dict[str, float]) -> dict[str, Any]:
    """Build and push what is missing, and say which image it is."""
    options = module.params
    source, cache = Path(options["source"]), Path(options["cache"])
    name, version = options["name"], options["version"]
    tag = f"{name}:{version}"
    base = image.Base(options["suite"], tuple(options["packages"]))
    # A build is much longer than a call: half an hour without a word means that it hangs.
    builder = Builder(Engine(options["socket"], timeout=1800), Workshop(cache))

    def step(what: str, action: Any, *arguments: Any) -> None:
        done[what] = 0.0
        if not module.check_mode:
            started = time.monotonic()
            action(*arguments)
            done[what] = round(time.monotonic() - started, 1)

    if builder.image_id(tag) is None:
        if builder.image_id(base.tag) is None:
            step("base", builder.base, base)
        step("service", builder.service, tag, base, source, installer_of(options["uv"]), build_of(options, base))
    digest = None
    if options["registry"]:
        with tempfile.TemporaryDirectory(prefix="registry-") as place:
            registry = Registry(
                options["registry"],
                options["registry_username"],
                options["registry_password"],
                options["registry_certificate_authority"],
                Path(place),
            )
            digest = registry.digest(name, version)
            if digest is None:
                step("push", registry.push, name, version)
                digest = None if module.check_mode else registry.digest(name, version)
    return image.record(name, version, builder.image_id(tag) or "", digest)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "source": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "suite": {"type": "str", "default": "bookworm"},
            "packages": {"type": "list", "elements": "str", "required": True},
            "python": {"type": "str", "default": "3.11"},
            "cache": {"type": "path", "required": True},
            "output": {"type": "path", "required": True},
            "uv": {"type": "str", "default": "uv"},
            "builder": {"type": "str", "default": "urn:gym-platform:controller"},
            "invocation": {"type": "str", "default": ""},
            **image.REGISTRY,
            **ENGINE,
        },
        supports_check_mode=True,
    )
    done: dict[str, float] = {}
    try:
        found = build(module, done)
        changed = bool(done)
        if not module.check_mode:
            text = json.dumps(found, indent=2, sort_keys=True) + "\n"
            changed = write_if_different(Path(module.params["output"]), text) or changed
    except (BuildError, EngineError, image.SourceError) as error:
        module.fail_json(msg=str(error), done=done)
    except OSError as error:
        module.fail_json(msg=explain(str(error), str(error.filename or module.params["cache"])), done=done)
    module.exit_json(changed=changed, image=found, done=done)


if __name__ == "__main__":
    main()
