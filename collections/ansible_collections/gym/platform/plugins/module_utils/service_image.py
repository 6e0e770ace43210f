"""What goes into the image of a service, and the names that follow from it. Nothing here touches the machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

# The options of every module that gives something to our registry.
REGISTRY: dict[str, dict[str, Any]] = {
    "registry": {"type": "str", "default": ""},
    "registry_username": {"type": "str", "default": ""},
    "registry_password": {"type": "str", "default": "", "no_log": True},
    "registry_certificate_authority": {"type": "str", "default": ""},
}
BASE_REPOSITORY = "service-base"
LABEL = "gym.platform=service"
# What makes the image: everything else in the folder (tests, documentation, caches) may change without a new version.
SHIPPED = ("Dockerfile", "requirements.txt", "src")
_CACHES = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")
# Raised when the recipe of the base below changes what is in it.
RECIPE = 1
# Raised when the way in which a service is put on its base changes its image, the labels among it.
SERVICE_RECIPE = 2
# Left by installing: logs, and what says something about the machine that built it.
UNWANTED = ("etc/hostname", "etc/resolv.conf", "usr/share/info", "usr/share/locale", "usr/share/man", "var/log")
# mmdebstrap takes its own file away when it is done, and complains when it is gone already.
WIPE_APT = 'find "$1/etc/apt" -mindepth 1 -type f ! -name 00mmdebstrap -delete'


class SourceError(Exception):
    """The folder cannot be made into an image; the message is one sentence."""


@dataclass(frozen=True)
class Base:
    """The small Debian under a service."""

    suite: str
    packages: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All that it depends on, wherever it is built."""
        return (str(RECIPE), self.suite, *self.packages)

    @property
    def tag(self) -> str:
        """Name it by what it depends on."""
        digest = hashlib.sha256(json.dumps(self.words).encode()).hexdigest()[:12]
        return f"{BASE_REPOSITORY}:{digest}"


def shipped_files(source: Path) -> Iterator[Path]:
    """Yield the files that go into the image, in an order that does not depend on the file system."""
    for name in SHIPPED:
        path = source / name
        if not path.exists():
            raise SourceError(f"{source} has no {name}; a service's folder has {', '.join(SHIPPED)}.")
        found = [path] if path.is_file() else [child for child in path.rglob("*") if child.is_file()]
        for file in sorted(found, key=lambda child: child.relative_to(source).as_posix()):
            parts = file.relative_to(source).parts
            if not any(part in _CACHES or part.endswith(".egg-info") for part in parts) and file.suffix != ".pyc":
                yield file


def source_version(source: Path, base: Base) -> str:
    """Name the version of a service by the content of its folder and of what is under it."""
    digest = hashlib.sha256(json.dumps([SERVICE_RECIPE, *base.words]).encode())
    for file in shipped_files(source):
        # Length and name first: no two sets of files can look alike when strung together.
        content = file.read_bytes()
        digest.update(f"{file.relative_to(source).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def mmdebstrap_command(base: Base, target: Path, sources: Path, apt_settings: Sequence[str]) -> list[str]:
    """Return the command that makes the base: no package manager inside, no documentation, no trace of this machine."""
    command = ["mmdebstrap", "--mode=root", "--variant=essential", f"--include={','.join(base.packages)}"]
    command += ['--aptopt=APT::Install-Recommends "false"', *(f"--aptopt={line}" for line in apt_settings)]
    # The licences stay, as their licences ask for.
    command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("info", "locale", "man")]
    wiped = " ".join(f'"$1/{path}"' for path in UNWANTED)
    command += [
        f'--customize-hook=rm -rf {wiped} && mkdir -p "$1/var/log" && {WIPE_APT}',
        # A name for the user that services run as; it owns nothing and cannot log in.
        "--customize-hook=printf 'service:x:10001:10001::/nonexistent:/usr/sbin/nologin\\n' >> \"$1/etc/passwd\"",
        "--customize-hook=printf 'service:x:10001:\\n' >> \"$1/etc/group\"",
        base.suite,
        str(target),
        str(sources),
    ]
    return command


def install_command(installer: Sequence[str], requirements: Path, target: Path, python: str) -> list[str]:
    """Return the command that installs hash-pinned wheels for the image's Python, whatever Python this machine has."""
    platform = f"{os.uname().machine}-manylinux_2_28"
    own = ["--python-platform", platform] if installer[0].endswith("uv") else ["--platform", _pip_platform()]
    return [
        *installer,
        "install",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        f"--python-version={python}",
        *own,
        f"--target={target}",
        f"--requirement={requirements}",
    ]


def _pip_platform() -> str:
    return f"manylinux_2_28_{os.uname().machine}"


def build_context(source: Path, site_packages: Path, stream: IO[bytes]) -> None:
    """Pack what the Dockerfile copies, without owners and times: the same content gives the same layers."""
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for file in shipped_files(source):
            _add(archive, file, file.relative_to(source).as_posix())
        for file in sorted(child for child in site_packages.rglob("*") if child.is_file()):
            _add(archive, file, str(PurePosixPath("site-packages") / file.relative_to(site_packages).as_posix()))


def auth_file(registry: str, username: str, password: str) -> str:
    """Return what skopeo reads instead of a password on its command line."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": token}}})


def skopeo_reason(stderr: str) -> str:
    """Return what the last line of skopeo's log says, without the log's decoration."""
    lines = stderr.strip().splitlines() or ["skopeo said nothing"]
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1])
    return found[1].replace('\\"', '"') if found else lines[-1]


def record(name: str, version: str, image_id: str, digest: str | None) -> dict[str, Any]:
    """Return what a release needs to know of an image."""
    return {"name": name, "version": version, "id": image_id, "digest": digest}


def _add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = file.stat().st_size
    entry.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
    with file.open("rb") as content:
        archive.addfile(entry, content)
