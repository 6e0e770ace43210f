"""What goes into the image of the local hosts, and the name that follows from it. Nothing here touches the machine."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = "gym-host"
LABEL = "gym.platform=image"
DISK_FULL = re.compile(r"no space left on device|disk quota exceeded|enospc", re.IGNORECASE)

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_APT_SETTING = re.compile(r'^(Acquire::(?:http|https)(?:::[^ "]*)?::(?:Proxy|Verify-[A-Za-z]+)(?:::[^ "]*)?) "(.+)";$')
# Where packages come from; anything else in pip's configuration is a matter of the machine that builds.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host")


@dataclass(frozen=True)
class Base:
    """All that the plain image depends on."""

    suite: str
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    # Path inside the image -> content; the mode is that of the file in the role.
    files: Mapping[str, bytes] = field(default_factory=dict)
    script: bytes = b""

    @property
    def tag(self) -> str:
        """Name the image by its content, so that it is built again exactly when something in it changes."""
        files = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        script = hashlib.sha256(self.script).hexdigest()
        return f"{REPOSITORY}:base-{digest([self.suite, self.sources, self.packages, files, script])}"


@dataclass(frozen=True)
class Bake:
    """All that the baked image depends on."""

    base: str
    packages: tuple[str, ...]
    # Role -> content of its requirements file.
    requirements: Mapping[str, bytes] = field(default_factory=dict)
    script: bytes = b""

    @property
    def tag(self) -> str:
        """Name the image by its content."""
        requirements = {role: hashlib.sha256(content).hexdigest() for role, content in self.requirements.items()}
        script = hashlib.sha256(self.script).hexdigest()
        return f"{REPOSITORY}:baked-{digest([self.base, self.packages, requirements, script])}"

    def dockerfile(self) -> str:
        """Write the one step that makes the baked image out of the plain one."""
        command = json.dumps(["sh", "/bake/bake.sh", *self.packages])
        key, value = LABEL.split("=")
        return f"FROM {self.base}\nLABEL {key}={value}\nCOPY bake/ /bake/\nRUN {command}\n"


def digest(inputs: Any) -> str:
    """Shorten any record to twelve characters."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def debian_sources(index_targets: str, suite: str) -> tuple[str, ...]:
    """Keep the machine's own lines for this Debian suite, its updates and its security fixes."""
    lines = {" ".join(line.split()) for line in index_targets.splitlines() if line.strip()}
    names = {suite, f"{suite}-updates", f"{suite}-security"}
    return tuple(sorted(line for line in lines if len(line.split()) >= 4 and line.split()[2] in names))


def apt_settings(dump: str) -> str:
    """Keep what the machine needs to reach its package sources (proxies), in APT's own words."""
    lines = [line for line in dump.splitlines() if _APT_SETTING.match(line)]
    return "".join(f"{line}\n" for line in lines)


def extra_certificates(bundle: str, known: Iterable[str]) -> list[str]:
    """List the certificates of the machine's bundle that Debian's own ca-certificates does not bring."""
    usual = {_normal(match) for text in known for match in _CERTIFICATE.findall(text)}
    found: dict[str, str] = {}
    for match in _CERTIFICATE.findall(bundle):
        if _normal(match) not in usual:
            found.setdefault(_normal(match), match)
    return [found[key] + "\n" for key in sorted(found)]


def pip_configuration(listing: str, bundle: str | None) -> str:
    """Turn `pip config list` into a file for the image; places on the building machine's own disk stay out."""
    lines = []
    for setting in _PIP_SETTINGS:
        for section in ("global", "install", ":env:"):
            match = re.search(rf"^{section}\.{setting}='(.*)'$", listing, re.MULTILINE)
            values = [word for word in re.split(r"\s+|\\n", match[1]) if word] if match else []
            values = [word for word in values if not word.startswith(("file:", "/"))]
            if values:
                lines.append(f"{setting} = {' '.join(values)}")
                break
    if bundle:
        lines.append(f"cert = {bundle}")
    return "[global]\n" + "\n".join(lines) + "\n" if lines else ""


def build_context(bake: Bake, wheels: Path) -> io.BytesIO:
    """Pack what the baking step needs; `wheels` has one directory of downloads for each role."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        _add(archive, "Dockerfile", bake.dockerfile().encode())
        _add(archive, "bake/bake.sh", bake.script)
        for role, requirements in bake.requirements.items():
            _add(archive, f"bake/{role}/requirements.txt", requirements)
            for wheel in sorted((wheels / role).glob("*")):
                archive.add(wheel, f"bake/{role}/{wheel.name}")
    stream.seek(0)
    return stream


def explain(trouble: str, place: str) -> str:
    """Reduce the end of a log to one sentence."""
    if DISK_FULL.search(trouble):
        return f"The disk is full: {place} has no space left; free some and run this again."
    lines = [line.strip() for line in trouble.splitlines() if line.strip()]
    # The first complaint is the cause, and the later ones are what followed from it.
    telling = [line for line in lines if re.match(r"(E: |ERROR|error|fatal)", line)][:1] or lines[-3:]
    return " | ".join(telling) or "nothing was said about why"


def _normal(certificate: str) -> str:
    return "".join(certificate.split())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))
