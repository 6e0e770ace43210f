"""Build the image that local hosts start from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: local_image
short_description: Build the image that local hosts start from
description:
  - Makes a plain Debian image with C(mmdebstrap), and bakes the packages of all roles into a second one.
  - Package sources, proxies, certificate authorities and pip's index are those of the machine that builds.
  - Both images are named by a hash of all that they depend on, and are built only when no image of that name exists.
  - It may be interrupted at any time. The next run builds what is missing.
options:
  state:
    description: Whether the image is there, or whether all images that were ever built here are gone.
    type: str
    choices: [present, absent]
    default: present
  suite:
    description: The Debian release. Required for O(state=present).
    type: str
  sources:
    description: Lines of C(sources.list). The machine's own for this release when empty.
    type: list
    elements: str
    default: []
  base_packages:
    description: Packages of the plain image.
    type: list
    elements: str
    default: []
  packages:
    description: Packages that are baked in.
    type: list
    elements: str
    default: []
  requirements:
    description: Roles with a Python environment below C(/opt), each with the path of its hash-pinned requirements.
    type: dict
    default: {}
  files:
    description: The directory with C(image/), C(prepare.sh) and C(bake.sh). Required for O(state=present).
    type: path
  cache:
    description: Where the build takes place, and where its logs are kept.
    type: path
    required: true
  baked:
    description: Whether the result is the baked image or the plain one.
    type: bool
    default: true
extends_documentation_fragment: [gym.platform.engine]
author: [Gym Platform]
attributes:
  check_mode: {support: full, description: Says which image would be built.}
"""

EXAMPLES = r"""
- name: Build the plain image
  gym.platform.local_image:
    suite: bookworm
    base_packages: [systemd, systemd-sysv, openssh-server, python3]
    files: "{{ role_path }}/files"
    cache: .cache/local_hosts
    baked: false
"""

RETURN = r"""
image:
  description: Name of the image to start hosts from.
  type: str
  returned: when O(state=present)
  sample: gym-host:baked-0123456789ab
built:
  description: The images that were built, with the seconds that each took.
  type: dict
  returned: when O(state=present)
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gym.platform.plugins.module_utils import local_image as image
from ansible_collections.gym.platform.plugins.module_utils.image_workshop import (
    IN_NAMESPACES,
    BuildError,
    Workshop,
    output_of,
    own_sources,
)
from ansible_collections.gym.platform.plugins.module_utils.local_engine import ENGINE, Engine, EngineError

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
USUAL_CERTIFICATES = Path("/usr/share/ca-certificates/mozilla")
GIBIBYTE = 1024**3
# Measured: a plain image of 0.2 and a baked one of 1.4 GiB, with their copies on the way.
SPACE_ENGINE = 4 * GIBIBYTE
SPACE_CACHE = 1 * GIBIBYTE


class Machine:
    """What the image takes over from the machine that builds it."""

    def __init__(self, suite: str, sources: list[str]) -> None:
        """Read nothing yet."""
        self._suite = suite
        self._sources = tuple(sources)

    def sources(self) -> tuple[str, ...]:
        """Return the package sources: those that are named, or the machine's own."""
        return self._sources or own_sources(self._suite)

    def files(self) -> dict[str, bytes]:
        """Return the files by which the image reaches what this machine reaches."""
        files = {}
        extra = self._certificates()
        for number, certificate in enumerate(extra, start=1):
            files[f"usr/local/share/ca-certificates/building-machine-{number}.crt"] = certificate.encode()
        settings = image.apt_settings(output_of(["apt-config", "dump"]))
        if settings:
            files["etc/apt/apt.conf.d/90building-machine"] = settings.encode()
        pip = image.pip_configuration(
            output_of([sys.executable, "-m", "pip", "config", "list"]), str(BUNDLE) if extra else None
        )
        if pip:
            files["etc/pip.conf"] = pip.encode()
        if extra:
            # Python's requests brings certificates of its own where it does not come from Debian.
            files["etc/environment"] = f"REQUESTS_CA_BUNDLE={BUNDLE}\nSSL_CERT_FILE={BUNDLE}\n".encode()
        return files

    @staticmethod
    def _certificates() -> list[str]:
        if not BUNDLE.is_file():
            return []
        usual = [path.read_text(errors="replace") for path in USUAL_CERTIFICATES.glob("*.crt")]
        return image.extra_certificates(BUNDLE.read_text(errors="replace"), usual)


class Builder:
    """Builds images in the engine."""

    def __init__(self, engine: Engine, workshop: Workshop) -> None:
        """Use this engine, and this workshop for everything on the way."""
        self._engine = engine
        self._workshop = workshop

    def has(self, tag: str) -> bool:
        """Tell whether the image exists."""
        return self._engine.call("GET", f"/images/{quote(tag)}/json", accept=(404,)) is not None

    def require_space(self) -> None:
        """Refuse to begin what cannot end."""
        root = Path(self._engine.call("GET", "/info")["DockerRootDir"])
        self._workshop.cache.mkdir(parents=True, exist_ok=True)
        for place, needed in ((root, SPACE_ENGINE), (self._workshop.cache, SPACE_CACHE)):
            if place.exists():
                free = shutil.disk_usage(place).free
                if free < needed:
                    raise BuildError(
                        f"Not enough disk space: building the image of the local hosts needs {needed // GIBIBYTE} GiB "
                        f"at {place}, and {free / GIBIBYTE:.1f} GiB are free."
                    )

    def plain(self, base: image.Base, files: Path) -> None:
        """Make the plain image."""
        if os.geteuid() != 0:
            raise BuildError("Building the image of the local hosts needs root (mmdebstrap): run this as root.")
        if shutil.which("mmdebstrap") is None:
            raise BuildError("mmdebstrap is not installed: install Debian's package mmdebstrap (`make up` does).")
        with self._workshop.alone() as place:
            if self.has(base.tag):
                return
            overlay = place / "overlay"
            shutil.copytree(files / "image", overlay)
            for name, content in base.files.items():
                target = overlay / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    target.write_bytes(content)
            sources = place / "sources.list"
            sources.write_text("".join(f"{line}\n" for line in base.sources))
            script = place / "prepare.sh"
            script.write_bytes(base.script)
            archive = place / "base.tar"
            (place / "tmp").mkdir(mode=0o755)
            command = [*IN_NAMESPACES, "env", f"TMPDIR={place / 'tmp'}"]
            command += ["mmdebstrap", "--mode=root", "--variant=minbase"]
            command += [f"--include={','.join(base.packages)}", '--aptopt=APT::Install-Recommends "false"']
            # The lists stay: baking needs them next.
            command += ["--skip=cleanup/apt/lists", f"--setup-hook=sync-in {overlay} /"]
            command += [f'--customize-hook=chroot "$1" sh -s < {script}', base.suite, str(archive), str(sources)]
            self._workshop.run(command, "base.log", "Making the plain image with mmdebstrap")
            tag = base.tag.rpartition(":")[2]
            query = {"fromSrc": "-", "repo": image.REPOSITORY, "tag": tag, "changes": f"LABEL {image.LABEL}"}
            with archive.open("rb") as stream:
                self._drain("/images/create", query, stream)

    def baked(self, bake: image.Bake, requirements: dict[str, str]) -> None:
        """Make the baked image out of the plain one."""
        with self._workshop.alone() as place:
            if self.has(bake.tag):
                return
            for role, path in requirements.items():
                # Downloaded here, because the index may be a place that only this machine reaches.
                command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
                command += ["--require-hashes", "--only-binary=:all:", "--python-version=3.11"]
                command += ["--requirement", path, "--dest", str(place / role)]
                self._workshop.run(command, f"{role}.log", f"Downloading the requirements of the role {role}")
            query = {"t": bake.tag, "networkmode": "host", "rm": 1, "forcerm": 1}
            self._drain("/build", query, image.build_context(bake, place).getvalue())

    def forget_others(self, keep: set[str]) -> None:
        """Remove earlier images of ours that no host uses, so that the disk does not fill up over the weeks."""
        for record in self._engine.call("GET", "/images/json", {"filters": {"label": [image.LABEL]}}):
            # An image without a name is what an interrupted build got to.
            for name in record.get("RepoTags") or [record["Id"]]:
                if name not in keep:
                    self._engine.call("DELETE", f"/images/{quote(name)}", accept=(404, 409))

    def remove_all(self, check: bool) -> bool:
        """Remove every image that carries our label; one that a host of another environment uses stays."""
        found = self._engine.call("GET", "/images/json", {"filters": {"label": [image.LABEL]}})
        if not check:
            for record in found:
                self._engine.call("DELETE", f"/images/{quote(record['Id'])}", {"force": 1}, accept=(404, 409))
        return bool(found)

    def _drain(self, path: str, query: dict[str, Any], body: Any) -> None:
        log = self._workshop.cache / ("bake.log" if path == "/build" else "import.log")
        said: list[str] = []
        try:
            with log.open("w") as stream:
                for record in self._engine.stream("POST", path, query, body):
                    text = str(record.get("stream") or record.get("status") or "")
                    said.append(text)
                    stream.write(text if text.endswith("\n") else text + "\n")
        except EngineError as error:
            reason = image.explain("".join(said) + f"\n{error}", "the engine's directory")
            raise BuildError(f"Building the image of the local hosts failed: {reason} (log: {log})") from error


def describe(options: dict[str, Any]) -> tuple[image.Base, image.Bake]:
    """Gather all that the two images depend on."""
    files = Path(options["files"])
    machine = Machine(options["suite"], options["sources"])
    overlay = files / "image"
    own = {str(path.relative_to(overlay)): path.read_bytes() for path in overlay.rglob("*") if path.is_file()}
    base = image.Base(
        suite=options["suite"],
        sources=machine.sources(),
        packages=tuple(options["base_packages"]),
        files={**machine.files(), **own},
        script=(files / "prepare.sh").read_bytes(),
    )
    bake = image.Bake(
        base=base.tag,
        packages=tuple(options["packages"]),
        requirements={role: Path(path).read_bytes() for role, path in options["requirements"].items()},
        script=(files / "bake.sh").read_bytes(),
    )
    return base, bake


def present(builder: Builder, options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Have the image there; return the module's answer."""
    base, bake = describe(options)
    wanted = bake.tag if options["baked"] else base.tag
    if builder.has(wanted):
        return {"changed": False, "image": wanted, "built": {}}
    built: dict[str, float] = {}
    if not check:
        builder.require_space()
        started = time.monotonic()
        if not builder.has(base.tag):
            builder.plain(base, Path(options["files"]))
            built[base.tag] = round(time.monotonic() - started, 1)
            started = time.monotonic()
        if options["baked"]:
            builder.baked(bake, options["requirements"])
            built[bake.tag] = round(time.monotonic() - started, 1)
        builder.forget_others({base.tag, bake.tag})
    return {"changed": True, "image": wanted, "built": built}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "suite": {"type": "str"},
            "sources": {"type": "list", "elements": "str", "default": []},
            "base_packages": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "requirements": {"type": "dict", "default": {}},
            "files": {"type": "path"},
            "cache": {"type": "path", "required": True},
            "baked": {"type": "bool", "default": True},
            **ENGINE,
        },
        required_if=[("state", "present", ("suite", "files"))],
        supports_check_mode=True,
    )
    options = module.params
    # A build is much longer than a call: half an hour without a word means that it hangs.
    builder = Builder(Engine(options["socket"], timeout=1800), Workshop(Path(options["cache"])))
    try:
        if options["state"] == "present":
            answer = present(builder, options, module.check_mode)
        else:
            answer = {"changed": builder.remove_all(module.check_mode)}
    except (BuildError, EngineError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=image.explain(str(error), str(error.filename or options["cache"])))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
